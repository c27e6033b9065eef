"""The libraries behind audio files and resampling, loaded when they are first used.

Where soundfile is not installed, as on a machine that is lent for training, WAV files of 16-bit samples can be read all the
same, to the same numbers; everything else says what lacks.
"""

from __future__ import annotations

import os
import wave
from functools import lru_cache
from types import ModuleType
from typing import IO, Any, final

import numpy as np

from audiocodec.errors import AudioError


@lru_cache(maxsize=1)
def _soundfile() -> ModuleType | ImportError | OSError:
    """The module, or why there is none (OSError: it does not find libsndfile)."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        return error
    return soundfile  # type: ignore[no-any-return]


def soundfile() -> Any:
    """The module.

    Raises:
        AudioError: it is not installed.
    """
    found = _soundfile()
    if isinstance(found, Exception):
        raise AudioError(f"audio files need soundfile ({found}); pip install soundfile")
    return found


def soxr() -> Any:
    """The module.

    Raises:
        AudioError: it is not installed.
    """
    try:
        import soxr as module
    except ImportError as error:
        raise AudioError(f"resampling needs soxr ({error}); pip install soxr") from None
    return module


def open_audio(source: int | IO[bytes], forward: bool) -> Any:
    """What soundfile makes of an open file, which stays open when that is closed.

    Args:
        source: descriptor or binary file, at its beginning.
        forward: read strictly forward: soundfile seeks after every read of a seekable file, which breaks an MP3 at each.

    Raises:
        AudioError: without soundfile: not a WAV file of 16-bit samples.
        errors(): it is not audio.
    """
    library = _soundfile()
    if isinstance(library, Exception):
        return PcmWav(source, library)
    return (_stream_type() if forward else library.SoundFile)(source, closefd=False)


def errors() -> tuple[type[Exception], ...]:
    """What opening and reading raise for damaged files."""
    library = _soundfile()
    return (wave.Error, EOFError) if isinstance(library, Exception) else (library.LibsndfileError,)


def reason(error: BaseException) -> str:
    """Of one of `errors()`, in words."""
    return str(getattr(error, "error_string", error)) or type(error).__name__


@lru_cache(maxsize=1)
def _stream_type() -> Any:
    class Stream(soundfile().SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    return Stream


@final
class PcmWav:
    """A WAV file of 16-bit samples, with as much of soundfile's interface as reading needs."""

    format, format_info = "WAV", "WAV"

    def __init__(self, source: int | IO[bytes], why: Exception) -> None:
        """Read the header.

        Args:
            source: descriptor or binary file.
            why: there is no soundfile.

        Raises:
            AudioError: anything but 16-bit WAV.
        """
        self._raw = os.fdopen(os.dup(source), "rb") if isinstance(source, int) else source
        self._owned = isinstance(source, int)
        try:
            self._file = wave.Wave_read(self._raw)
            if self._file.getsampwidth() != 2:
                raise wave.Error(f"{8 * self._file.getsampwidth()} bits")
        except (wave.Error, EOFError) as error:
            self._close()
            cause = f"not a WAV file of 16-bit samples ({str(error) or 'cut short'})"
            raise AudioError(f"{cause}; anything else needs soundfile ({why}); pip install soundfile") from None
        self.samplerate, self.channels = self._file.getframerate(), self._file.getnchannels()
        self.frames = self._file.getnframes()

    def __enter__(self) -> PcmWav:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._close()

    def _close(self) -> None:
        if self._owned:
            self._raw.close()

    def seek(self, frame: int) -> None:
        """Go on reading at `frame`."""
        self._file.setpos(frame)

    def read(self, frames: int, dtype: str, always_2d: bool) -> np.ndarray:
        """The next samples, `[n, C]`, full scale 1; n < `frames` at the end."""
        samples = np.frombuffer(self._file.readframes(frames), "<i2").reshape(-1, self.channels)
        return samples.astype(dtype) / np.float32(32768)
