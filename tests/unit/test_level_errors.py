"""Level errors in the training's log: gains that are known, tones that lie in one band, nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from audiocodec.losses.level import level_errors

RATE = 24_000


def tone(hertz: float, amplitude: float = 0.1) -> Tensor:
    return amplitude * torch.sin(2 * math.pi * hertz * torch.arange(RATE) / RATE + 0.3).repeat(2, 1, 1)


def errors(reference: Tensor, estimate: Tensor, rate: int = RATE) -> dict[str, float]:
    found = level_errors(reference=reference, estimate=estimate, sample_rate=rate)
    return {band: float(value) for band, value in found.items()}


def test_each_band_says_its_own_gain() -> None:
    """Six decibels are a factor of two in amplitude."""
    tones = {"0-1k": 300.0, "1-2k": 1500.0, "2-4k": 3000.0, "4-8k": 6000.0}
    wanted = sum(tone(hertz) for hertz in tones.values())
    for band, hertz in tones.items():
        found = errors(wanted, wanted + tone(hertz))
        assert found == pytest.approx({other: 20 * math.log10(2) * (other == band) for other in tones}, abs=0.01)
        assert errors(wanted, wanted - 0.5 * tone(hertz))[band] == pytest.approx(-20 * math.log10(2), abs=0.01)


def test_a_batch_is_one_signal() -> None:
    """Energies 1 and 9, of which the second is halved in amplitude: 10 log10((1 + 9 / 4) / 10)."""
    wanted = torch.cat([tone(300, 0.01)[:1], tone(300, 0.03)[:1]])
    found = errors(wanted, wanted * torch.tensor([1.0, 0.5]).view(2, 1, 1))
    assert found["0-1k"] == pytest.approx(10 * math.log10(3.25 / 10), abs=0.01)


def test_silence_and_bands_that_are_not_there() -> None:
    assert errors(torch.zeros(1, 1, RATE), torch.zeros(1, 1, RATE)) == dict.fromkeys(
        ("0-1k", "1-2k", "2-4k", "4-8k"), 0
    )
    assert set(errors(torch.zeros(1, 1, 800), torch.zeros(1, 1, 800), 8000)) == {"0-1k", "1-2k", "2-4k"}
    assert errors(torch.zeros(2, 1, RATE), tone(300))["0-1k"] == pytest.approx(10 * math.log10(0.005 / 1e-9), abs=0.01)
