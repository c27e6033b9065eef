"""Encoders and decoders as streams: each layer keeps the past inputs it still needs, and nothing is computed twice.

A stream puts out a step as soon as the inputs that it depends on are there. Causal layers give a step for a step; the
others hold back what looks ahead. Put together, the outputs are those of the layer on the whole signal, for batch 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.constants import MIN_ENVELOPE
from audiocodec.dsp.noise import ROWS
from audiocodec.dsp.voice import ONSET
from audiocodec.nn.conv import Conv1d, ConvTranspose1d
from audiocodec.nn.convnext import ConvNeXtBlock
from audiocodec.nn.istft_decoder import Backbone, ISTFTDecoder, ISTFTHead, OverlapAdd
from audiocodec.nn.pitch import contour, phases
from audiocodec.nn.seanet import ResidualUnit, SEANetDecoder, SEANetEncoder, SkipLSTM
from audiocodec.nn.voiced_decoder import Filters, VoicedDecoder, VoicedHead


class Stream(ABC):
    """A layer with a memory."""

    @abstractmethod
    def step(self, x: Tensor, last: bool) -> Tensor:
        """Take the next inputs and give the outputs that are now determined.

        Args:
            x: `[1, C, n]` (between the parts of a head `[1, n, C]`), `n` may be 0.
            last: nothing follows; all that is left comes out.

        Returns:
            `[1, C', m]`, `m` may be 0.
        """


def stream_of(module: SEANetEncoder | SEANetDecoder | ISTFTDecoder | VoicedDecoder) -> Stream:
    """A new stream through `module`, at the beginning of a signal."""
    if isinstance(module, Backbone):
        blocks = [_of_layer(block) for block in module.blocks]
        chain = [_ConvStream(module.embed), _Pointwise(module.enter), *blocks, _Pointwise(module.leave)]
        if isinstance(module, VoicedDecoder):
            return _Chain([*chain, VoicedHeadStream(module.head), SumStream(module.head.sum)])
        assert isinstance(module, ISTFTDecoder)
        return _Chain([*chain, _ISTFTStream(module.head), SumStream(module.head.sum)])
    return _Chain(_of_layer(layer) for layer in module.layers)


def _of_layer(layer: nn.Module) -> Stream:
    if isinstance(layer, Conv1d):
        return _ConvStream(layer)
    if isinstance(layer, ConvTranspose1d):
        return _TransposeStream(layer)
    if isinstance(layer, ResidualUnit):
        return _SkipStream(_Chain(_of_layer(part) for part in layer.block), _of_layer(layer.shortcut))
    if isinstance(layer, ConvNeXtBlock):
        return _SkipStream(
            _Chain([_ConvStream(layer.depthwise), _Pointwise(layer.pointwise)]), _Pointwise(nn.Identity())
        )
    if isinstance(layer, SkipLSTM):
        return _LSTMStream(layer)
    return _Pointwise(layer)


class _Pointwise(Stream):
    """What treats each step for itself needs no memory."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function

    def step(self, x: Tensor, last: bool) -> Tensor:
        return self._function(x)


class _Chain(Stream):
    def __init__(self, parts: Iterable[Stream]) -> None:
        self._parts = list(parts)

    def step(self, x: Tensor, last: bool) -> Tensor:
        for part in self._parts:
            x = part.step(x, last)
        return x


class _ConvStream(Stream):
    """Holds the inputs that a coming output still looks at: at first the zeros on the left."""

    def __init__(self, layer: Conv1d) -> None:
        conv = layer.conv
        self._layer = layer
        self._span = (conv.kernel_size[0] - 1) * conv.dilation[0] + 1
        self._held = conv.weight.new_zeros(1, conv.in_channels, layer.pad_left)

    def step(self, x: Tensor, last: bool) -> Tensor:
        stride = self._layer.stride
        held = torch.cat([self._held, x], -1)
        if last:
            held = F.pad(held, (0, self._layer.pad_right))
        count = max(0, (held.shape[-1] - self._span) // stride + 1)
        self._held = held[..., count * stride :]
        if count == 0:
            return x.new_empty(1, self._layer.conv.out_channels, 0)
        return self._layer.convolve(held[..., : (count - 1) * stride + self._span].contiguous())


class _Trim:
    """Drops the first steps of a signal, and at its end what goes beyond `stride` steps per input."""

    def __init__(self, left: int, stride: int) -> None:
        self._drop, self._left_over, self._stride = left, 0, stride

    def cut(self, y: Tensor, inputs: int) -> Tensor:
        dropped = min(self._drop, y.shape[-1])
        self._drop -= dropped
        y = y[..., dropped:]
        self._left_over += inputs * self._stride
        y = y[..., : self._left_over]
        self._left_over -= y.shape[-1]
        return y


class _TransposeStream(Stream):
    """Holds the last input, which reaches into the next block of outputs."""

    def __init__(self, layer: ConvTranspose1d) -> None:
        self._layer = layer
        self._held = layer.conv.weight.new_zeros(1, layer.conv.in_channels, 1)
        self._trim = _Trim(layer.trim_left, layer.stride)

    def step(self, x: Tensor, last: bool) -> Tensor:
        held = torch.cat([self._held, x], -1)
        if last:
            held = F.pad(held, (0, 1))
        self._held = held[..., -1:]
        if held.shape[-1] < 2:
            return x.new_empty(1, self._layer.conv.out_channels, 0)
        return self._trim.cut(self._layer.blocks(held), x.shape[-1])


class _SkipStream(Stream):
    """Body plus skip path; the skip path waits for the body."""

    def __init__(self, body: Stream, skip: Stream) -> None:
        self._body, self._skip = body, skip
        self._waiting: Tensor | None = None

    def step(self, x: Tensor, last: bool) -> Tensor:
        y, skipped = self._body.step(x, last), self._skip.step(x, last)
        waiting = skipped if self._waiting is None else torch.cat([self._waiting, skipped], -1)
        self._waiting = waiting[..., y.shape[-1] :]
        return waiting[..., : y.shape[-1]] + y


class _LSTMStream(Stream):
    """Carries the state of the recurrence."""

    def __init__(self, layer: SkipLSTM) -> None:
        self._lstm = layer.lstm
        self._state: tuple[Tensor, Tensor] | None = None

    def step(self, x: Tensor, last: bool) -> Tensor:
        if x.shape[-1] == 0:
            return x
        y, self._state = self._lstm(x.transpose(1, 2), self._state)
        out: Tensor = x + y.transpose(1, 2)
        return out


class _ISTFTStream(Stream):
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
        self._trim = _Trim(layer.trim_left, layer.hop_length)

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


class VoicedHeadStream(Stream):
    """Features `[1, T, D]` to windowed frames `[1, T, n_fft]`.

    Holds the phase of the voice, the frame before and the filters of frames whose source is not all there yet: a frame's
    source needs the pitch of the next one, and its spectrum looks beyond it.
    """

    def __init__(self, head: VoicedHead) -> None:
        self._head = head
        window = head.linear.weight
        self._before = torch.zeros(1, 2, dtype=torch.int64, device=window.device)  # frequency and voicing
        self._phase = torch.full((1,), ONSET, device=window.device)
        self._frequency = self._before[:, :0]  # of the one frame that waits for its successor's pitch
        self._voiced = self._frequency.bool()
        self._samples = window.new_zeros(1, head.sum.trim_left)  # of the source, as far as coming spectra look back
        self._filters: Filters | None = None  # of the frames that wait for their source
        self._row = 0  # of the first of them

    def step(self, x: Tensor, last: bool) -> Tensor:
        head = self._head
        self._take(x)
        self._sing(last)
        if last:
            self._samples = F.pad(self._samples, (0, head.n_fft - head.hop_length - head.sum.trim_left))
        ready = max(0, (self._samples.shape[1] - head.n_fft) // head.hop_length + 1)
        if ready == 0 or self._filters is None:
            return x.new_zeros(1, 0, head.n_fft)
        now = self._samples[:, : head.n_fft + (ready - 1) * head.hop_length]
        self._samples = self._samples[:, ready * head.hop_length :]
        rows = (self._row + torch.arange(ready, device=x.device))[None] % ROWS
        self._row = (self._row + ready) % ROWS
        filters = Filters(*(part[:, :ready] for part in self._filters))
        self._filters = Filters(*(part[:, ready:] for part in self._filters))
        return head.frames(filters, head.spectra_of_padded(now), rows)

    def _take(self, x: Tensor) -> None:
        """The filters and the pitch of the next features."""
        if x.shape[1] == 0:
            return
        filters, pitch = self._head.parameters_of(x)
        frequency, voiced = self._head.whole(pitch)
        self._frequency = torch.cat([self._frequency, frequency], 1)
        self._voiced = torch.cat([self._voiced, voiced], 1)
        filters = self._head.limited(filters, voiced)
        held = self._filters
        self._filters = filters if held is None else Filters(*(torch.cat(p, 1) for p in zip(held, filters)))

    def _sing(self, last: bool) -> None:
        """The source of all frames whose successor's pitch is known; at the end nothing succeeds the last one."""
        if last:
            self._frequency, self._voiced = F.pad(self._frequency, (0, 1)), F.pad(self._voiced, (0, 1))
        count = self._frequency.shape[1] - 1
        if count <= 0:
            return
        path = contour(self._before, self._frequency, self._voiced)
        borders = phases(path, self._phase, self._head.hop_length)
        self._samples = torch.cat([self._samples, self._head.sound(path, borders[:, :-1])], 1)
        self._phase = borders[:, -1]
        before = self._frequency[:, count - 1 : count], self._voiced[:, count - 1 : count].long()
        self._before = torch.cat(before, 1)
        self._frequency, self._voiced = self._frequency[:, count:], self._voiced[:, count:]
