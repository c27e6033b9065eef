"""Codes to look at: from a folder of token files of one codec, or coded on the fly from audio."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audiocodec.codec.files import encode_file
from audiocodec.codec.inputs import MadeBy, check_tokens
from audiocodec.codec.torch import Codec
from audiocodec.data.corpus import find_files
from audiocodec.data.pipes import audio_file
from audiocodec.errors import FingerprintMismatch, TokenFileError
from audiocodec.evaluation.pairing import list_audio
from audiocodec.tokens.token_file import EXTENSION, TokenFile

AnyPath = str | os.PathLike[str]
Codes = npt.NDArray[np.int32]


def codes_of_tokens(folder: AnyPath, codec: MadeBy) -> Iterator[Codes]:
    """Codes `[K, T]` of every token file below a folder, of each coded channel, in the order of their names.

    Args:
        folder: where they are.
        codec: that must have made them; a file may hold fewer codebooks.

    Raises:
        TokenFileError: there are none, one is not valid, or its codebooks are not the codec's.
        FingerprintMismatch: another codec made one.
    """
    names = find_files(folder, (EXTENSION,))
    if not names:
        raise TokenFileError(f"{folder}: holds no {EXTENSION} files")
    for name in names:
        path = Path(folder) / name
        tokens = TokenFile.read(path)
        try:
            check_tokens(tokens, codec)
        except (FingerprintMismatch, TokenFileError) as error:
            raise type(error)(f"{path}: {error}") from None
        yield from tokens.channel_codes


def codes_of_audio(source: AnyPath, codec: Codec, allow_pipes: bool = False) -> Iterator[Codes]:
    """Codes `[K, T]` of every audio file, of each coded channel, as `audiocodec encode` makes them (at the level the codec expects).

    Args:
        source: folder of audio, data folder or `wav.scp`.
        codec: frozen.
        allow_pipes: run commands in `wav.scp`.

    Raises:
        AudioError: a file cannot be read or coded.
        ManifestError: there is no audio, or a table is wrong.
    """
    for path in local_audio(source, allow_pipes):
        yield from encode_file(codec, path).channel_codes


def local_audio(source: AnyPath, allow_pipes: bool = False) -> Iterator[str]:
    """Every audio file of a folder, data folder or `wav.scp`; a command's output is a file until the next is asked for.

    Raises:
        AudioError: a command failed.
        ManifestError: there is no audio, or a table is wrong.
    """
    for paths in list_audio(source, allow_pipes).values():
        for path in paths:
            with audio_file(path, allow_pipes) as local:
                yield local
