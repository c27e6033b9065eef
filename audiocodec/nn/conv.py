"""1-d convolutions that keep lengths in whole frames, causal or not, and the length arithmetic on them.

Padding is with zeros inside every layer, so that a layer's output depends on nothing but a bounded
neighbourhood: that is what lets long audio be coded in chunks with the same result (`Codec.encode_blocks`).
EnCodec's split of the padding is kept (the odd sample goes left; causal: all of it), so its weights line up.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from audiocodec.nn.streaming import Context, Contextual, Stream, Trim


class Conv1d(nn.Module):
    """Convolution whose output has `S // stride` steps for an input of `S` steps, `S` a multiple of `stride`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        causal: bool = False,
        norm: bool = True,
    ) -> None:
        """Build the layer.

        Args:
            in_channels: channels in.
            out_channels: channels out.
            kernel_size: taps; at least `stride`.
            stride: downsampling factor.
            dilation: distance between taps.
            groups: as in `torch.nn.Conv1d`.
            causal: look only at the past.
            norm: weight normalisation (folded for inference by `fold_weight_norm`).
        """
        super().__init__()
        conv = nn.Conv1d(in_channels, out_channels, kernel_size, stride=stride, dilation=dilation, groups=groups)
        self.conv = weight_norm(conv) if norm else conv
        total = (kernel_size - 1) * dilation + 1 - stride
        self.pad_right = 0 if causal else total // 2
        self.pad_left = total - self.pad_right
        self.stride = stride
        self.in_float32 = False  # whatever the autocast; set by `training.precision` where a kernel is wrong

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `x [B, C, S]` to `[B, C', S // stride]`."""
        padded = self.pad_left or self.pad_right  # torch would copy to pad with nothing
        return self.convolve(pad(x, self.pad_left, self.pad_right) if padded else x)

    def convolve(self, padded: Tensor) -> Tensor:
        """Convolve what has its padding, or the neighbours in its place."""
        if self.in_float32:
            with torch.autocast(padded.device.type, enabled=False):
                return self._convolve(padded.float())
        return self._convolve(padded)

    def stream(self) -> ConvStream:
        """The layer as a stream."""
        return ConvStream(self)

    def context(self) -> Context:
        """What its taps reach beyond the steps that become one."""
        return Context(self.pad_left, self.pad_right, self.stride)

    def _convolve(self, padded: Tensor) -> Tensor:
        conv = self.conv
        return convolve(
            padded, conv.weight, conv.bias, stride=self.stride, dilation=conv.dilation[0], groups=conv.groups
        )


class ConvTranspose1d(nn.Module):
    """Transposed convolution with `kernel_size = 2 * stride`: exactly `stride` output steps per input step."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, causal: bool = False, norm: bool = True
    ) -> None:
        super().__init__()
        conv = nn.ConvTranspose1d(in_channels, out_channels, 2 * stride, stride=stride)
        self.conv = weight_norm(conv) if norm else conv
        self.stride = stride
        self.trim_right = stride if causal else stride // 2
        self.trim_left = stride - self.trim_right

    def forward(self, x: Tensor) -> Tensor:
        """Upsample `x [B, C, T]` to `[B, C', T * stride]`."""
        y = self.blocks(F.pad(x, (1, 1)))
        return y[..., self.trim_left : y.shape[-1] - self.trim_right]

    def stream(self) -> TransposeStream:
        """The layer as a stream."""
        return TransposeStream(self)

    def context(self) -> Context:
        """Its `2 * stride` taps reach as far as each side is trimmed."""
        return Context(self.trim_right, self.trim_left, self.stride)

    def blocks(self, x: Tensor) -> Tensor:
        """Of `x [B, C, T + 1]`, `[B, C', T * stride]`: the steps that both of two neighbours reach.

        Each is a sum of two taps, so this is a convolution of two taps with `C' * stride` channels, interleaved.
        """
        weight, bias, out = self.conv.weight, self.conv.bias, self.conv.out_channels
        earlier, later = weight[..., self.stride :], weight[..., : self.stride]  # [C, C', stride] each
        taps = torch.stack([earlier, later], -1).permute(1, 2, 0, 3).flatten(0, 1)
        y = convolve(x, taps.contiguous(), None if bias is None else bias.repeat_interleave(self.stride))
        steps: Tensor = y.unflatten(1, (out, self.stride)).transpose(2, 3).flatten(2)
        return steps


class ConvStream(Stream):
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


class TransposeStream(Stream):
    """Holds the last input, which reaches into the next block of outputs."""

    def __init__(self, layer: ConvTranspose1d) -> None:
        self._layer = layer
        self._held = layer.conv.weight.new_zeros(1, layer.conv.in_channels, 1)
        self._trim = Trim(layer.trim_left, layer.stride)

    def step(self, x: Tensor, last: bool) -> Tensor:
        held = torch.cat([self._held, x], -1)
        if last:
            held = F.pad(held, (0, 1))
        self._held = held[..., -1:]
        if held.shape[-1] < 2:
            return x.new_empty(1, self._layer.conv.out_channels, 0)
        return self._trim.cut(self._layer.blocks(held), x.shape[-1])


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> Tensor:
    """Convolve `x [B, C, S]`, without padding, with `weight [C', C / groups, k]` to `[B, C', S']`."""
    if _channels_last(x) and groups == 1:
        return _of_steps(channels_last(x), weight, bias, stride, dilation)
    return F.conv1d(x, weight, bias, stride, 0, dilation, groups)


def pad(x: Tensor, left: int, right: int) -> Tensor:
    """`x [B, C, S]` with zeros before and after; in training on a CPU with the channels of a step side by side in memory."""
    if not _channels_last(x):
        return F.pad(x, (left, right))
    return F.pad(channels_last(x).transpose(1, 2), (0, 0, left, right)).transpose(1, 2)


def channels_last(x: Tensor) -> Tensor:
    """`x [B, C, S]` with the channels of a step side by side in memory."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def _channels_last(x: Tensor) -> bool:
    """Whether it is training on a CPU, where convolutions of that layout need no copies: a third of their time."""
    return x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _of_steps(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, dilation: int) -> Tensor:
    """Convolve `x [B, C, S]`, channels last. With a stride, as many steps become one of so many channels, which costs nothing in
    this layout: strided kernels are slower, and oneDNN's for AMX are wrong for some shapes in bfloat16 (torch 2.13)."""
    taps = weight.shape[-1]
    if stride > 1 and dilation == 1 and taps % stride == x.shape[-1] % stride == 0:
        x = x.transpose(1, 2).unflatten(1, (-1, stride)).flatten(2).transpose(1, 2)
        weight, stride = weight.unflatten(2, (-1, stride)).permute(0, 3, 1, 2).flatten(1, 2), 1
    y: Tensor = F.conv2d(x.unsqueeze(2), weight.unsqueeze(2), bias, (1, stride), 0, (1, dilation)).squeeze(2)
    return y


def fold_weight_norm(module: nn.Module) -> None:
    """Replace every weight-normalised weight below `module` by its value, in place."""
    for layer in module.modules():
        if is_parametrized(layer, "weight"):
            remove_parametrizations(layer, "weight")


def downsampling_context(module: nn.Module) -> tuple[int, int]:
    """Input samples that the chain of layers below `module` looks at before and after its own span.

    Returns:
        (left, right) in samples at the rate of the input.
    """
    left = right = 0
    rate = 1
    for context in _contexts(module):
        left += context.left * rate
        right += context.right * rate
        rate *= context.stride
    return left, right


def upsampling_context(module: nn.Module) -> tuple[int, int]:
    """Output samples that the chain of layers below `module` reaches before and after an output sample.

    Output sample `p` depends on no input step outside `floor((p - left) / rate)` to `floor((p + right) / rate)`,
    `rate` being the product of the strides; some `p` reaches each end.

    Returns:
        (left, right) in samples at the rate of the output.
    """
    left = right = 0
    for context in _contexts(module):
        left = left * context.stride + context.left
        right = right * context.stride + context.right
    return left, right


def _contexts(module: nn.Module) -> Iterator[Context]:
    """Of the layers below `module`, in the order in which the signal meets them, which is that of their registration."""
    for layer in module.modules():
        if layer is not module and isinstance(layer, Contextual):
            yield layer.context()
