"""Losses: numbers by hand, scipy's STFT, shares of the gradient."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.signal
import torch

from audiocodec.losses.adversarial import adversarial_loss, discriminator_loss, feature_matching_loss, pair_accuracy
from audiocodec.losses.balancer import Balancer
from audiocodec.losses.spectral import SpectralLoss
from audiocodec.nn.discriminator import MultiScaleSTFTDiscriminator, STFTDiscriminator

REAL = [(torch.tensor([2.0, 0.5]), [torch.tensor([1.0, -3.0])]), (torch.tensor([-1.0]), [torch.tensor([4.0])])]
FAKE = [(torch.tensor([-2.0, 0.0]), [torch.tensor([2.0, -3.0])]), (torch.tensor([3.0]), [torch.tensor([3.0])])]


def test_hinge_losses_by_hand() -> None:
    # scale 1: real (0 + 0.5) / 2, fake (0 + 1) / 2; scale 2: real 2, fake 4; mean of 0.75 and 6
    assert discriminator_loss(REAL, FAKE).item() == pytest.approx(3.375)
    # scale 1: (3 + 1) / 2; scale 2: 0
    assert adversarial_loss(FAKE).item() == pytest.approx(1.0)


def test_feature_matching_by_hand() -> None:
    # scale 1: mean |1, 0| = 0.5 over mean |1, 3| = 2; scale 2: 1 over 4
    assert feature_matching_loss(REAL, FAKE).item() == pytest.approx(0.25)


def test_pair_accuracy_by_hand() -> None:
    real = [(torch.tensor([[1.0, 2.0], [0.0, 0.0], [5.0, 5.0]]), []), (torch.tensor([[0.0], [1.0], [0.0]]), [])]
    fake = [(torch.tensor([[0.0, 0.0], [1.0, 3.0], [9.0, 0.0]]), []), (torch.tensor([[1.0], [0.0], [0.0]]), [])]
    # means by scale, 1.5 - 0 + 0 - 1 = 0.5; 0 - 2 + 1 - 0 = -1; 5 - 4.5 + 0 - 0 = 0.5
    assert pair_accuracy(real, fake).item() == pytest.approx(2 / 3)
    assert pair_accuracy(fake, real).item() == pytest.approx(1 / 3)
    assert pair_accuracy(real, real).item() == 0


def test_feature_matching_leaves_the_real_side_without_gradient() -> None:
    real, fake = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    feature_matching_loss([(real, [real])], [(fake, [fake])]).backward()
    assert real.grad is None
    assert fake.grad is not None


def test_spectral_losses_are_zero_for_equals_and_grow_with_noise() -> None:
    loss = SpectralLoss(16_000, (256, 512), (20, 40), (512,), mel_floor=1e-5, stft_floor=1e-5)
    generator = torch.Generator().manual_seed(1)
    wav, noise = (0.1 * torch.randn(2, 1, 4000, generator=generator) for _ in range(2))
    values = [loss(reference=wav, estimate=wav + scale * noise) for scale in (0.0, 0.01, 0.1, 1.0)]
    for name in ("mel", "stft"):
        numbers = [value[name].item() for value in values]
        assert numbers[0] == 0
        assert 0 < numbers[1] < numbers[2] < numbers[3]


def test_twice_the_amplitude_is_a_mel_distance_of_log10_two() -> None:
    wav = 0.1 * torch.randn(1, 1, 4000, generator=torch.Generator().manual_seed(1))
    values = SpectralLoss(16_000, (512,), (20,), (), mel_floor=1e-5, stft_floor=1e-5)(reference=wav, estimate=2 * wav)
    assert set(values) == {"mel"}
    assert values["mel"].item() == pytest.approx(np.log10(2), rel=0.01)  # but for the floor


def test_the_discriminator_sees_scipys_short_time_fourier_transform() -> None:
    judge, wav = STFTDiscriminator(64, 4), torch.randn(1, 1, 400, generator=torch.Generator().manual_seed(1))
    seen: list[torch.Tensor] = []
    judge.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    judge(wav)
    window = scipy.signal.get_window("hann", 64, fftbins=True)
    frames = np.lib.stride_tricks.sliding_window_view(wav[0, 0].double().numpy(), 64)[::16] * window
    expected = np.fft.rfft(frames) / np.sqrt((window**2).sum())
    np.testing.assert_allclose(seen[0][0, 0], expected.real, atol=1e-5)
    np.testing.assert_allclose(seen[0][0, 1], expected.imag, atol=1e-5)


def test_every_scale_judges() -> None:
    judgement = MultiScaleSTFTDiscriminator((64, 128), 4)(torch.randn(2, 1, 500))
    assert [len(features) for _, features in judgement] == [5, 5]
    assert [scores.shape[:3] for scores, _ in judgement] == [(2, 1, 28), (2, 1, 12)]  # 1 + (500 - n) // (n / 4)


def test_the_balancer_gives_each_loss_its_share_of_the_gradient() -> None:
    estimate = torch.zeros(1, 1, 2, requires_grad=True)
    losses = {"a": 1000 * estimate[0, 0, 0], "b": 0.001 * estimate[0, 0, 1], "off": estimate.sum()}
    balancer = Balancer({"a": 3.0, "b": 1.0, "off": 0.0})
    first, shares = balancer.gradient(losses, estimate)
    torch.testing.assert_close(first, 20 * torch.tensor([[[0.75, 0.25]]]))
    assert {name: float(share) for name, share in shares.items()} == pytest.approx({"a": 0.75, "b": 0.25})
    quarter = {"a": 250 * estimate[0, 0, 0], "b": 0.001 * estimate[0, 0, 1]}
    second, shares = balancer.gradient(quarter, estimate)  # the norm is a running mean of 1000 and 250 by 0.99 and 1
    expected = 0.75 * 250 / ((0.99 * 1000 + 250) / 1.99)
    assert second[0, 0, 0].item() == pytest.approx(20 * expected, rel=1e-5)
    assert float(shares["a"]) == pytest.approx(expected / (expected + 0.25), rel=1e-5)


def test_balanced_batches_are_means_of_their_items() -> None:
    """As the losses that are not balanced are: a batch weighs no more beside them than an item."""
    generator = torch.Generator().manual_seed(1)
    wavs = torch.randn(4, 1, 6, generator=generator)
    wavs = (wavs / wavs.norm(dim=2, keepdim=True)).requires_grad_()  # of equal gradients
    for batch in (wavs, wavs[:2], wavs[2:], wavs[:1]):
        gradient, _ = Balancer({"a": 1.0}).gradient({"a": batch.square().sum((1, 2)).mean()}, batch)
        torch.testing.assert_close(gradient, 20 * batch.detach() / len(batch))


def test_a_balancer_goes_on_from_its_numbers() -> None:
    estimate, whole, saved = torch.ones(1, 1, 2, requires_grad=True), Balancer({"a": 1.0}), Balancer({"a": 1.0})
    whole.gradient({"a": estimate.square().sum()}, estimate)
    saved.state = json.loads(json.dumps(whole.state))
    for each in (whole, saved):
        each.gradient({"a": 3 * estimate.square().sum()}, estimate)
    assert whole.state == saved.state == {"a": pytest.approx([0.99 * 8**0.5 + 3 * 8**0.5, 1.99])}
