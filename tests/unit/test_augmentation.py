"""What augmentation does to segments, measured from outside: levels, bands, correlations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from audiocodec.config.schema import AugmentConfig
from audiocodec.training.batches.augmentation import Augmentation

RATE = 24_000
KINDS = ("talker", "room", "noise", "telephone", "clipping", "gap")


def segments(count: int = 16) -> Tensor:
    """Noise at speech level, `[count, 1, 24000]`."""
    return 0.06 * torch.randn(count, 1, RATE, generator=torch.Generator().manual_seed(3))


def augmented(wav: Tensor, seed: int = 0, **shares: float) -> Tensor:
    """Of shares by name."""
    torch.manual_seed(seed)
    return Augmentation(AugmentConfig(**shares), RATE)(wav)


def level_db(wav: Tensor) -> np.ndarray:
    """RMS of each segment in dB."""
    return 20 * np.log10(np.sqrt((wav[:, 0].double().numpy() ** 2).mean(1)))


def test_without_shares_nothing_is_drawn_or_changed() -> None:
    wav = segments()
    torch.manual_seed(5)
    expected = torch.random.get_rng_state()
    assert augmented(wav, seed=5) is wav
    assert torch.equal(torch.random.get_rng_state(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_share_of_the_segments_is_changed(kind: str) -> None:
    wav = segments(200)
    changed = [not torch.equal(a, b) for a, b in zip(augmented(wav, **{kind: 0.3}), wav)]
    assert 0.2 < np.mean(changed) < 0.4  # 0.3 +- 3 deviations of 200 draws


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(kind: str) -> None:
    wav = segments()
    first, again, other = (augmented(wav, seed, **{kind: 1.0}) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_noise_and_second_voice_lie_where_they_should_below_the_first() -> None:
    wav = segments()
    for kind, low, high in (("talker", 0.0, 15.0), ("noise", 5.0, 35.0)):
        added = level_db(wav) - level_db(augmented(wav, **{kind: 1.0}) - wav)
        assert low - 0.1 < added.min() < added.max() < high + 0.1
        assert added.max() - added.min() > (high - low) / 3  # of 16 uniform draws


@pytest.mark.parametrize("seconds", [1, 10])
def test_noise_can_be_heard_however_long_it_is(seconds: int) -> None:
    """Brown noise has half of its power above the 50 Hz from which it falls, every other more; 0.05 is for chance."""
    wav = 0.06 * torch.randn(16, 1, RATE * seconds, generator=torch.Generator().manual_seed(3))
    power = np.abs(np.fft.rfft((augmented(wav, noise=1.0) - wav)[:, 0].double().numpy())) ** 2
    assert (power[:, 50 * seconds :].sum(1) / power.sum(1)).min() > 0.45


def test_the_second_voice_is_another_segment_and_one_alone_gets_none() -> None:
    wav = segments(4)
    added = (augmented(wav, talker=1.0) - wav)[:, 0].numpy()
    for i in range(4):
        assert np.corrcoef(added[i], wav[i - 1, 0].numpy())[0, 1] == pytest.approx(1, abs=1e-4)
    assert torch.equal(augmented(wav[:1], talker=1.0), wav[:1])


def test_a_room_answers_after_a_click_and_fades() -> None:
    wav = torch.zeros(8, 1, RATE)
    wav[:, 0, 2400] = 0.5
    heard = augmented(wav, room=1.0)[:, 0].double().numpy()
    assert np.abs(heard[:, :2400]).max() < 1e-4  # nothing before the click
    direct = heard[:, 2400] ** 2
    tail = (heard[:, 2401:] ** 2).sum(1)
    ratio = 10 * np.log10(direct / tail)
    assert -0.1 < ratio.min() < ratio.max() < 15.1
    early, late = (heard[:, 2401:4801] ** 2).sum(1), (heard[:, 12000:14400] ** 2).sum(1)
    assert (late < early / 3).all()


def test_a_telephone_has_nothing_above_4_khz_and_sometimes_no_lows() -> None:
    wav = segments(40)
    power = np.abs(np.fft.rfft(augmented(wav, telephone=1.0)[:, 0].double().numpy())) ** 2  # bins of 1 Hz
    original = np.abs(np.fft.rfft(wav[:, 0].double().numpy())) ** 2
    assert power[:, 4001:].sum() < 1e-6 * original[:, 4001:].sum()
    np.testing.assert_allclose(power[:, 300:3400], original[:, 300:3400], rtol=1e-2, atol=1e-4)
    lows = power[:, 1:199].sum(1) / original[:, 1:199].sum(1)
    assert set(np.round(lows, 3)) == {0.0, 1.0}


def test_clipping_cuts_the_share_of_samples_it_should() -> None:
    wav = segments()
    clipped = augmented(wav, clipping=1.0)
    limit = clipped.abs().amax((1, 2))
    share = (wav.abs()[:, 0] > limit[:, None]).double().mean(1)
    assert 0.0009 < share.min() < share.max() < 0.0501
    inside = wav.abs() <= limit[:, None, None]
    assert torch.equal(clipped[inside], wav[inside])


def test_a_short_clip_is_not_clipped_to_nothing() -> None:
    wav = segments(64)
    wav[..., 1000:] = 0
    assert augmented(wav, clipping=1.0).abs().amax((1, 2)).min() > 0


def test_a_gap_is_one_stretch_of_zeros() -> None:
    wav = segments()
    for heard, original in zip(augmented(wav, gap=1.0)[:, 0], wav[:, 0]):
        zero = torch.nonzero(heard == 0).flatten()
        assert 0.09 < len(zero) / RATE < 0.61
        assert int(zero[-1] - zero[0]) + 1 == len(zero)
        kept = heard != 0
        assert torch.equal(heard[kept], original[kept])


def test_the_peak_stays_within_full_scale() -> None:
    loud = torch.sin(torch.arange(RATE) * 0.1).repeat(8, 1, 1)
    assert augmented(loud, talker=1.0).abs().max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_silence_stays_finite(kind: str) -> None:
    heard = augmented(torch.zeros(3, 1, RATE), **{kind: 1.0})
    assert heard.isfinite().all()
    assert math.isclose(float(heard.abs().max()), 0.0, abs_tol=1e-7)
