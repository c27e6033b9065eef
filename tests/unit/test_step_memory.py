"""Tensors alive at once, counted by hand."""

from __future__ import annotations

import torch

from audiocodec.training.monitor.step_memory import LiveTensors


def test_what_is_freed_no_longer_counts() -> None:
    with LiveTensors([]) as live:
        a = torch.zeros(1000)
        b = a.view(10, 100) + 1  # the view is no storage of its own
        assert live.bytes == 8000
        del a
        assert live.bytes == 4000
        b += 1
        b = b.half()
        assert live.bytes == 2000 and live.take_peak() == 8000  # not 10000: the first was gone
        assert live.take_peak() == 2000
    del b


def test_what_was_there_before_does_not_count() -> None:
    weight = torch.ones(50, requires_grad=True)
    weight.grad = torch.zeros(50)
    with LiveTensors([weight, weight.grad]) as live:
        (weight[:25].detach() * 1).sum()
        assert live.bytes == 0
        (weight * weight).sum().backward()
        assert live.bytes == 0 and live.take_peak() >= 4 * (50 + 1)
    assert weight.grad.tolist() == [2.0] * 50


def test_what_is_held_without_gradient_and_by_the_backward_pass_counts() -> None:
    x = torch.ones(100, requires_grad=True)
    with LiveTensors([x]) as live:
        with torch.no_grad():
            held = x * 2  # what autograd keeps nothing of
        y = x.exp()  # kept by autograd
        assert live.bytes == 800
        y.sum().backward()
        assert live.take_peak() >= 1200  # the gradient of x beside both
    assert held is not None
