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
from audiocodec.nn.conv import Conv1d, upsampling_context
from audiocodec.nn.convnext import ConvNeXtBlock
from audiocodec.nn.streaming import Chain, Context, Pointwise, Stream, Trim, stream_of

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

    def stream(self) -> SumStream:
        """The sum as a stream."""
        return SumStream(self)

    def context(self) -> Context:
        """What the frames around a hop reach into it."""
        return Context(self.n_fft - self.hop_length - self.trim_left, self.trim_left, self.hop_length)

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


class Head(nn.Module):
    """Features `[B, T, D]` to waveform `[B, T * hop_length]`; adds up windows."""

    sum: OverlapAdd

    def stream(self) -> Stream:
        """The head as a stream: features `[1, T, D]` to waveform."""
        raise NotImplementedError


class ISTFTHead(Head):
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

    def stream(self) -> Stream:
        """The head as a stream: features `[1, T, D]` to waveform."""
        return Chain([ISTFTStream(self), self.sum.stream()])

    def frames(self, features: Tensor) -> Tensor:
        """Windowed pieces of waveform `[B, T, n_fft]` of `features [B, T, D]`; each frame for itself."""
        out = F.linear(features.float(), self.linear.weight.float(), self.linear.bias.float())
        log_magnitude, phase = out[..., : self.bins], out[..., self.bins :]
        magnitude = log_magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp() * math.sqrt(self.n_fft)
        spectrum = torch.complex(magnitude * phase.cos(), magnitude * phase.sin())
        pieces: Tensor = torch.fft.irfft(spectrum, self.n_fft) * self.sum.window
        return pieces


class Backbone(nn.Module):
    """ConvNeXt blocks at the frame rate, latents `[B, D, T]` to features `[B, T, C]`, and a `head` that a decoder adds."""

    head: Head

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

    def stream(self) -> Stream:
        """The decoder as a stream: latents to waveform."""
        blocks = (stream_of(block) for block in self.blocks)
        return Chain([self.embed.stream(), Pointwise(self.enter), *blocks, Pointwise(self.leave), self.head.stream()])

    def context(self) -> tuple[int, int]:
        """Samples before and after an output sample that decide which frames it depends on."""
        return upsampling_context(self)

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

    head: ISTFTHead

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


class ISTFTStream(Stream):
    """Features `[1, T, D]` to windowed frames `[1, T, n_fft]`; of no features there is no Fourier transform."""

    def __init__(self, head: ISTFTHead) -> None:
        self._head = head

    def step(self, x: Tensor, last: bool) -> Tensor:
        return self._head.frames(x) if x.shape[1] else x.new_zeros(1, 0, self._head.n_fft)


class SumStream(Stream):
    """Inverse STFT: holds the windowed frames `[1, T, n_fft]` that still overlap what comes."""

    def __init__(self, layer: OverlapAdd) -> None:
        self._layer = layer
        nothing = layer.window.new_zeros(1, layer.overlap - 1, layer.n_fft)
        self._frames = self._squares = nothing
        self._trim = Trim(layer.trim_left, layer.hop_length)

    def step(self, x: Tensor, last: bool) -> Tensor:
        layer, count = self._layer, x.shape[1]
        frames, squares = self._frames, self._squares
        if count:
            frames = torch.cat([frames, x], 1)
            squares = torch.cat([squares, (layer.window**2).expand(1, count, -1)], 1)
        old = layer.overlap - 1
        if last:
            frames, squares = F.pad(frames, (0, 0, 0, old)), F.pad(squares, (0, 0, 0, old))
        whole = slice(old * layer.hop_length, frames.shape[1] * layer.hop_length)  # all frames of these are there
        wav = layer.add(frames)[:, whole] / layer.add(squares)[:, whole].clamp(min=MIN_ENVELOPE)
        self._frames, self._squares = frames[:, frames.shape[1] - old :], squares[:, squares.shape[1] - old :]
        return self._trim.cut(wav.unsqueeze(1), count)
