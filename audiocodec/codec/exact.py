"""Frames whose codes float32 cannot decide are decided again, from the samples alone.

Kernels, chunks, threads and machines round differently, so a latent that lies nearly as close to a second code could get
either. A search gives each frame its margin: how far the latent can move before its code changes. Where that is less
than the error a float32 encoder was seen to make, the frame's latent is computed anew in float64 from its receptive
field, and the nearest code among the candidates is chosen in float64. `onnx.near_ties` does the same without torch.
"""

from __future__ import annotations

import copy
from itertools import chain

import torch.nn.functional as F
from torch import Tensor

from audiocodec.codec.bounds import LATENT_ERROR, Window, windows
from audiocodec.nn.conv import downsampling_context
from audiocodec.nn.seanet import SEANetEncoder
from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.quantization.scale import LatentScale


class NearTies:
    """Decides near-ties of one codec; counts frames seen and frames decided again.

    Attributes:
        bound: distance that a float32 latent may be off.
    """

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
        self.bound = LATENT_ERROR
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
        for item, near in enumerate((margins < self.bound).cpu()):
            end = None if frames is None else frames[item]
            found = [first + step for step in near.nonzero()[:, 0].tolist() if end is None or first + step < end]
            for window in windows(found, self._halo, end):
                for frame, latent in zip(window.frames, self._exact_latents(wav[item : item + 1], window)):
                    codes[item, :, frame - first] = quantizer.settle(latent, num_codebooks)
            self.settled += len(found)
        return codes

    def _exact_latents(self, wav: Tensor, window: Window) -> Tensor:
        """The scaled latents `[n, D]` of a window's frames in float64."""
        samples = wav[..., window.low * self._hop_length : window.high * self._hop_length].double()
        # A stream need not have all of the last frame yet; the latents do not depend on the part that is missing.
        size = (window.high - window.low) * self._hop_length
        samples = F.pad(samples, (0, size - samples.shape[-1]))
        scale = self._parts[1]
        frames = [frame - window.low for frame in window.frames]
        latents = self._span(samples, frames[0], frames[-1])[:, [frame - frames[0] for frame in frames]]
        return (latents.T - scale.mean.double()) / scale.rms.double()

    def _span(self, samples: Tensor, first: int, last: int) -> Tensor:
        """Raw latents `[D, n]` of the frames `first` to `last` of `samples [1, 1, S]`; at the frame rate, each layer
        sees what they still need."""
        x, layers, total = samples, list(self._encoder().layers), samples.shape[-1] // self._hop_length
        for i, layer in enumerate(layers):
            x = layer(x)
            if x.shape[-1] == total:
                left, right = downsampling_context(part for rest in layers[i + 1 :] for part in rest.modules())
                low = max(0, first - left)
                x = x[..., low : last + right + 1]
                first, last, total = first - low, last - low, x.shape[-1]
        return x[0, :, first : last + 1]

    def _encoder(self) -> SEANetEncoder:
        """The encoder in float64, kept until a weight changes."""
        encoder = self._parts[0]
        tensors = list(chain(encoder.parameters(), encoder.buffers()))
        counted = not any(t.is_inference() for t in tensors)
        key = tuple(n for t in tensors for n in (t._version, t.data_ptr())) if counted else ()
        if self._twin is None or self._twin[0] != key or not counted:
            self._twin = (key, copy.deepcopy(encoder).double())
        return self._twin[1]
