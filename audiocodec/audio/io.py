"""Audio files in and out: read, downmix, measure; resampling and writing are found here too.

Files are recognised by their content, never by their name. A file that ends before its own header says is an
error, not a shorter file. Everything with "blocks" in its name works in bounded memory and gives exactly what
the whole-file function gives. Files without a stated length (live FLAC, MP3 without a Xing header) are counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from audiocodec.audio import library
from audiocodec.audio.container import HEAD_BYTES, length_is_stated
from audiocodec.audio.level import LevelStats, at_level, level_gain, level_of, together
from audiocodec.audio.mixing import READ_VALUES, coded_channels, mix, mixed, mono_blocks
from audiocodec.audio.opening import AudioFile, Path
from audiocodec.audio.resampling import resample, resample_blocks, resampled_length
from audiocodec.audio.writer import Writer, finite, write
from audiocodec.errors import AudioError

__all__ = [
    "AudioFile",
    "AudioInfo",
    "LevelStats",
    "Writer",
    "at_level",
    "coded_channels",
    "info",
    "level",
    "level_gain",
    "level_of",
    "leveled",
    "mono_blocks",
    "read",
    "read_beginning",
    "read_blocks",
    "read_leveled",
    "read_part",
    "reblock",
    "resample",
    "resample_blocks",
    "resampled_length",
    "together",
    "write",
]

_MP3_LEAD = 10 * 1152  # an MP3 frame borrows bits from earlier ones: decode these too, and drop them
_LARGEST = 1e15  # times full scale: beyond it squares and means overflow


@dataclass(frozen=True)
class AudioInfo:
    """What a file holds: `sample_rate` in Hz, `channels`, `num_samples` per channel."""

    sample_rate: int
    channels: int
    num_samples: int


def info(path: Path) -> AudioInfo:
    """Rate, channels and exact length of a file; decodes only where the header does not state the length.

    Raises:
        AudioError: the file is missing, empty, not audio, cut short or without samples.
    """
    with AudioFile.of(path) as file:
        with file.opened() as f:
            rate, channels, frames = f.samplerate, f.channels, f.frames
        if not length_is_stated(file.descriptor, frames):
            frames = sum(len(block) for block in _native_blocks(file))
        if frames == 0:
            raise AudioError(f"{path}: {_no_samples(file)}")
    return AudioInfo(rate, channels, frames)


def read(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """Read a whole file.

    Returns:
        (float32 samples [C, S], sample rate in Hz).

    Raises:
        AudioError: naming the file and the cause.
    """
    with AudioFile(path) as file:
        with file.opened() as f:
            rate = f.samplerate
        blocks = list(_native_blocks(file))
    return np.ascontiguousarray(np.concatenate(blocks).T), rate


def read_part(path: str | os.PathLike[str], start: int, num_samples: int, channel: int | None = None) -> np.ndarray:
    """Read mono samples `start` to `start + num_samples` at the file's own rate, decoding only what is needed.

    Args:
        start: first sample, at the file's rate.
        num_samples: how many; fewer come back where the file ends.
        channel: the only one to read, from 1 on; None: the mean of all.

    Returns:
        float32 [n], n <= num_samples.
    """
    with AudioFile(path) as file, file.opened(forward=False, whole=False) as f:
        try:
            lead = min(start, _MP3_LEAD) if f.format == "MP3" else 0
            f.seek(min(start, f.frames) - lead)
            part: np.ndarray = f.read(lead + num_samples, dtype="float32", always_2d=True)[lead:]
        except library.errors() as error:
            raise AudioError(f"{path}: damaged or truncated near sample {start} ({library.reason(error)})") from None
    return mix(finite(path, part), channel)


def read_beginning(path: str | os.PathLike[str], seconds: float) -> tuple[np.ndarray, AudioInfo, bool]:
    """The first seconds of a file of any length, mono; little more is decoded, so damage further on is not seen.

    Args:
        path: of the file.
        seconds: how many.

    Returns:
        (float32 [S] at the file's own rate, what it holds up to there, whether it goes on).

    Raises:
        AudioError: naming the file and the cause.
    """
    with AudioFile(path, seconds=seconds + 1) as file:
        with file.opened() as f:
            rate, channels = f.samplerate, f.channels
        wanted = max(1, round(seconds * rate))
        blocks = _up_to(_native_blocks(file), wanted + 1)
        wav = np.concatenate(list(_about(file, mixed(blocks))))
    return wav[:wanted], AudioInfo(rate, channels, min(len(wav), wanted)), len(wav) > wanted


def level(path: Path, sample_rate: int | None = None, channel: int | None = None) -> LevelStats:
    """RMS and peak of the whole downmixed file, or of one channel, in bounded memory.

    Args:
        sample_rate: measure after resampling to this rate, as a codec of that rate hears it; None: the file's own.
        channel: the only one to read, from 1 on; None: that of the open file, or the mean of all.

    Raises:
        AudioError: naming the file and the cause; also for NaN and infinite samples.
    """
    with AudioFile.of(path) as file:
        with file.opened() as f:
            rate = f.samplerate
        return level_of(_mono_blocks(file, channel), rate, sample_rate or rate)


def read_leveled(path: Path, sample_rate: int) -> tuple[np.ndarray, LevelStats]:
    """A whole file as mono at `sample_rate`, and its `level` at that rate, decoded once.

    Returns:
        (float32 [ceil(S * sample_rate / own rate)], what `level` gives).

    Raises:
        AudioError: naming the file and the cause.
    """
    blocks: list[np.ndarray] = []
    with AudioFile.of(path) as file:
        with file.opened() as f:
            rate = f.samplerate
        stats = level_of(_mono_blocks(file), rate, sample_rate, blocks.append)
    return np.concatenate(blocks), stats


def leveled(wav: np.ndarray, from_rate: int, to_rate: int) -> tuple[np.ndarray, LevelStats]:
    """What `read_leveled` gives for a file that holds `wav`, `[S]` or `[C, S]`, at `from_rate` Hz."""
    blocks: list[np.ndarray] = []
    stats = level_of(mono_blocks(np.atleast_2d(wav)), from_rate, to_rate, blocks.append)
    return np.concatenate(blocks), stats


def read_blocks(path: Path, sample_rate: int, block_samples: int, channel: int | None = None) -> Iterator[np.ndarray]:
    """Read a file as mono blocks at `sample_rate`, in bounded memory.

    Args:
        sample_rate: rate to resample to, Hz.
        block_samples: samples per block, at `sample_rate`.
        channel: the only one to read, from 1 on; None: that of the open file, or the mean of all.

    Yields:
        float32 [block_samples], the last one shorter; together ceil(S * sample_rate / own rate) samples.

    Raises:
        AudioError: naming the file and the cause; what is found only on reading comes after good blocks.
    """
    with AudioFile.of(path) as file:
        with file.opened() as f:
            rate = f.samplerate
        yield from reblock(resample_blocks(_mono_blocks(file, channel), rate, sample_rate), block_samples)


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


def _mono_blocks(file: AudioFile, channel: int | None = None) -> Iterator[np.ndarray]:
    """A whole file as mono blocks [n] at its own rate."""
    return _about(file, mixed(_native_blocks(file), channel or file.channel))


def _about(file: AudioFile, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks, with errors that name the file."""
    try:
        yield from blocks
    except AudioError as error:
        text = str(error)
        raise AudioError(text if text.startswith(f"{file}: ") else f"{file}: {text}") from None


def _up_to(blocks: Iterable[np.ndarray], samples: int) -> Iterator[np.ndarray]:
    """Blocks `[n, C]` until they have so many samples."""
    left = samples
    for block in blocks:
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return


def _native_blocks(file: AudioFile) -> Iterator[np.ndarray]:
    """Decode a file front to back: float32 [n, C], finite, complete, at least one sample."""
    with file.opened() as f:
        declared, count = f.frames, 0
        stated = length_is_stated(file.descriptor, declared)
        step = max(1, READ_VALUES // f.channels)
        while True:
            try:
                block = f.read(step, dtype="float32", always_2d=True)
            except library.errors() as error:
                cause = library.reason(error)
                raise AudioError(f"{file}: damaged or truncated after {count} samples ({cause})") from None
            if len(block) == 0:
                break
            count += len(block)
            file.peak = max(file.peak, float(np.abs(finite(file.path, block)).max()))
            if file.peak > _LARGEST:
                raise AudioError(f"{file}: holds samples of {file.peak:.2g} times full scale")
            yield block
    if count < declared and stated:
        raise AudioError(f"{file}: truncated: {count} of {declared} samples")
    if count == 0:
        raise AudioError(f"{file}: {_no_samples(file)}")


def _no_samples(file: AudioFile) -> str:
    size = os.fstat(file.descriptor).st_size
    if size <= HEAD_BYTES:
        return "has no samples"
    return (
        f"has no samples by its header, in {size} bytes: a recording that was not finished? write it anew with ffmpeg"
    )
