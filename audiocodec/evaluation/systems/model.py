"""References through a codec: token files, reconstructions, and how long each took.

Times are those of `encode_file` and `decode_file`, with reading, resampling and writing, after one short run to warm up.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audiocodec.audio import io
from audiocodec.codec.files import decode_file, decoded_length, encode_file
from audiocodec.codec.finished import finished_audio, is_stale, valid_tokens
from audiocodec.data.pipes import audio_file
from audiocodec.errors import AudioCodecError, TokenFileError
from audiocodec.evaluation.pairing import Entry
from audiocodec.evaluation.settings import Settings
from audiocodec.evaluation.systems.outputs import planned
from audiocodec.loading import Model
from audiocodec.machine import keep_freed
from audiocodec.workers import Lost, in_order, run_all, threads_of

if TYPE_CHECKING:
    from audiocodec.codec.torch import Codec

TOKENS, TIMINGS = "tokens", "timings.jsonl"
_ERRORS = (AudioCodecError, OSError, MemoryError)  # of one file; the others go on


@dataclass(frozen=True)
class Processes:
    """Several processes that code, each with its own copy of a model.

    Attributes:
        number: of processes.
        model: its path.
        threads: CPU threads of each.
    """

    number: int
    model: str
    threads: int

    @classmethod
    def of(cls, model: Model, settings: Settings) -> Processes | None:
        """As many as `settings` says, where it says; None: this process, as on a GPU."""
        if settings.jobs is None or settings.jobs == 1 or model.codec.device.type != "cpu":
            return None
        return cls(settings.jobs, model.header.path, settings.threads or threads_of(settings.jobs))


@dataclass
class _Coding:
    """Codes an entry; with it come lines of `timings.jsonl`. With `processes`, each loads its model for itself."""

    codec: Codec | None
    num_codebooks: int | None
    allow_pipes: bool
    processes: Processes | None = None
    warm: bool = False

    def __call__(self, entry: Entry) -> tuple[Entry, list[str]]:
        if self.codec is None:
            assert self.processes is not None
            keep_freed()
            self.codec = Model(self.processes.model, device="cpu", threads=self.processes.threads).codec
        if not self.warm:
            _warm_up(self.codec)
            self.warm = True
        lines: list[str] = []
        return _code(self.codec, entry, self.num_codebooks, lines, self.allow_pipes), lines


def reconstruct(
    codec: Codec,
    references: dict[str, list[str]],
    out_dir: str | os.PathLike[str],
    num_codebooks: int | None = None,
    resume: bool = False,
    allow_pipes: bool = False,
    progress: Callable[[], None] = lambda: None,
    processes: Processes | None = None,
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
        processes: code in these, with a model of this codec; None: in this process.

    Returns:
        An entry for each, sorted by bytes; `problem` says what went wrong in coding.
    """
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    entries = [planned(name, references[name], folder, TOKENS) for name in sorted(references, key=os.fsencode)]
    todo = [
        number
        for number, entry in enumerate(entries)
        if not entry.problem and not (resume and _is_finished(entry, codec, num_codebooks))
    ]
    for _ in range(len(entries) - len(todo)):
        progress()
    with open(folder / TIMINGS, "a" if resume else "w", encoding="utf-8") as log:
        coding = _Coding(None if processes else codec, num_codebooks, allow_pipes, processes)
        with contextlib.closing(_coded(coding, [entries[number] for number in todo])) as results:
            for number, (entry, lines) in zip(todo, results):
                entries[number] = entry
                log.write("".join(lines))
                log.flush()
                progress()
    return entries


def _coded(coding: _Coding, entries: list[Entry]) -> Generator[tuple[Entry, list[str]], None, None]:
    """What becomes of entries, in their order."""
    if coding.processes is None:
        yield from map(coding, entries)
        return
    found = in_order(run_all(coding, entries, coding.processes.number, coding.processes.threads))
    with contextlib.closing(found) as results:
        for entry, result in zip(entries, results):
            if isinstance(result, Lost):
                problem = f"coding failed: {result.reason}"
                yield replace(entry, tokens=None, estimate=None, problem=problem), []
            else:
                yield result


def _code(codec: Codec, entry: Entry, num_codebooks: int | None, lines: list[str], allow_pipes: bool) -> Entry:
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
        lines.append(_timing(entry.reference, entry.tokens, seconds, started))
        started = time.perf_counter()
        decode_file(codec, tokens, entry.estimate)
        done["estimate"] = entry.estimate
        lines.append(_timing(entry.tokens, entry.estimate, seconds, started))
    except _ERRORS as error:
        reason = (str(error) or type(error).__name__).removeprefix(f"{entry.reference}: ")
        step = "decoding" if "tokens" in done else "encoding"
        return replace(entry, tokens=done.get("tokens"), estimate=None, problem=f"{step} failed: {reason}")
    return entry


def _timing(source: str, target: str, seconds: float, started: float) -> str:
    wall = time.perf_counter() - started
    return json.dumps({"input": source, "output": target, "seconds": seconds, "wall_seconds": wall}) + "\n"


def _is_finished(entry: Entry, codec: Codec, num_codebooks: int | None) -> bool:
    """Whether both outputs are there, valid, what would be made now, and newer than what they were made from."""
    assert entry.reference is not None and entry.tokens is not None and entry.estimate is not None
    tokens = valid_tokens(entry.tokens)
    wanted = (codec.fingerprint, num_codebooks or codec.num_codebooks)
    if tokens is None or (tokens.fingerprint, tokens.num_codebooks) != wanted:
        return False
    rate = tokens.original_sample_rate
    try:
        expected = io.AudioInfo(rate, tokens.coded_channels, decoded_length(tokens, rate))
    except TokenFileError:
        return False
    return not is_stale(entry.tokens, entry.reference) and finished_audio(entry.estimate, entry.tokens, expected)


def _warm_up(codec: Codec) -> None:
    """Code a second of noise, so that the first file does not pay for what is done once."""
    noise = np.random.default_rng(0).normal(0, 0.05, codec.sample_rate).astype(np.float32)
    codes = np.concatenate(list(codec.encode_blocks([noise])), axis=1)
    for _ in codec.decode_blocks(codes, len(noise)):
        pass
