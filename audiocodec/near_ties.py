"""Frames whose codes float32 cannot decide are decided again, from the samples alone.

Kernels, chunks, threads and machines round differently, so a latent that lies nearly as close to a second code could get
either. A search gives each frame its margin: how far the latent can move before its code changes. Where that is less
than the error a float32 encoder was seen to make, the frame's latent is computed anew in float64, always from the same
samples (its receptive field), and the nearest code among the candidates is chosen in float64.
"""

from __future__ import annotations

import copy
from itertools import chain

import torch.nn.functional as F
from torch import Tensor

from audiocodec.nn.conv import downsampling_context
from audiocodec.nn.seanet import SEANetEncoder
from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.quantization.scale import LatentScale

# Distance by which a float32 latent of unit RMS per dimension may be off: see docs/determinism.md for what was measured.
LATENT_ERROR = 1e-3


class NearTies:
    """Decides near-ties of one codec; counts frames seen and frames decided again."""

    def __init__(
        self,
        encoder: SEANetEncoder,
        scale: LatentScale,
        quantizer: ResidualQuantizer,
        halo: tuple[int, int],
        hop_length: int,
    ) -> None:
        """Put the parts together.

        Args:
            encoder: `[B, 1, S] -> [B, D, T]`, of a finite receptive field.
            scale: of the latents.
            quantizer: of the scaled latents.
            halo: frames (before, after) that a frame's codes depend on.
            hop_length: samples per frame.
        """
        self._parts = encoder, scale, quantizer
        self._halo, self._hop_length = halo, hop_length
        self._twin: tuple[tuple[int, ...], SEANetEncoder] | None = None
        self.frames = self.settled = 0

    def encode(
        self, latents: Tensor, wav: Tensor, first: int, frames: list[int] | None, num_codebooks: int | None
    ) -> Tensor:
        """Codes of `latents`, near-ties decided again.

        Args:
            latents: `[B, D, t]`, scaled.
            wav: `[B, 1, S]` samples that hold their receptive field, from a whole frame or the signal's beginning on.
            first: the frame of `wav` that the first latent belongs to.
            frames: of each item, how many frames of `wav` its signal has; beyond it ends. None: it goes on after `wav`.
            num_codebooks: use only the first so many codebooks.

        Returns:
            `[B, K, t]` int64.
        """
        quantizer = self._parts[2]
        codes, margins = quantizer.encode_with_margins(latents, num_codebooks)
        self.frames += margins.numel()
        for item, step in (margins < LATENT_ERROR).nonzero().tolist():
            if frames is None or first + step < frames[item]:
                end = None if frames is None else frames[item]
                latent = self._exact_latent(wav[item : item + 1], first + step, end)
                codes[item, :, step] = quantizer.settle(latent, num_codebooks)
                self.settled += 1
        return codes

    def _exact_latent(self, wav: Tensor, frame: int, end: int | None) -> Tensor:
        """The scaled latent `[D]` of one frame in float64."""
        left, right = self._halo
        low, high = max(0, frame - left), frame + right + 1
        if end is not None:
            high = min(high, end)
        window = wav[..., low * self._hop_length : high * self._hop_length].double()
        # A stream need not have all of the last frame yet; the latent does not depend on the part that is missing.
        window = F.pad(window, (0, (high - low) * self._hop_length - window.shape[-1]))
        scale = self._parts[1]
        latent = self._one_frame(window, frame - low)
        return (latent - scale.mean.double()) / scale.rms.double()

    def _one_frame(self, window: Tensor, frame: int) -> Tensor:
        """Raw latent `[D]` of one frame of `window [1, 1, S]`; at the frame rate, each layer sees what it still needs."""
        x, layers = window, list(self._encoder().layers)
        for i, layer in enumerate(layers):
            x = layer(x)
            if x.shape[-1] * self._hop_length == window.shape[-1]:
                left, right = downsampling_context(part for rest in layers[i + 1 :] for part in rest.modules())
                low = max(0, frame - left)
                x, frame = x[..., low : frame + right + 1], frame - low
                window = window[..., : x.shape[-1] * self._hop_length]
        return x[0, :, frame]

    def _encoder(self) -> SEANetEncoder:
        """The encoder in float64, kept until a weight changes."""
        encoder = self._parts[0]
        tensors = list(chain(encoder.parameters(), encoder.buffers()))
        counted = not any(t.is_inference() for t in tensors)
        key = tuple(n for t in tensors for n in (t._version, t.data_ptr())) if counted else ()
        if self._twin is None or self._twin[0] != key or not counted:
            self._twin = (key, copy.deepcopy(encoder).double())
        return self._twin[1]
