"""What `codec.exact` does on torch: frames whose codes float32 cannot decide are decided again in float64, in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from audiocodec.codec.bounds import LATENT_ERROR, Window, windows
from audiocodec.config.schema import Config
from audiocodec.onnx.networks import halo_of, scaled_latents
from audiocodec.onnx.program import Program
from audiocodec.onnx.quantizers import Quantizer
from audiocodec.onnx.search import FloatArray, IntArray
from audiocodec.onnx.special import DoubleArray


class NearTies:
    """Decides near-ties of one model; counts frames seen and frames decided again.

    Attributes:
        weights: those of the encoder and of the scale.
        bound: distance that a float32 latent may be off.
    """

    def __init__(self, config: Config, weights: Mapping[str, FloatArray]) -> None:
        """Take a model without LSTM.

        Args:
            config: of the model.
            weights: folded, by the names of the torch modules; the quantizer's are not kept.
        """
        self.weights = {name: array for name, array in weights.items() if name.startswith(("encoder.", "scale."))}
        self._config, self._hop_length = config, config.hop_length
        self.bound = LATENT_ERROR
        self.frames = self.settled = 0

    def encode(
        self, quantizer: Quantizer, latents: FloatArray, wav: FloatArray, first: int, num_codebooks: int | None
    ) -> IntArray:
        """Codes of `latents`, near-ties decided again.

        Args:
            quantizer: of the model.
            latents: `[D, t]`, scaled.
            wav: `[S]` samples that hold their receptive field, whole frames; the signal ends there if need be.
            first: the frame of `wav` that the first latent belongs to.
            num_codebooks: use only the first so many codebooks.

        Returns:
            `[K, t]`.
        """
        codes, margins = quantizer.encode_with_margins(latents, num_codebooks)
        found = first + np.flatnonzero(margins < self.bound)
        for window in windows(found.tolist(), self._encoder[2], len(wav) // self._hop_length):
            for frame, latent in zip(window.frames, self.exact_latents(wav, window)):
                codes[:, frame - first] = quantizer.settle(latent, num_codebooks)
        self.frames += len(margins)
        self.settled += len(found)
        return codes

    def exact_latents(self, wav: FloatArray, window: Window) -> DoubleArray:
        """The scaled latents `[n, D]` of a window's frames in float64."""
        program, last, _ = self._encoder
        samples = wav[window.low * self._hop_length : window.high * self._hop_length].astype(np.float64)
        latents = program.run("wav", samples[None, None], last)[0]
        chosen: DoubleArray = latents[:, np.array(window.frames) - window.low].T
        return chosen

    @cached_property
    def _encoder(self) -> tuple[Program, str, tuple[int, int]]:
        """The encoder, the name of its result, and the frames (before, after) that each depends on."""
        program = Program(self.weights, causal=self._config.model.causal)
        last = scaled_latents(self._config, program)
        return program, last, halo_of(self._config, program)
