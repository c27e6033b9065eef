"""Audio files in and out: read, downmix, measure; resampling and writing are found here too.

Files are recognised by their content, never by their name. A file that ends before its own header says is an
error, not a shorter file. Everything with "blocks" in its name works in bounded memory and gives exactly what
the whole-file function gives. Files without a stated length (live FLAC, MP3 without a Xing header) are counted.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audiocodec.audio import library
from audiocodec.audio.container import CHECKED, length_is_stated, missing_bytes
from audiocodec.audio.resampling import resample, resample_blocks, resampled_length
from audiocodec.audio.writer import Writer, finite, write
from audiocodec.constants import MAX_RATE, MIN_RATE
from audiocodec.errors import AudioError

__all__ = [
    "AudioFile",
    "AudioInfo",
    "LevelStats",
    "Writer",
    "info",
    "level",
    "level_gain",
    "level_of",
    "leveled",
    "mono_blocks",
    "read",
    "read_blocks",
    "read_leveled",
    "read_part",
    "reblock",
    "resample",
    "resample_blocks",
    "resampled_length",
    "write",
]

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_GAIN = 64.0  # 36 dB: below that a file is taken for noise that should stay quiet
_MP3_LEAD = 10 * 1152  # an MP3 frame borrows bits from earlier ones: decode these too, and drop them
READ_VALUES = 1 << 18  # samples times channels held at once while reading


@dataclass(frozen=True)
class AudioInfo:
    """What a file holds: `sample_rate` in Hz, `channels`, `num_samples` per channel."""

    sample_rate: int
    channels: int
    num_samples: int


@dataclass(frozen=True)
class LevelStats:
    """Level of a mono mix over a whole file, full scale = 1, and how many samples the file has at its own rate."""

    rms: float
    peak: float
    num_samples: int


class AudioFile:
    """A file that is opened once and read as often as is needed; a context. Stands for its path in this module."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open it; what it holds is looked at later.

        Raises:
            AudioError: it is missing, or may not be read.
        """
        self.path = path
        try:
            self.descriptor = os.open(
                path, os.O_RDONLY | os.O_NONBLOCK
            )  # a named pipe would be waited for, then refused
        except (OSError, ValueError) as error:  # a NUL is in no name
            raise AudioError(f"{path}: {getattr(error, 'strerror', None) or error}") from None

    @staticmethod
    def of(path: Path) -> contextlib.AbstractContextManager[AudioFile]:
        """The file itself where it is open already, which stays so; else the file of that name."""
        return contextlib.nullcontext(path) if isinstance(path, AudioFile) else AudioFile(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def __str__(self) -> str:
        return str(self.path)


Path = str | os.PathLike[str] | AudioFile


def info(path: Path) -> AudioInfo:
    """Rate, channels and exact length of a file; decodes only where the header does not state the length.

    Raises:
        AudioError: the file is missing, empty, not audio, cut short or without samples.
    """
    with AudioFile.of(path) as file:
        with _open(file) as f:
            rate, channels, frames = f.samplerate, f.channels, f.frames
        if not length_is_stated(file.descriptor, frames):
            frames = sum(len(block) for block in _native_blocks(file))
    if frames == 0:
        raise AudioError(f"{path}: has no samples")
    return AudioInfo(rate, channels, frames)


def read(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """Read a whole file.

    Returns:
        (float32 samples [C, S], sample rate in Hz).

    Raises:
        AudioError: naming the file and the cause.
    """
    with _open(path) as f:
        rate = f.samplerate
    blocks = list(_native_blocks(path))
    return np.ascontiguousarray(np.concatenate(blocks).T), rate


def read_part(path: str | os.PathLike[str], start: int, num_samples: int) -> np.ndarray:
    """Read mono samples `start` to `start + num_samples` at the file's own rate, decoding only what is needed.

    Args:
        start: first sample, at the file's rate.
        num_samples: how many; fewer come back where the file ends.

    Returns:
        float32 [n], n <= num_samples.
    """
    with _open(path, forward=False) as f:
        try:
            lead = min(start, _MP3_LEAD) if f.format == "MP3" else 0
            f.seek(min(start, f.frames) - lead)
            part: np.ndarray = f.read(lead + num_samples, dtype="float32", always_2d=True)[lead:]
        except library.errors() as error:
            raise AudioError(f"{path}: damaged or truncated near sample {start} ({library.reason(error)})") from None
    return _mono(finite(path, part))


def level(path: Path, sample_rate: int | None = None) -> LevelStats:
    """RMS and peak of the whole downmixed file, in bounded memory.

    Args:
        sample_rate: measure after resampling to this rate, as a codec of that rate hears it; None: the file's own.

    Raises:
        AudioError: naming the file and the cause; also for NaN and infinite samples.
    """
    with _open(path) as f:
        rate = f.samplerate
    return level_of((_mono(block) for block in _native_blocks(path)), rate, sample_rate or rate)


def read_leveled(path: Path, sample_rate: int) -> tuple[np.ndarray, LevelStats]:
    """A whole file as mono at `sample_rate`, and its `level` at that rate, decoded once.

    Returns:
        (float32 [ceil(S * sample_rate / own rate)], what `level` gives).

    Raises:
        AudioError: naming the file and the cause.
    """
    with _open(path) as f:
        rate = f.samplerate
    blocks: list[np.ndarray] = []
    stats = level_of((_mono(block) for block in _native_blocks(path)), rate, sample_rate, blocks.append)
    return np.concatenate(blocks), stats


def leveled(wav: np.ndarray, from_rate: int, to_rate: int) -> tuple[np.ndarray, LevelStats]:
    """What `read_leveled` gives for a mono file that holds `wav [S]` at `from_rate` Hz."""
    blocks: list[np.ndarray] = []
    stats = level_of(mono_blocks(wav[None]), from_rate, to_rate, blocks.append)
    return np.concatenate(blocks), stats


def level_of(
    blocks: Iterable[np.ndarray],
    from_rate: int,
    to_rate: int,
    keep: Callable[[np.ndarray], None] = lambda block: None,
) -> LevelStats:
    """As `level`, of mono blocks `[n]` at `from_rate`, measured at `to_rate`; `keep` is called with what was measured."""
    taken: list[int] = []

    def counted() -> Iterator[np.ndarray]:
        for block in blocks:
            taken.append(len(block))
            yield block

    energy, peak, count = 0.0, 0.0, 0
    for block in resample_blocks(counted(), from_rate, to_rate):
        energy += float(np.square(block, dtype=np.float64).sum())
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
        count += len(block)
        keep(block)
    return LevelStats((energy / count) ** 0.5, peak, sum(taken))


def mono_blocks(channels: np.ndarray) -> Iterator[np.ndarray]:
    """Samples `[C, S]` as mono blocks `[n]`, as a file with these samples is read."""
    step = max(1, READ_VALUES // len(channels))
    for start in range(0, channels.shape[1], step):
        yield _mono(channels[:, start : start + step].T)


def level_gain(stats: LevelStats, level_db: float) -> float:
    """Factor that brings a file to the RMS a codec expects.

    Args:
        level_db: wanted RMS, dB full scale.

    Returns:
        1 for digital silence; else within 1/64 to 64, and lower where the peak would pass 1. Exact in float32.
    """
    if stats.rms == 0.0:
        return 1.0
    gain = min(max(10 ** (level_db / 20) / stats.rms, 1 / MAX_GAIN), MAX_GAIN, 1 / stats.peak)
    return float(np.float32(gain))


def read_blocks(path: Path, sample_rate: int, block_samples: int) -> Iterator[np.ndarray]:
    """Read a file as mono blocks at `sample_rate`, in bounded memory.

    Args:
        sample_rate: rate to resample to, Hz.
        block_samples: samples per block, at `sample_rate`.

    Yields:
        float32 [block_samples], the last one shorter; together ceil(S * sample_rate / own rate) samples.

    Raises:
        AudioError: naming the file and the cause; what is found only on reading comes after good blocks.
    """
    with _open(path) as f:
        rate = f.samplerate
    mono = (_mono(block) for block in _native_blocks(path))
    yield from reblock(resample_blocks(mono, rate, sample_rate), block_samples)


def reblock(blocks: Iterable[np.ndarray], block_samples: int) -> Iterator[np.ndarray]:
    """Cut a stream of [n] blocks of any length into blocks of `block_samples`, the last one shorter."""
    held: list[np.ndarray] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        if count >= block_samples:
            joined = np.concatenate(held)
            whole = count - count % block_samples
            for start in range(0, whole, block_samples):
                yield joined[start : start + block_samples]
            held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)


def _mono(block: np.ndarray) -> np.ndarray:
    """[n, C] -> [n], the mean of the channels."""
    return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)


@contextlib.contextmanager
def _open(path: Path, forward: bool = True) -> Iterator[Any]:
    """Open by descriptor: libsndfile then goes by content alone (by name it takes any .au or .vox file for audio)."""
    with AudioFile.of(path) as opened:
        descriptor = opened.descriptor
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{path}: is {'a directory' if stat.S_ISDIR(status.st_mode) else 'no regular file'}")
        os.lseek(descriptor, 0, os.SEEK_SET)
        if status.st_size == 0:
            raise AudioError(f"{path}: is empty (0 bytes)")
        if lacking := missing_bytes(descriptor):
            raise AudioError(f"{path}: truncated: at least {lacking} bytes are missing at its end")
        try:
            file = library.open_descriptor(descriptor, forward)
        except library.errors() as error:
            raise AudioError(f"{path}: not audio, or damaged at its start ({library.reason(error)})") from None
        except AudioError as error:
            raise AudioError(f"{path}: {error}") from None
        with file:
            if file.format not in CHECKED:
                cause = "in which missing bytes go unnoticed; convert it to WAV or FLAC"
                raise AudioError(f"{path}: is a file of type {file.format_info}, {cause}")
            if not MIN_RATE <= file.samplerate <= MAX_RATE:
                raise AudioError(f"{path}: sample rate {file.samplerate} Hz is outside {MIN_RATE} to {MAX_RATE}")
            yield file


def _native_blocks(path: Path) -> Iterator[np.ndarray]:
    """Decode a file front to back: float32 [n, C], finite, complete, at least one sample."""
    with AudioFile.of(path) as file, _open(file) as f:
        declared, count = f.frames, 0
        stated = length_is_stated(file.descriptor, declared)
        step = max(1, READ_VALUES // f.channels)
        while True:
            try:
                block = f.read(step, dtype="float32", always_2d=True)
            except library.errors() as error:
                cause = library.reason(error)
                raise AudioError(f"{path}: damaged or truncated after {count} samples ({cause})") from None
            if len(block) == 0:
                break
            count += len(block)
            yield finite(file.path, block)
    if count < declared and stated:
        raise AudioError(f"{path}: truncated: {count} of {declared} samples")
    if count == 0:
        raise AudioError(f"{path}: has no samples")
