"""References through a codec: token files, reconstructions, and how long each took.

Times are those of `encode_file` and `decode_file`, with reading, resampling and writing, after one short run to warm up.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from audiocodec.audio import io
from audiocodec.codec.files import decode_file, decoded_length, encode_file
from audiocodec.codec.finished import finished_audio, is_stale, valid_tokens
from audiocodec.data.pipes import audio_file
from audiocodec.errors import AudioCodecError, TokenFileError
from audiocodec.evaluation.pairing import Entry
from audiocodec.evaluation.systems.outputs import planned

if TYPE_CHECKING:
    from audiocodec.codec.torch import Codec

TOKENS, TIMINGS = "tokens", "timings.jsonl"
_ERRORS = (AudioCodecError, OSError, MemoryError)  # of one file; the others go on


def reconstruct(
    codec: Codec,
    references: dict[str, list[str]],
    out_dir: str | os.PathLike[str],
    num_codebooks: int | None = None,
    resume: bool = False,
    allow_pipes: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> list[Entry]:
    """Encode and decode every reference.

    Args:
        codec: what codes them.
        references: name -> paths, from `pairing.list_audio`.
        out_dir: gets `tokens/<name>.act`, `wav/<name>.wav` and `timings.jsonl`.
        num_codebooks: use only the first so many; None: all.
        resume: keep outputs of this codec that are finished.
        allow_pipes: run commands found in `wav.scp`.
        progress: called once for every reference done.

    Returns:
        An entry for each, sorted by bytes; `problem` says what went wrong in coding.
    """
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    warm = False
    with open(folder / TIMINGS, "a" if resume else "w", encoding="utf-8") as log:
        for name in sorted(references, key=os.fsencode):
            entry = planned(name, references[name], folder, TOKENS)
            if not entry.problem and not (resume and _is_finished(entry, codec, num_codebooks)):
                warm = warm or _warm_up(codec)
                entry = _code(codec, entry, num_codebooks, log, allow_pipes)
            entries.append(entry)
            progress()
    return entries


def _code(codec: Codec, entry: Entry, num_codebooks: int | None, log: TextIO, allow_pipes: bool) -> Entry:
    assert entry.reference is not None and entry.tokens is not None and entry.estimate is not None
    for target in (entry.tokens, entry.estimate):  # what an earlier run left is not this run's
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
    done: dict[str, Any] = {}
    try:
        with audio_file(entry.reference, allow_pipes) as path:
            started = time.perf_counter()
            tokens = encode_file(codec, path, num_codebooks)
        tokens.write(entry.tokens)
        done["tokens"] = entry.tokens
        seconds = tokens.num_samples / tokens.sample_rate
        _log(log, entry.reference, entry.tokens, seconds, started)
        started = time.perf_counter()
        decode_file(codec, tokens, entry.estimate)
        done["estimate"] = entry.estimate
        _log(log, entry.tokens, entry.estimate, seconds, started)
    except _ERRORS as error:
        reason = (str(error) or type(error).__name__).removeprefix(f"{entry.reference}: ")
        step = "decoding" if "tokens" in done else "encoding"
        return replace(entry, tokens=done.get("tokens"), estimate=None, problem=f"{step} failed: {reason}")
    return entry


def _log(log: TextIO, source: str, target: str, seconds: float, started: float) -> None:
    wall = time.perf_counter() - started
    log.write(json.dumps({"input": source, "output": target, "seconds": seconds, "wall_seconds": wall}) + "\n")
    log.flush()


def _is_finished(entry: Entry, codec: Codec, num_codebooks: int | None) -> bool:
    """Whether both outputs are there, valid, what would be made now, and newer than what they were made from."""
    assert entry.reference is not None and entry.tokens is not None and entry.estimate is not None
    tokens = valid_tokens(entry.tokens)
    wanted = (codec.fingerprint, num_codebooks or codec.num_codebooks)
    if tokens is None or (tokens.fingerprint, len(tokens.codes)) != wanted:
        return False
    rate = tokens.original_sample_rate
    try:
        expected = io.AudioInfo(rate, 1, decoded_length(tokens, rate))
    except TokenFileError:
        return False
    return not is_stale(entry.tokens, entry.reference) and finished_audio(entry.estimate, entry.tokens, expected)


def _warm_up(codec: Codec) -> bool:
    """Code a second of noise, so that the first file does not pay for what is done once."""
    noise = np.random.default_rng(0).normal(0, 0.05, codec.sample_rate).astype(np.float32)
    codes = np.concatenate(list(codec.encode_blocks([noise])), axis=1)
    for _ in codec.decode_blocks(codes, len(noise)):
        pass
    return True
