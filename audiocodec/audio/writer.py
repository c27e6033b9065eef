"""Audio files that appear only when they are complete; what goes past full scale is clipped and counted, but in floats."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, final

import numpy as np

from audiocodec.audio import library
from audiocodec.errors import AudioError
from audiocodec.files import temporary_beside

_FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".opus": "OGG", ".mp3": "MP3"}
_LOSSY = {".ogg": "VORBIS", ".opus": "OPUS", ".mp3": "MPEG_LAYER_III"}
_SAMPLE_BYTES = {"PCM_16": 2, "PCM_24": 3}
_RATES = {  # Hz, of formats that have these only
    ".opus": (8_000, 12_000, 16_000, 24_000, 48_000),
    ".mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}
_WAV_LIMIT = (1 << 32) - 4096  # bytes of samples a RIFF file can hold, less room for its headers


@final
class Writer:
    """Writes blocks to a temporary file that takes the final name only when all went well.

    Args:
        path: the extension (.wav, .flac, .ogg, .opus, .mp3) decides the format.
        sample_rate: Hz.
        channels: of every block.
        subtype: `PCM_16`, `PCM_24` or `FLOAT`, as libsndfile calls them; None: 16 bits, or what a lossy format has.

    Attributes:
        clipped: samples outside [-1, 1] so far, which are written as full scale; none of floats.
        num_samples: samples per channel so far.
    """

    def __init__(
        self, path: str | os.PathLike[str], sample_rate: int, channels: int = 1, subtype: str | None = None
    ) -> None:
        self.path = Path(path)
        target = Path(os.path.realpath(path))  # through a symbolic link, not over it
        self.clipped = self.num_samples = 0
        suffix = self.path.suffix.lower()
        if suffix not in _FORMATS:
            raise AudioError(f"{path}: cannot write audio with extension {suffix!r}; use one of {', '.join(_FORMATS)}")
        if subtype is not None and (suffix in _LOSSY or (subtype == "FLOAT" and suffix != ".wav")):
            raise AudioError(f"{path}: a {suffix} file has no samples of type {subtype}; write .wav")
        if (rates := _RATES.get(suffix)) and sample_rate not in rates:
            nearest = next((rate for rate in rates if rate >= sample_rate), rates[-1])
            raise AudioError(
                f"{path}: a {suffix} file cannot have {sample_rate} Hz, only {', '.join(map(str, rates))}; "
                f"--sample-rate {nearest} writes one"
            )
        self._lossless = suffix not in _LOSSY
        self._format = _FORMATS[suffix]
        self._subtype = _LOSSY.get(suffix, subtype or "PCM_16")
        self._sample_rate, self._channels = sample_rate, channels
        self._target, self._temporary = target, temporary_beside(target)
        self._file: Any = None

    def __enter__(self) -> Writer:
        self._library = library.soundfile()
        try:
            self._temporary.touch()
            self._file = self._library.SoundFile(
                os.fsencode(self._temporary), "w", self._sample_rate, self._channels, self._subtype, format=self._format
            )
        except (self._library.LibsndfileError, OSError, ValueError) as error:
            self._remove()
            raise AudioError(f"{self.path}: cannot write: {_reason(error)}") from None
        except BaseException:  # Ctrl-C: a `with` that was not entered is not left either
            self._remove()
            raise
        return self

    def write(self, block: np.ndarray) -> None:
        """Append samples [n] or [C, n]; values outside [-1, 1] are clipped and counted.

        Raises:
            AudioError: the disk is full, or the block holds NaN or infinite samples.
        """
        block = np.asarray(block, dtype=np.float32)
        beyond = np.abs(finite(self.path, block)) > 1
        if self._subtype != "FLOAT" and beyond.any():
            self.clipped += int(np.count_nonzero(beyond))
            block = np.clip(block, -1.0, 1.0)
        self.num_samples += block.shape[-1]
        bytes_per_sample = self._channels * _SAMPLE_BYTES.get(self._subtype, 4)
        if self._format == "WAV" and self.num_samples * bytes_per_sample > _WAV_LIMIT:
            raise AudioError(f"{self.path}: a .wav file cannot hold more than 4 GiB; write .flac instead")
        try:
            self._file.write(block.T)
        except (self._library.LibsndfileError, OSError, AssertionError) as error:
            raise self._failure(error) from None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._close(check=kind is None)
            if kind is None:
                os.replace(self._temporary, self._target)
        except OSError as error:
            raise AudioError(f"{self.path}: cannot write: {_reason(error)}") from None
        finally:
            self._remove()

    def _close(self, check: bool) -> None:
        try:
            self._file.close()
            if check and self._lossless and self._frames_on_disk() != self.num_samples:
                raise self._failure(AssertionError())
        except (self._library.LibsndfileError, AssertionError) as error:
            if check:
                raise self._failure(error) from None

    def _frames_on_disk(self) -> int:
        return int(self._library.info(os.fsencode(self._temporary)).frames)

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


def write(path: str | os.PathLike[str], wav: np.ndarray, sample_rate: int, subtype: str | None = None) -> int:
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


def finite(path: str | os.PathLike[str], block: np.ndarray) -> np.ndarray:
    """The block itself; raises AudioError naming the file when it holds NaN or infinite samples."""
    if not np.isfinite(block).all():
        raise AudioError(f"{path}: holds samples that are NaN or infinite")
    return block


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(getattr(error, "error_string", error)) or "not all samples were taken"
