"""What a person gave to listen to: the first seconds of a file, checked, and its tokens by every model so far."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from audiocodec.audio import io
from audiocodec.codec.files import compress
from audiocodec.codec.interface import FloatArray
from audiocodec.demo.watch import Watch
from audiocodec.errors import AudioError
from audiocodec.loading import Model
from audiocodec.metrics.pairs import SILENCE_RMS
from audiocodec.reporting.plots.spectrogram import power
from audiocodec.tokens.token_file import TokenFile

MAX_BYTES = 100 << 20  # of a file: more is not taken
MAX_SECONDS = 30.0  # of a file: what follows is left out
MIN_SECONDS = 0.1
HEARD_RATES = (8_000, 48_000)  # Hz, that every browser plays


@dataclass(eq=False)
class Recording:
    """Mono samples `wav [S]` at `sample_rate` Hz.

    Attributes:
        channels: of the file, before they were mixed.
        goes_on: whether the file has more than what is here.
        tokens: fingerprint of a model -> its tokens, all codebooks.
    """

    wav: FloatArray
    sample_rate: int
    channels: int
    goes_on: bool
    tokens: dict[bytes, TokenFile] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Length of what is here."""
        return len(self.wav) / self.sample_rate

    @property
    def heard_rate(self) -> int:
        """Hz of what is played: the file's own, unless a browser could refuse it."""
        low, high = HEARD_RATES
        return min(max(self.sample_rate, low), high)

    @cached_property
    def heard(self) -> FloatArray:
        """The samples at `heard_rate`."""
        return np.ascontiguousarray(io.resample(self.wav, self.sample_rate, self.heard_rate))

    @cached_property
    def spectrogram(self) -> npt.NDArray[np.floating]:
        """Power of what is heard, by `spectrogram.power`."""
        return power(self.heard, self.heard_rate)

    def encoded(self, model: Model, watch: Watch) -> TokenFile:
        """The tokens that `audiocodec encode` makes of a file of these seconds, with all codebooks; kept.

        Args:
            model: that encodes.
            watch: called between pieces; what it raises ends the work.
        """
        if model.fingerprint not in self.tokens:
            data = compress(model.coder, self.wav, self.sample_rate, progress=lambda *_: watch())
            tokens = replace(TokenFile.from_bytes(data), original_channels=self.channels)
            self.tokens[model.fingerprint] = tokens
        return self.tokens[model.fingerprint]


def read(path: str | os.PathLike[str]) -> Recording:
    """Take the first `MAX_SECONDS` of a file.

    Raises:
        AudioError: without the file's name, which is a temporary one: it cannot be read, is shorter than `MIN_SECONDS`,
            or silent.
    """
    try:
        wav, info, goes_on = io.read_beginning(path, MAX_SECONDS)
    except AudioError as error:
        raise AudioError(str(error).removeprefix(f"{path}: ")) from None
    if len(wav) < MIN_SECONDS * info.sample_rate:
        raise AudioError(f"lasts {len(wav) / info.sample_rate:.3f} s; at least {MIN_SECONDS} s are needed")
    if np.sqrt(np.mean(np.square(wav, dtype=np.float64))) < SILENCE_RMS:
        heard = "its first seconds are" if goes_on else "it is"
        raise AudioError(f"{heard} silent: nothing could be heard; is the microphone switched off?")
    return Recording(wav, info.sample_rate, info.channels, goes_on)
