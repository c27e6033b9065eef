"""Audio files in and out: read, downmix, resample, write; the only place that uses soundfile and soxr.

Files are recognised by their content, never by their name. A file that ends before its own header says is an
error, not a shorter file. Everything with "blocks" in its name works in bounded memory and gives exactly what
the whole-file function gives. Files without a stated length (live FLAC, MP3 without a Xing header) are counted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import soundfile
import soxr

from audiocodec.audio.container import length_is_stated, missing_bytes
from audiocodec.errors import AudioError

MIN_RATE, MAX_RATE = 1_000, 1_000_000
MAX_GAIN = 64.0  # 36 dB: below that a file is taken for noise that should stay quiet
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


class _Stream(soundfile.SoundFile):  # type: ignore[misc]
    """A file read strictly forward: soundfile seeks after every read of a seekable file and re-primes lossy decoders."""

    def seekable(self) -> bool:
        return False


def resampled_length(num_samples: int, from_rate: int, to_rate: int) -> int:
    """Length after resampling: ceil(S * to / from), in integers."""
    return -(-num_samples * to_rate // from_rate)


def info(path: str | os.PathLike[str]) -> AudioInfo:
    """Rate, channels and exact length of a file; decodes only where the header does not state the length.

    Raises:
        AudioError: the file is missing, empty, not audio, cut short or without samples.
    """
    with _open(path) as f:
        rate, channels, frames = f.samplerate, f.channels, f.frames
    if not length_is_stated(path, frames):
        frames = sum(len(block) for block in _native_blocks(path))
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
            f.seek(min(start, f.frames))
            part: np.ndarray = f.read(num_samples, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{path}: damaged or truncated near sample {start} ({error.error_string})") from None
    return _mono(_finite(path, part))


def level(path: str | os.PathLike[str], sample_rate: int | None = None) -> LevelStats:
    """RMS and peak of the whole downmixed file, in bounded memory.

    Args:
        sample_rate: measure after resampling to this rate, as a codec of that rate hears it; None: the file's own.

    Raises:
        AudioError: naming the file and the cause; also for NaN and infinite samples.
    """
    with _open(path) as f:
        rate = f.samplerate
    lengths: list[int] = []

    def mono() -> Iterator[np.ndarray]:
        for block in _native_blocks(path):
            lengths.append(len(block))
            yield _mono(block)

    energy, peak, count = 0.0, 0.0, 0
    for block in resample_blocks(mono(), rate, sample_rate or rate):
        energy += float(np.square(block, dtype=np.float64).sum())
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
        count += len(block)
    return LevelStats((energy / count) ** 0.5, peak, sum(lengths))


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


def read_blocks(path: str | os.PathLike[str], sample_rate: int, block_samples: int) -> Iterator[np.ndarray]:
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


def resample(wav: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample with soxr (HQ).

    Args:
        wav: [S] or [C, S].
        from_rate, to_rate: Hz.

    Returns:
        float32, same leading shape, last axis exactly ceil(S * to_rate / from_rate).
    """
    wav = np.asarray(wav, dtype=np.float32)
    if from_rate == to_rate or wav.shape[-1] == 0:
        return wav
    length = resampled_length(wav.shape[-1], from_rate, to_rate)
    pad = [(0, 0)] * (wav.ndim - 1) + [(0, _tail(from_rate, to_rate))]
    padded = np.ascontiguousarray(np.pad(wav, pad).T)  # soxr rounds its length; the zeros give the last sample of ceil
    return np.ascontiguousarray(soxr.resample(padded, from_rate, to_rate)[:length].T)


def resample_blocks(blocks: Iterable[np.ndarray], from_rate: int, to_rate: int) -> Iterator[np.ndarray]:
    """Resample a stream of float32 [n] blocks; together they equal `resample` of the whole, sample for sample."""
    if from_rate == to_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")
    taken = given = 0
    for block in blocks:
        taken += len(block)
        out = stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        given += len(out)
        if len(out):
            yield out
    if taken:
        out = stream.resample_chunk(np.zeros(_tail(from_rate, to_rate), np.float32), last=True)
        yield out[: resampled_length(taken, from_rate, to_rate) - given]


def write(path: str | os.PathLike[str], wav: np.ndarray, sample_rate: int, subtype: str = "PCM_16") -> int:
    """Write a whole signal through `Writer`.

    Args:
        wav: float [S] or [C, S], full scale 1.

    Returns:
        How many samples were clipped.
    """
    wav = np.asarray(wav, dtype=np.float32)
    channels = 1 if wav.ndim == 1 else wav.shape[0]
    with Writer(path, sample_rate, channels, subtype) as writer:
        writer.write(wav)
    return writer.clipped


_FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".opus": "OGG", ".mp3": "MP3"}
_LOSSY = {".ogg": "VORBIS", ".opus": "OPUS", ".mp3": "MPEG_LAYER_III"}
_SAMPLE_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}
_WAV_LIMIT = (1 << 32) - 4096  # bytes of samples a RIFF file can hold, less room for its headers


@final
class Writer:
    """Writes blocks to a temporary file that takes the final name only when all went well.

    Args:
        path: the extension (.wav, .flac, .ogg, .opus, .mp3) decides the format.
        sample_rate: Hz.
        channels: of every block.
        subtype: sample format of .wav and .flac.

    Attributes:
        clipped: samples outside [-1, 1] so far; they are written as full scale.
        num_samples: samples per channel so far.
    """

    def __init__(
        self, path: str | os.PathLike[str], sample_rate: int, channels: int = 1, subtype: str = "PCM_16"
    ) -> None:
        self.path = Path(path)
        self.clipped = self.num_samples = 0
        suffix = self.path.suffix.lower()
        if suffix not in _FORMATS:
            raise AudioError(f"{path}: cannot write audio with extension {suffix!r}; use one of {', '.join(_FORMATS)}")
        self._lossless = suffix not in _LOSSY
        self._format, self._subtype = _FORMATS[suffix], _LOSSY.get(suffix, subtype)
        self._sample_rate, self._channels = sample_rate, channels
        self._temporary = self.path.with_name(f".{self.path.name[:40]}.{os.getpid()}-{id(self):x}.tmp")
        self._file: Any = None

    def __enter__(self) -> Writer:
        try:
            self._temporary.touch()
            self._file = soundfile.SoundFile(
                self._temporary, "w", self._sample_rate, self._channels, self._subtype, format=self._format
            )
        except (soundfile.LibsndfileError, OSError, ValueError) as error:
            self._remove()
            raise AudioError(f"{self.path}: cannot write: {_reason(error)}") from None
        return self

    def write(self, block: np.ndarray) -> None:
        """Append samples [n] or [C, n]; values outside [-1, 1] are clipped and counted.

        Raises:
            AudioError: the disk is full, or the block holds NaN or infinite samples.
        """
        block = np.asarray(block, dtype=np.float32)
        self.clipped += int(np.count_nonzero(np.abs(_finite(self.path, block)) > 1))
        self.num_samples += block.shape[-1]
        bytes_per_sample = self._channels * _SAMPLE_BYTES.get(self._subtype, 4)
        if self._format == "WAV" and self.num_samples * bytes_per_sample > _WAV_LIMIT:
            raise AudioError(f"{self.path}: a .wav file cannot hold more than 4 GiB; write .flac instead")
        try:
            self._file.write(np.clip(block, -1.0, 1.0).T)
        except (soundfile.LibsndfileError, OSError, AssertionError) as error:
            raise self._failure(error) from None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._close(check=kind is None)
            if kind is None:
                os.replace(self._temporary, self.path)
        except OSError as error:
            raise AudioError(f"{self.path}: cannot write: {_reason(error)}") from None
        finally:
            self._remove()

    def _close(self, check: bool) -> None:
        try:
            self._file.close()
            if check and self._lossless and soundfile.info(self._temporary).frames != self.num_samples:
                raise self._failure(AssertionError())
        except (soundfile.LibsndfileError, AssertionError) as error:
            if check:
                raise self._failure(error) from None

    def _failure(self, error: BaseException) -> AudioError:
        """The error to raise for a write that failed; libsndfile hides errno, so the disk is asked again."""
        try:
            with open(self._temporary, "ab") as probe:
                probe.write(bytes(1 << 16))
                probe.flush()
        except OSError as cause:
            error = cause
        return AudioError(f"{self.path}: cannot write: {_reason(error)}")

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._temporary.unlink()


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(getattr(error, "error_string", error)) or "not all samples were taken"


def _tail(from_rate: int, to_rate: int) -> int:
    """Zeros after the signal that guarantee one more output sample than soxr's rounded length."""
    return from_rate // to_rate + 2


def _mono(block: np.ndarray) -> np.ndarray:
    """[n, C] -> [n], the mean of the channels."""
    return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)


def _finite(path: str | os.PathLike[str], block: np.ndarray) -> np.ndarray:
    if not np.isfinite(block).all():
        raise AudioError(f"{path}: holds samples that are NaN or infinite")
    return block


@contextlib.contextmanager
def _open(path: str | os.PathLike[str], forward: bool = True) -> Iterator[Any]:
    """Open by descriptor: libsndfile then goes by content alone (by name it takes any .au or .vox file for audio)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}") from None
    try:
        if os.fstat(descriptor).st_size == 0:
            raise AudioError(f"{path}: is empty (0 bytes)")
        if lacking := missing_bytes(descriptor):
            raise AudioError(f"{path}: truncated: at least {lacking} bytes are missing at its end")
        try:
            file = (_Stream if forward else soundfile.SoundFile)(descriptor, closefd=False)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{path}: not audio, or damaged at its start ({error.error_string})") from None
        with file:
            if not MIN_RATE <= file.samplerate <= MAX_RATE:
                raise AudioError(f"{path}: sample rate {file.samplerate} Hz is outside {MIN_RATE} to {MAX_RATE}")
            yield file
    except IsADirectoryError:
        raise AudioError(f"{path}: is a directory") from None
    finally:
        os.close(descriptor)


def _native_blocks(path: str | os.PathLike[str]) -> Iterator[np.ndarray]:
    """Decode a file front to back: float32 [n, C], finite, complete, at least one sample."""
    with _open(path) as f:
        declared, count = f.frames, 0
        step = max(1, READ_VALUES // f.channels)
        while True:
            try:
                block = f.read(step, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise AudioError(f"{path}: damaged or truncated after {count} samples ({error.error_string})") from None
            if len(block) == 0:
                break
            count += len(block)
            yield _finite(path, block)
    if count < declared and length_is_stated(path, declared):
        raise AudioError(f"{path}: truncated: {count} of {declared} samples")
    if count == 0:
        raise AudioError(f"{path}: has no samples")
