"""ConvNeXt backbone with an inverse-STFT head (Vocos, arXiv 2306.00814): the decoder the SimVQ authors use.

All layers run at the frame rate, so it is several times cheaper than a SEANet decoder of equal quality. The
authors' attention block (`pos_net`) is left out: its cost is quadratic in the length.
"""

from __future__ import annotations

import math
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.constants import LAYER_NORM_EPSILON, MAX_LOG_MAGNITUDE, MIN_ENVELOPE
from audiocodec.nn.conv import Conv1d
from audiocodec.nn.convnext import ConvNeXtBlock

INITIAL_LOG_MAGNITUDE = -4.0  # start near the level of quiet speech, not at full scale


class OverlapAdd(nn.Module):
    """Windowed frames to a waveform with "same" padding: their sum over that of the squared Hann windows."""

    window: Tensor

    def __init__(self, hop_length: int, overlap: int) -> None:
        """Keep the sizes.

        Args:
            hop_length: samples per frame.
            overlap: frames that each output sample is summed from; `n_fft = overlap * hop_length`.
        """
        super().__init__()
        self.hop_length, self.overlap, self.n_fft = hop_length, overlap, overlap * hop_length
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.trim_left = (self.n_fft - hop_length) // 2

    def forward(self, frames: Tensor) -> Tensor:
        """Turn `frames [B, T, n_fft]`, windowed, into `[B, T * hop_length]`."""
        count = frames.shape[1]
        envelope = self.add((self.window**2).expand(1, count, -1))
        wav = self.add(frames) / envelope.clamp(min=MIN_ENVELOPE)
        return wav[:, self.trim_left : self.trim_left + count * self.hop_length]

    def add(self, frames: Tensor) -> Tensor:
        """Sum `frames [B, T, n_fft]` at distance `hop_length` to `[B, (T + overlap - 1) * hop_length]`.

        The oldest frame comes last, one after another: an order that does not depend on T.
        """
        parts = frames.unflatten(-1, (self.overlap, self.hop_length))
        shifted = [F.pad(parts[:, :, i], (0, 0, i, self.overlap - 1 - i)) for i in range(self.overlap)]
        return reduce(torch.add, shifted).flatten(1)


class ISTFTHead(nn.Module):
    """Linear layer to log magnitude and phase, then the inverse STFT with a Hann window and "same" padding."""

    def __init__(self, dim: int, hop_length: int, overlap: int) -> None:
        """Build the head; the arguments are those of `OverlapAdd` and `dim`, the width of the features."""
        super().__init__()
        self.sum = OverlapAdd(hop_length, overlap)
        self.n_fft, self.bins = self.sum.n_fft, self.sum.n_fft // 2 + 1
        self.linear = nn.Linear(dim, 2 * self.bins)

    def forward(self, features: Tensor) -> Tensor:
        """Turn `features [B, T, D]` into `[B, T * hop_length]`; float32 whatever the autocast."""
        with torch.autocast(features.device.type, enabled=False):
            wav: Tensor = self.sum(self.frames(features))
            return wav

    def frames(self, features: Tensor) -> Tensor:
        """Windowed pieces of waveform `[B, T, n_fft]` of `features [B, T, D]`; each frame for itself."""
        out = F.linear(features.float(), self.linear.weight.float(), self.linear.bias.float())
        log_magnitude, phase = out[..., : self.bins], out[..., self.bins :]
        magnitude = log_magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp() * math.sqrt(self.n_fft)
        spectrum = torch.complex(magnitude * phase.cos(), magnitude * phase.sin())
        pieces: Tensor = torch.fft.irfft(spectrum, self.n_fft) * self.sum.window
        return pieces


class Backbone(nn.Module):
    """ConvNeXt blocks at the frame rate: latents `[B, D, T]` to features `[B, T, C]`."""

    def __init__(self, latent_dim: int, dim: int, layers: int, expansion: int, kernel_size: int, causal: bool) -> None:
        """Build the blocks; the arguments are those of `config.schema.DecoderConfig`."""
        super().__init__()
        self.embed = Conv1d(latent_dim, dim, kernel_size, causal=causal, norm=False)
        self.norm_in = nn.LayerNorm(dim, eps=LAYER_NORM_EPSILON)
        blocks = [
            ConvNeXtBlock(dim, expansion * dim, kernel_size, causal=causal, scale=1 / layers) for _ in range(layers)
        ]
        self.blocks = nn.Sequential(*blocks)
        self.norm_out = nn.LayerNorm(dim, eps=LAYER_NORM_EPSILON)

    def start_weights(self) -> None:
        """Draw the weights of all convolutions and linear layers, the head's included."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def features(self, latents: Tensor) -> Tensor:
        """Features `[B, T, C]` of `latents [B, D, T]`."""
        return self.leave(self.blocks(self.enter(self.embed(latents))))

    def enter(self, x: Tensor) -> Tensor:
        """Normalise `[B, C, T]` for the blocks."""
        y: Tensor = self.norm_in(x.transpose(1, 2)).transpose(1, 2)
        return y

    def leave(self, x: Tensor) -> Tensor:
        """Normalised features `[B, T, C]` of what the blocks give, `[B, C, T]`."""
        y: Tensor = self.norm_out(x.transpose(1, 2))
        return y


class ISTFTDecoder(Backbone):
    """Latents `[B, D, T]` to waveform `[B, 1, T * hop_length]`."""

    def __init__(
        self,
        *,
        latent_dim: int,
        hop_length: int,
        dim: int,
        layers: int,
        expansion: int = 3,
        kernel_size: int = 7,
        overlap: int = 4,
        causal: bool = False,
    ) -> None:
        """Build the decoder; the arguments are those of `config.schema.DecoderConfig`."""
        super().__init__(latent_dim, dim, layers, expansion, kernel_size, causal)
        self.head = ISTFTHead(dim, hop_length, overlap)
        self.start_weights()
        nn.init.constant_(self.head.linear.bias[: self.head.bins], INITIAL_LOG_MAGNITUDE)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode `latents [B, D, T]` to `[B, 1, T * hop_length]`."""
        wav: Tensor = self.head(self.features(latents))
        return wav.unsqueeze(1)
