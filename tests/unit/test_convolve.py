"""Convolutions in training on a CPU: torch's own numbers and gradients, in another layout and without strides."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from audiocodec.nn.conv import Conv1d, convolve, pad

# channels in, out, taps, stride, dilation, steps: those of the encoders, strides that divide the taps and that do not, odd lengths
SHAPES = [
    (1, 16, 7, 1, 1, 240),
    (16, 8, 3, 1, 2, 240),
    (16, 32, 8, 4, 1, 240),  # wrong in bfloat16 by oneDNN's own strided kernel for AMX (torch 2.13)
    (24, 48, 8, 4, 1, 240),
    (3, 5, 10, 5, 1, 36),
    (3, 5, 10, 5, 1, 37),
    (4, 6, 7, 3, 1, 30),
    (4, 6, 8, 2, 3, 30),
    (4, 6, 4, 2, 1, 4),
    (4, 6, 1, 1, 1, 1),
]


def results(
    shape: tuple[int, ...], dtype: torch.dtype, own: bool, autocast: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output, and gradients of input, weight and bias."""
    channels, out, taps, stride, dilation, steps = shape
    generator = torch.Generator().manual_seed(0)
    sizes = (2, channels, steps + (taps - 1) * dilation + 1 - stride), (out, channels, taps), (out,)
    x, weight, bias = (torch.randn(size, generator=generator).to(dtype).requires_grad_() for size in sizes)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        if own:
            y = convolve(x, weight, bias, stride=stride, dilation=dilation)
        else:
            y = F.conv1d(x, weight, bias, stride, 0, dilation)
    y.backward(torch.randn(y.shape, generator=generator).to(y.dtype))
    assert x.grad is not None and weight.grad is not None and bias.grad is not None
    return y.detach(), x.grad, weight.grad, bias.grad


@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_and_gradients_are_torchs(shape: tuple[int, ...]) -> None:
    for own, their in zip(results(shape, torch.float64, True), results(shape, torch.float64, False)):
        torch.testing.assert_close(own, their, rtol=1e-10, atol=1e-10)
    for own, their in zip(results(shape, torch.float32, True), results(shape, torch.float64, False)):
        assert float((own - their).norm() / their.norm()) < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_as_near_as_its_eight_bits(shape: tuple[int, ...]) -> None:
    found = results(shape, torch.float32, True, autocast=True)
    assert found[0].dtype == torch.bfloat16 and {t.dtype for t in found[1:]} == {torch.float32}
    for own, exact in zip(found, results(shape, torch.float64, False)):
        assert float((own - exact).norm() / exact.norm()) < 2**-7


def test_channels_lie_side_by_side_from_layer_to_layer_in_training_alone() -> None:
    layers = [Conv1d(1, 4, 7), Conv1d(4, 6, 3, dilation=2), Conv1d(6, 8, 4, stride=2), Conv1d(8, 8, 5, causal=True)]
    x = torch.randn(2, 1, 20)
    for layer in layers[:2]:
        x = layer(x)
    assert x.stride() == (20 * 6, 1, 6)
    assert F.leaky_relu(x).stride() == pad(x, 0, 0).stride() == x.stride()
    y = pad(x, 1, 2)
    assert y.stride() == (23 * 6, 1, 6) and torch.equal(y, F.pad(x, (1, 2)))
    for layer in layers[2:]:
        x = layer(x)
    assert x.stride() == (10 * 8, 1, 8)
    with torch.no_grad():
        assert pad(layers[0](torch.randn(2, 1, 20)), 1, 2).is_contiguous()


def test_training_and_inference_compute_the_same_layer() -> None:
    for layer in (Conv1d(4, 6, 8, stride=4), Conv1d(4, 6, 3, dilation=2, causal=True), Conv1d(6, 6, 7, groups=6)):
        x = torch.randn(3, layer.conv.in_channels, 40)
        with torch.no_grad():
            expected = layer(x)
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
