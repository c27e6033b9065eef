"""Audio files as they are opened: recognised by content, complete, and read whole or refused."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from audiocodec.audio import foreign, library
from audiocodec.audio.container import CHECKED, missing_bytes
from audiocodec.audio.unfinished import Behind, to_its_end
from audiocodec.audio.whole import passed_over
from audiocodec.constants import MAX_RATE, MIN_RATE
from audiocodec.errors import AudioError

if TYPE_CHECKING:
    from typing_extensions import Self

# A named pipe would be waited for, then refused. Windows has neither name.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_LOSSY = ("OGG", "MP3")


class AudioFile:
    """A file that is opened once and read as often as is needed; a context. Stands for its path in this room.

    Attributes:
        path: of the file.
        channel: the only one to read, from 1 on; None: all, mixed where one is wanted.
        seconds: that will be read at most; ffmpeg, where a file needs it, converts no more. None: all.
        descriptor: of the file, or of a temporary one with its audio.
        peak: the largest sample read so far, over all channels.
        lossy: whether its format is one whose decoders overshoot full scale; known once it was opened.
    """

    def __init__(self, path: str | os.PathLike[str], channel: int | None = None, seconds: float | None = None) -> None:
        """Open it; what it holds is looked at later.

        Raises:
            AudioError: it is missing, or may not be read.
        """
        self.path, self.channel, self.seconds, self.peak, self.lossy = path, channel, seconds, 0.0, False
        self._checked = self._whole = False
        self._rewritten: Behind | None = None
        try:
            self.descriptor = os.open(path, _FLAGS)
        except (OSError, ValueError) as error:  # a NUL is in no name
            raise AudioError(f"{path}: {getattr(error, 'strerror', None) or error}") from None

    @staticmethod
    def of(path: Path, channel: int | None = None) -> contextlib.AbstractContextManager[AudioFile]:
        """The file itself where it is open already, which stays so; else the file of that name."""
        return contextlib.nullcontext(path) if isinstance(path, AudioFile) else AudioFile(path, channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def __str__(self) -> str:
        return str(self.path)

    @contextlib.contextmanager
    def opened(self, forward: bool = True, whole: bool = True) -> Iterator[Any]:
        """What soundfile makes of it.

        Args:
            forward: read strictly forward, see `library.open_audio`.
            whole: refuse what would be read in part; looks through the whole file where its format needs that.

        Raises:
            AudioError: naming the file and the cause.
        """
        try:
            self._check()
            file = self._open(forward)
            with file:
                self._refuse(file)
                self.lossy = self.lossy or file.format in _LOSSY
                if whole and not self._whole:
                    if why := passed_over(self.descriptor, file.format) if self._rewritten is None else "":
                        raise AudioError(why)
                    self._whole = True
                yield file
        except AudioError as error:
            text = str(error)
            raise AudioError(text if text.startswith(f"{self.path}: ") else f"{self.path}: {text}") from None

    def _check(self) -> None:
        """Refuse what is no file or not complete; done once."""
        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"is {'a directory' if stat.S_ISDIR(status.st_mode) else 'no regular file'}")
        if status.st_size == 0:
            raise AudioError("is empty (0 bytes)")
        if lacking := missing_bytes(self.descriptor):
            raise AudioError(f"truncated: at least {lacking} bytes are missing at its end")
        if not self._checked:
            self._rewritten = to_its_end(self.descriptor)
            self._checked = True

    def _open(self, forward: bool) -> Any:
        """By descriptor: libsndfile then goes by content alone (by name it takes any .au or .vox file for audio)."""
        try:
            return library.open_audio(self._source(), forward)
        except library.errors() as error:
            cause = f"not audio, or damaged at its start ({library.reason(error)})"
        joined = passed_over(self.descriptor, "")  # which ffmpeg would read in part
        if joined or not (kind := foreign.kind_of(self.descriptor)):
            raise AudioError(joined or cause)
        temporary = foreign.converted(self.path, kind, cause, self.seconds)
        os.close(self.descriptor)
        self.descriptor, self._rewritten, self.lossy = temporary, None, True
        return library.open_audio(self._source(), forward)

    def _source(self) -> int | IO[bytes]:
        if self._rewritten is not None:
            self._rewritten.seek(0)
            return self._rewritten  # type: ignore[return-value]
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        if not hasattr(
            os, "pread"
        ):  # Windows: libsndfile has descriptors of its own, and reading elsewhere moves this one
            return Behind(b"", self.descriptor, 0)  # type: ignore[return-value]
        return self.descriptor

    def _refuse(self, file: Any) -> None:
        if file.format not in CHECKED:
            cause = "in which missing bytes go unnoticed; convert it to WAV or FLAC"
            raise AudioError(f"is a file of type {file.format_info}, {cause}")
        if not MIN_RATE <= file.samplerate <= MAX_RATE:
            raise AudioError(f"sample rate {file.samplerate} Hz is outside {MIN_RATE} to {MAX_RATE}")
        if self.channel is not None and self.channel > file.channels:
            raise AudioError(f"has {file.channels} channels, no channel {self.channel}")


Path = str | os.PathLike[str] | AudioFile
