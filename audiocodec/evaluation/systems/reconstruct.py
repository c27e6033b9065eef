"""References through a baseline: coded files, reconstructions and their sizes, in several processes, resumable.

Every output is written under a temporary name and moved. A line of `sizes.jsonl` comes last of what an utterance gets:
what it names is complete. An utterance that cannot be coded becomes an entry that says why.

Our own models have `model.py`: they are loaded once, their token files name what made them, and coding is timed step by step in
this process. Baselines start a program for each utterance, which is why they run in worker processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.audio import io
from audiocodec.data.pipes import audio_file, files_behind
from audiocodec.errors import AudioCodecError, AudioError
from audiocodec.evaluation.coding import Bitrate, CodedSizes
from audiocodec.evaluation.pairing import Entry
from audiocodec.evaluation.rows import read_lines
from audiocodec.evaluation.systems.baseline import Baseline
from audiocodec.evaluation.systems.outputs import planned
from audiocodec.files import replacing
from audiocodec.records import from_json, parse
from audiocodec.workers import Lost, run_all

CODED, SIZES = "coded", "sizes.jsonl"


@dataclass(frozen=True)
class Size:
    """A line of `sizes.jsonl`.

    Attributes:
        id: of the utterance.
        file_bits, payload_bits: of its coded file.
        sample_rate, num_samples: of the reference and the reconstruction.
        codec: `Baseline.describe` of what made it.
        stamp: changes when the reference does.
        wall_seconds: that encoding and decoding took, programs started and other processes running beside; None: not known.
    """

    id: str
    file_bits: int
    payload_bits: int
    sample_rate: int
    num_samples: int
    codec: str = ""
    stamp: str = ""
    wall_seconds: float | None = None

    @property
    def bitrate(self) -> Bitrate:
        """Bits and seconds."""
        seconds = self.num_samples / self.sample_rate
        return Bitrate(seconds, self.file_bits, self.payload_bits, wall_seconds=self.wall_seconds)


@dataclass(frozen=True)
class _Task:
    baseline: Baseline
    codec: str
    entry: Entry
    coded: Path
    allow_pipes: bool


def reconstruct(
    baseline: Baseline,
    references: dict[str, list[str]],
    out_dir: str | os.PathLike[str],
    jobs: int = 1,
    resume: bool = False,
    allow_pipes: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> tuple[list[Entry], CodedSizes]:
    """Encode and decode every reference.

    Args:
        baseline: what codes them.
        references: name -> paths, from `pairing.list_audio`.
        out_dir: gets `coded/<name>.<extension>`, `wav/<name>.wav` and `sizes.jsonl`.
        jobs: processes.
        resume: keep what the same baseline with the same settings has finished, unless the reference changed.
        allow_pipes: run commands found in `wav.scp`.
        progress: called once for every reference done.

    Returns:
        (an entry for each, sorted by bytes, whose `problem` says what went wrong; the sizes).
    """
    folder, codec = Path(out_dir), baseline.describe()
    folder.mkdir(parents=True, exist_ok=True)
    entries = {name: planned(name, references[name], folder) for name in sorted(references, key=os.fsencode)}
    tasks = [
        _Task(baseline, codec, entry, folder / CODED / (entry.id + baseline.extension), allow_pipes)
        for entry in entries.values()
        if not entry.problem
    ]
    earlier = read_sizes(folder / SIZES) if resume and (folder / SIZES).is_file() else {}
    sizes = {task.entry.id: earlier[task.entry.id] for task in tasks if _is_finished(task, earlier)}
    todo = [task for task in tasks if task.entry.id not in sizes]
    for _ in range(len(entries) - len(todo)):
        progress()
    with open(folder / SIZES, "a" if resume else "w", encoding="utf-8") as log:
        for task, result in _code_all(todo, jobs):
            if isinstance(result, Size):
                sizes[result.id] = result
                log.write(json.dumps(asdict(result)) + "\n")
                log.flush()
            else:
                entries[task.entry.id] = replace(task.entry, estimate=None, problem=f"coding failed: {result.reason}")
            progress()
    return list(entries.values()), CodedSizes(codec, {name: size.bitrate for name, size in sizes.items()})


def read_sizes(path: str | os.PathLike[str]) -> dict[str, Size]:
    """Sizes by utterance, the last line of each; a last line that was cut off while being written is left out.

    Raises:
        AudioCodecError: the file cannot be read, or another line is not a size.
    """
    return {size.id: size for size in read_lines(path, _parse, "size")}


def _parse(line: str) -> Size:
    size = parse(Size, from_json(line))
    if min(size.sample_rate, size.num_samples) < 1:
        raise ValueError("sample_rate and num_samples must be 1 or more")
    if not 0 <= size.payload_bits <= size.file_bits:
        raise ValueError(f"need 0 <= payload_bits <= file_bits, got {size.payload_bits} and {size.file_bits}")
    if size.wall_seconds is not None and size.wall_seconds < 0:
        raise ValueError(f"wall_seconds must be 0 or more, got {size.wall_seconds}")
    return size


def _code_all(tasks: list[_Task], jobs: int) -> Any:
    with contextlib.closing(run_all(_code, tasks, jobs)) as results:
        for index, result in results:
            yield tasks[index], result


def _code(task: _Task) -> Size | Lost:
    """One utterance, in a worker process."""
    entry, coded = task.entry, task.coded
    assert entry.reference is not None and entry.estimate is not None
    for target in (coded, Path(entry.estimate)):  # what an earlier run left is not this run's
        target.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
    stamp = _stamp(entry.reference)
    try:
        with audio_file(entry.reference, task.allow_pipes) as path:
            channels, rate = io.read(path)
        wav = channels.mean(axis=0, dtype=np.float32)
        started = time.perf_counter()
        done = task.baseline.code(wav, rate)
        wall = time.perf_counter() - started
        with replacing(coded) as temporary:
            temporary.write_bytes(done.data)
        io.write(entry.estimate, done.wav, rate)
    except (AudioCodecError, OSError, MemoryError) as error:
        return Lost((str(error) or type(error).__name__).removeprefix(f"{entry.reference}: "))
    return Size(entry.id, 8 * len(done.data), done.payload_bits, rate, len(wav), task.codec, stamp, wall)


def _is_finished(task: _Task, earlier: dict[str, Size]) -> bool:
    """Whether both outputs are there and are what would be made now."""
    size = earlier.get(task.entry.id)
    assert task.entry.reference is not None and task.entry.estimate is not None
    if size is None or (size.codec, size.stamp) != (task.codec, _stamp(task.entry.reference)):
        return False
    try:
        expected = io.AudioInfo(size.sample_rate, 1, size.num_samples)
        return 8 * task.coded.stat().st_size == size.file_bits and io.info(task.entry.estimate) == expected
    except (OSError, AudioError):
        return False


def _stamp(reference: str) -> str:
    """Size and time of a reference; a command's output is taken to stay the same."""
    try:
        found = os.stat(files_behind(reference)[0])
    except OSError:
        return reference
    return f"{reference} {found.st_size} {found.st_mtime_ns}"
