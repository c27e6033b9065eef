"""A convolution whose bfloat16 kernel is wrong on a machine is computed in float32; the others are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.nn.conv import Conv1d
from audiocodec.training.precision import distrust_wrong_kernels

CPU = torch.device("cpu")


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(Conv1d(3, 6, 8, stride=4), Conv1d(6, 6, 3), Conv1d(6, 4, 4, stride=2))


def wrong_for_12_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right in float32, another result in bfloat16 for one kind of convolution: 4 steps of 3 channels at a time."""
    right = F.conv2d

    def conv2d(x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        y = right(x, weight, *rest)
        return y.flip(-1) if y.dtype == torch.bfloat16 and weight.shape[:2] == (6, 12) else y

    monkeypatch.setattr(F, "conv2d", conv2d)


def test_the_layer_is_found_and_computed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = layers(), torch.randn(2, 3, 64)
    expected = [F.conv1d(F.pad(x, (2, 2)), module[0].conv.weight, module[0].conv.bias, 4)]
    wrong_for_12_channels(monkeypatch)
    found = distrust_wrong_kernels(module, CPU)
    assert [name.split()[0] for name in found] == ["0"] and found[0].endswith("%)")
    with torch.autocast("cpu", torch.bfloat16):
        first = module[0](x)
        assert first.dtype == torch.float32 and torch.allclose(first, expected[0], atol=1e-6)
        assert module[1](first).dtype == torch.bfloat16
    first.sum().backward()
    assert module[0].conv.parametrizations.weight.original1.grad.abs().sum() > 0


def test_right_kernels_are_trusted_and_no_number_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    right = F.conv2d
    monkeypatch.setattr(F, "conv2d", lambda x, w, b, *rest: right(x.float(), w.float(), b.float(), *rest).to(x.dtype))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    module = layers()
    after = torch.get_rng_state()
    assert distrust_wrong_kernels(module, CPU) == [] and not any(layer.in_float32 for layer in module)
    assert torch.equal(after, torch.get_rng_state()) and not torch.equal(before, after)
