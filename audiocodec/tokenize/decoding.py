"""From an utterance to samples as the codec wants them: mono, at its rate, at its level. Runs in threads."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiocodec.audio import io
from audiocodec.data.excerpt import samples_of
from audiocodec.data.pipes import audio_file, is_pipe
from audiocodec.errors import AudioCodecError, AudioError
from audiocodec.tokenize import storage
from audiocodec.tokenize.utterance import Utterance

LONG_SECONDS = 60.0  # longer files are coded in blocks, and never held whole


@dataclass(frozen=True)
class Clip:
    """An utterance ready for the encoder.

    Attributes:
        utterance: what it is.
        wav: float32 [S] at the codec's rate and level; None: too long to hold, to be coded from the file.
        gain: the samples were multiplied by this.
        sample_rate, channels, num_samples: of the audio before.
    """

    utterance: Utterance
    wav: npt.NDArray[np.float32] | None
    gain: float
    sample_rate: int
    channels: int
    num_samples: int


class Decoder:
    """Decodes utterances in threads, in order, a bounded number ahead."""

    def __init__(self, sample_rate: int, level_db: float, threads: int, allow_pipes: bool = False) -> None:
        """Take what the codec wants.

        Args:
            sample_rate: Hz.
            level_db: RMS in dB full scale.
            threads: that decode.
            allow_pipes: run commands of `wav.scp`.
        """
        self.sample_rate, self.level_db = sample_rate, level_db
        self._allow_pipes = allow_pipes
        self._recordings = _Recordings()
        self.pool = ThreadPoolExecutor(threads, "decode")

    def decode(self, utterance: Utterance) -> Clip:
        """Samples of one utterance: exactly what `encode_file` gives its codec.

        Raises:
            AudioError: naming the file and the cause.
        """
        with self.file(utterance) as path:
            header = io.info(path)
            if utterance.start is not None:
                return self._part(utterance, path, header)
            if header.num_samples > LONG_SECONDS * header.sample_rate:
                return Clip(utterance, None, 1.0, header.sample_rate, header.channels, header.num_samples)
            wav, stats = io.read_leveled(path, self.sample_rate)
        return self._clip(utterance, wav, stats, header.sample_rate, header.channels)

    def _part(self, utterance: Utterance, path: str, header: io.AudioInfo) -> Clip:
        """A segment, as if it were cut out into a mono file of its own."""
        rate = header.sample_rate
        try:
            start, wanted = samples_of(utterance.start or 0.0, utterance.seconds, rate, header.num_samples)
        except AudioError as error:
            raise AudioError(f"{path}: {error}") from None
        part = io.read_part(path, start, wanted)
        if len(part) < wanted:
            raise AudioError(f"{path}: truncated: {len(part)} of {wanted} samples from {start} on")
        wav, stats = io.leveled(part, rate, self.sample_rate)
        return self._clip(utterance, wav, stats, rate, 1)

    def _clip(
        self, utterance: Utterance, wav: np.ndarray, stats: io.LevelStats, sample_rate: int, channels: int
    ) -> Clip:
        gain = io.level_gain(stats, self.level_db)
        return Clip(utterance, io.at_level(wav, stats, gain), gain, sample_rate, channels, stats.num_samples)

    @contextlib.contextmanager
    def file(self, utterance: Utterance) -> Iterator[str]:
        """A regular file with the audio; errors about a temporary one name the input.

        Raises:
            AudioError: it cannot be read.
        """
        audio = utterance.audio
        try:
            if isinstance(audio, bytes):
                with _spooled(audio) as path:
                    yield path
            elif storage.is_remote(audio):
                with self._recordings.file(audio) as path:
                    yield path
            else:
                with audio_file(audio, self._allow_pipes) as path:
                    yield path
        except AudioCodecError as error:
            text = str(error)
            if isinstance(audio, bytes) or storage.is_remote(audio) or is_pipe(audio):
                text = text.partition(": ")[2] if text.startswith(tempfile.gettempdir()) else text
            raise AudioError(text.removeprefix(f"{utterance.file}: ")) from None

    def close(self) -> None:
        """End the threads; what was decoded ahead is dropped."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        self._recordings.close()


@contextlib.contextmanager
def _spooled(data: bytes) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(prefix="audiocodec-") as spool:
        spool.write(data)
        spool.flush()
        yield spool.name


class _Recordings:
    """Remote recordings as temporary files; the last is kept, because segments of one recording follow each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: tuple[str, str] | None = None

    @contextlib.contextmanager
    def file(self, address: str) -> Iterator[str]:
        """A link to the recording's copy, which stays while the context is open."""
        with tempfile.TemporaryDirectory(prefix="audiocodec-") as folder:
            path = os.path.join(folder, "audio")
            with self._lock:
                if self._held is None or self._held[0] != address:
                    self.close()
                    self._held = address, _fetched(address)
                os.link(self._held[1], path)
            yield path

    def close(self) -> None:
        """Drop the recording that is kept."""
        if self._held is not None:
            os.unlink(self._held[1])
            self._held = None


def _fetched(address: str) -> str:
    descriptor, path = tempfile.mkstemp(prefix="audiocodec-")
    try:
        with os.fdopen(descriptor, "wb") as copy, storage.open_file(address) as remote:
            while chunk := remote.read(1 << 20):
                copy.write(chunk)
    except Exception as error:  # a store's client raises what it likes
        os.unlink(path)
        if isinstance(error, AudioCodecError):
            raise
        raise AudioError(f"{address}: cannot be read: {type(error).__name__}: {error}") from None
    return path
