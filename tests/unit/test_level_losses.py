"""The level of bands, as a loss and in the training's log: gains that are known, tones that lie in one band, nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from audiocodec.losses.level import band_levels, level_errors, level_loss

RATE = 24_000
TONES = {"0-1k": 300.0, "1-2k": 1500.0, "2-4k": 3000.0, "4-8k": 6000.0}
TWICE = 20 * math.log10(2)


def tone(hertz: float, amplitude: float = 0.1) -> Tensor:
    return amplitude * torch.sin(2 * math.pi * hertz * torch.arange(RATE) / RATE + 0.3).repeat(2, 1, 1)


def levels(*wavs: Tensor) -> dict[str, Tensor]:
    return dict(zip(("wanted", "found"), (band_levels(wav, RATE) for wav in wavs), strict=True))


def test_levels_are_decibels_full_scale() -> None:
    """A sine of amplitude 0.1 has a mean square of 0.005, 23.0 dB below full scale; the window takes nothing away."""
    found = band_levels(torch.cat([tone(1500), tone(1500, 0.05)])[1:3], RATE)
    expected = torch.full((2, 4), -70.0)
    expected[:, 1] = torch.tensor([10 * math.log10(0.005), 10 * math.log10(0.00125)])
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("band", TONES)
def test_each_band_says_its_own_gain(band: str) -> None:
    wanted = torch.stack([tone(hertz) for hertz in TONES.values()]).sum(0)
    for estimate, gain in ((wanted + tone(TONES[band]), TWICE), (wanted - 0.5 * tone(TONES[band]), -TWICE)):
        both = levels(wanted, estimate)
        found = {name: float(error) for name, error in level_errors(**both).items()}
        assert found == pytest.approx({other: gain * (other == band) for other in TONES}, abs=0.01)
        assert float(level_loss(**both)) == pytest.approx((TWICE - 0.5) / 4 / 10, abs=1e-3)  # one band of four, in bels


def test_items_that_are_too_loud_do_not_make_up_for_others() -> None:
    wanted = tone(300)
    both = levels(wanted, wanted * torch.tensor([2.0, 0.5]).view(2, 1, 1))
    assert float(level_errors(**both)["0-1k"]) == pytest.approx(0, abs=1e-3)
    assert float(level_loss(**both)) == pytest.approx((TWICE - 0.5) / 4 / 10, abs=1e-3)


def test_below_a_decibel_it_is_a_square() -> None:
    wanted = tone(300)
    assert float(level_loss(**levels(wanted, wanted * 10 ** (0.4 / 20)))) == pytest.approx(
        0.4**2 / 2 / 4 / 10, rel=1e-3
    )


def test_the_loss_moves_levels_and_nothing_else() -> None:
    """Its gradient is along the signal of the band: a gain; 1 bel is a factor of 10 ** (1 / 2) in amplitude."""
    wanted, estimate = tone(300), (0.5 * tone(300)).requires_grad_()
    level_loss(**levels(wanted, estimate)).backward()
    assert estimate.grad is not None
    whole = torch.fft.rfft(estimate.grad[0, 0])
    assert float(whole[290:311].abs().square().sum() / whole.abs().square().sum()) > 0.999
    per_gain = float((estimate.grad * estimate.detach()).sum())  # d loss / d ln(gain), one band of four
    assert per_gain == pytest.approx(-2 / math.log(10) / 4, rel=1e-3)


def test_silence_has_no_level_to_miss() -> None:
    nothing = torch.zeros(2, 1, RATE, requires_grad=True)
    assert float(level_loss(**levels(nothing.detach(), nothing.detach()))) == 0
    both = levels(nothing.detach(), 1e-5 * tone(3000))
    assert float(level_loss(**both)) < 1e-6
    level_loss(**levels(tone(300), nothing)).backward()
    assert nothing.grad is not None and bool(torch.isfinite(nothing.grad).all())


def test_bands_above_half_the_sample_rate_are_left_out() -> None:
    low = band_levels(torch.randn(3, 1, 800), 8000), band_levels(torch.randn(3, 1, 800), 8000)
    assert set(level_errors(wanted=low[0], found=low[1])) == {"0-1k", "1-2k", "2-4k"}
    none = band_levels(torch.randn(3, 1, 800), 1500)
    assert (
        none.shape == (3, 0)
        and float(level_loss(wanted=none, found=none)) == 0
        and not level_errors(wanted=none, found=none)
    )
