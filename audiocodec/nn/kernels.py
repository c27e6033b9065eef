"""Convolution and matrix product whose result at a position does not depend on how many positions there are.

torch picks a kernel by the size of the input, and two kernels round differently. For inference in float32 on a CPU the
choice is made here, always the same: oneDNN. Chunks, batches, streams and any number of threads then give the same bits
(tested, on the CPUs at hand; no library promises it). Elsewhere, and in training, torch chooses.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> Tensor:
    """Convolve `x [B, C, S]`, without padding, with `weight [C', C / groups, k]` to `[B, C', S']`."""
    if not _fixed(x):
        depthwise = weight.shape[1] == 1 and groups == len(weight) and stride == 1
        if depthwise and x.dtype == torch.float64 and x.device.type == "cpu" and not torch.is_grad_enabled():
            return _depthwise(x, weight, bias, dilation)
        if _channels_last(x) and groups == 1:
            return _of_steps(channels_last(x), weight, bias, stride, dilation)
        return F.conv1d(x, weight, bias, stride, 0, dilation, groups)
    y: Tensor = torch.ops.aten.mkldnn_convolution(
        x.unsqueeze(2), weight.unsqueeze(2), bias, [0, 0], [1, stride], [1, dilation], groups
    ).squeeze(2)
    return y


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


def _depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """One channel at a time, tap by tap: torch's float64 kernel takes twenty times as long for a few frames."""
    taps = weight.shape[-1]
    steps = x.shape[-1] - (taps - 1) * dilation
    y = x.new_zeros(len(x), len(weight), steps)
    if bias is not None:
        y += bias[:, None]
    for i in range(taps):
        y.addcmul_(x[..., i * dilation : i * dilation + steps], weight[:, :, i])
    return y


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map `x [B, T, D]` by `weight [D', D]` to `[B, T, D']`."""
    if not _fixed(x):
        return F.linear(x, weight, bias)
    rows = x.flatten(0, -2)
    if len(rows) == 1:  # one row would be a matrix-vector product, another kernel
        rows = F.pad(rows, (0, 0, 0, 1))
    y: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    mapped: Tensor = y[: x.shape[:-1].numel()].unflatten(0, x.shape[:-1])
    return mapped


def _fixed(x: Tensor) -> bool:
    """Whether `x` is for the one kernel: float32 on a CPU, nothing to learn or trace, and not empty."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() > 0
        and not torch.is_grad_enabled()
        and torch.backends.mkldnn.is_available()
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
    )
