"""Losses of a predicted pitch, by hand: nothing voiced, all voiced, pitch beyond its range; and their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from audiocodec.losses.pitch import pitch_losses
from audiocodec.nn.pitch import BASE_HZ, HIGHEST_HZ, LOWEST_HZ, Pitch, of_hertz


def said(log_f0: list[float], voicing: list[float]) -> Pitch:
    return Pitch(torch.tensor([log_f0], requires_grad=True), torch.tensor([voicing], requires_grad=True))


def losses(reference: Pitch, estimate: Pitch) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in pitch_losses(reference=reference, estimate=estimate).items()}


def test_only_voiced_frames_have_a_pitch_to_miss() -> None:
    true = of_hertz(torch.tensor([[BASE_HZ, 2 * BASE_HZ, 0.0, BASE_HZ]]))
    found = losses(true, said([0.1, math.log(2) - 0.3, 5.0, 0.0], [2.0, -1.0, 0.5, 0.0]))
    assert found["pitch"] == pytest.approx((0.1 + 0.3) / 4, rel=1e-5)
    entropy = [math.log1p(math.exp(-2.0)), math.log1p(math.exp(1.0)), math.log1p(math.exp(0.5)), math.log(2)]
    assert found["voicing"] == pytest.approx(sum(entropy) / 4, rel=1e-5)


@pytest.mark.parametrize("hertz", [0.0, 200.0])
def test_nothing_voiced_and_all_voiced_are_finite_with_finite_gradients(hertz: float) -> None:
    estimate = said([0.3] * 5, [0.0] * 5)
    both = pitch_losses(reference=of_hertz(torch.full((1, 5), hertz)), estimate=estimate)
    sum(both.values(), torch.zeros(())).backward()
    gradient: Tensor | None = estimate.log_f0.grad
    assert gradient is not None and torch.isfinite(gradient).all()
    assert bool(gradient.any()) == (hertz > 0)
    assert float(both["pitch"].detach()) == pytest.approx(
        abs(0.3 - math.log(200 / BASE_HZ)) if hertz else 0.0, rel=1e-5
    )


def test_pitch_beyond_the_range_is_taken_to_its_end() -> None:
    low, high = (float(of_hertz(torch.tensor([[hertz]])).log_f0) for hertz in (20.0, 2000.0))
    assert low == pytest.approx(math.log(LOWEST_HZ / BASE_HZ)) and high == pytest.approx(math.log(HIGHEST_HZ / BASE_HZ))


def test_a_batch_has_the_mean_gradient_of_its_parts() -> None:
    """Whatever share of each part is voiced: gradient accumulation is the large batch."""
    hertz = torch.tensor([[100.0, 0.0, 0.0, 0.0], [100.0, 120.0, 140.0, 0.0]])
    weight = torch.zeros((), requires_grad=True)

    def total(rows: slice) -> Tensor:
        part = of_hertz(hertz[rows])
        estimate = Pitch(weight * torch.arange(4.0).expand(len(part.log_f0), -1), weight.expand_as(part.voicing))
        return sum(pitch_losses(reference=part, estimate=estimate).values(), torch.zeros(()))

    (whole,) = torch.autograd.grad(total(slice(0, 2)), weight)
    halves = [torch.autograd.grad(total(slice(i, i + 1)), weight)[0] for i in (0, 1)]
    assert float(whole) == pytest.approx(float(sum(halves)) / 2, rel=1e-5) and float(whole) != 0
