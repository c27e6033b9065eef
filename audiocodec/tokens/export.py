"""Token files as plain arrays and text, for language models and Kaldi tools.

These views drop what decoding needs (lengths, gain, fingerprint) or spell it out at many times the size:
keep the token files. Left out: parquet and webdataset.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from audiocodec.errors import TokenFileError
from audiocodec.tokens.streams import npy_bytes, open_target
from audiocodec.tokens.token_file import TokenFile

_Items = Iterable[tuple[str, TokenFile]]


def write_npy(tokens: TokenFile, target: Path | str | BinaryIO) -> None:
    """Write the codes as a numpy array.

    Args:
        tokens: the token file.
        target: a path, `-` for stdout, or a binary file object; gets int32 [K, T].

    Raises:
        TokenFileError: it cannot be written.
    """
    with open_target(target) as stream:
        stream.write(npy_bytes(tokens.codes))


def write_jsonl(items: _Items, target: Path | str | BinaryIO) -> int:
    """Write one JSON object a line: `id`, `codes` [K][T], and what `TokenFile.describe` says.

    Args:
        items: (utterance id, token file) pairs, read one at a time.
        target: a path, `-` for stdout, or a binary file object.

    Returns:
        Number of lines.

    Raises:
        TokenFileError: an id twice or unfit, or it cannot be written.
    """
    return _write_lines((_json_line(name, tokens) for name, tokens in _named(items)), target)


def write_kaldi_text(items: _Items, target: Path | str | BinaryIO) -> int:
    """Write a Kaldi text archive of integers.

    One codebook gives integer vectors (`id 5 7 9`, for `copy-int-vector ark,t:...`); several give one
    vector per frame (`id 5 1 ; 7 0 ; 9 3 ;`, for `Int32VectorVector` readers). Arguments, result and errors are those
    of `write_jsonl`.
    """
    return _write_lines((_kaldi_line(name, tokens) for name, tokens in _named(items)), target)


def _named(items: _Items) -> Iterator[tuple[str, TokenFile]]:
    seen = set()
    for name, tokens in items:
        if not name or name.split() != [name]:
            raise TokenFileError(f"utterance id {name!r}: must be one word without white space")
        if name in seen:
            raise TokenFileError(f"utterance id {name!r}: comes twice")
        seen.add(name)
        yield name, tokens


def _json_line(name: str, tokens: TokenFile) -> str:
    return json.dumps({"id": name, "codes": tokens.codes.tolist(), **tokens.describe()}, ensure_ascii=False)


def _kaldi_line(name: str, tokens: TokenFile) -> str:
    frames = tokens.codes.T.tolist()
    if tokens.codes.shape[0] == 1:
        return " ".join([name, *(str(code) for (code,) in frames)])
    return name + " " + " ".join(" ".join(map(str, frame)) + " ;" for frame in frames)


def _write_lines(lines: Iterable[str], target: Path | str | BinaryIO) -> int:
    count = 0
    with open_target(target) as stream:
        for line in lines:
            stream.write(line.encode() + b"\n")
            count += 1
    return count
