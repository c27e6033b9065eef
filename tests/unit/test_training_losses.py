"""The two halves of a step on stub discriminators: signs, sides, weights; by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from audiocodec.codec.torch import CodecOutput
from audiocodec.config.schema import Config, DataConfig, LossConfig
from audiocodec.losses.adversarial import adversarial_loss, feature_matching_loss
from audiocodec.losses.loudness import LoudnessLoss
from audiocodec.nn.discriminator import MultiPeriodDiscriminator, MultiScaleSTFTDiscriminator, PeriodDiscriminator
from audiocodec.quantization.base import QuantizerOutput
from audiocodec.training.losses import DiscriminatorBundle, Steps

ONLY_ADVERSARIAL = {"mel": 0.0, "stft": 0.0, "feature_matching": 0.0, "adversarial": 3.0}


class Taste(nn.Module):
    """Scores a waveform by its samples times one weight; the feature is the waveform."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, wav: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        return [(self.weight * wav, [wav])]


def steps(**loss: float | bool) -> Steps:
    return Steps(Config(loss=LossConfig(**loss), data=DataConfig(segment_seconds=0.1)), torch.device("cpu"))


def codec_output(estimate: Tensor, codebook: Tensor, commitment: Tensor) -> CodecOutput:
    latents = torch.zeros(1, 2, 3)
    quantized = QuantizerOutput(latents, torch.zeros(1, 1, 3).long(), codebook, commitment, torch.zeros(1), ())
    return CodecOutput(estimate, latents, quantized)


def test_discriminators_learn_that_real_is_high_and_fake_is_low() -> None:
    taste = Taste()
    wav, estimate = torch.full((2, 1, 5), 0.5), torch.full((2, 1, 5), 0.25, requires_grad=True)
    bundle = DiscriminatorBundle(nn.ModuleDict({"a": taste}))
    losses = steps().discriminator(bundle, bundle(wav, estimate), Tensor.backward)
    assert losses["discriminator"].item() == pytest.approx(0.5 + 1.25)  # 1 - 0.5, 1 + 0.25; swapped 0.75 + 1.5
    assert taste.weight.grad is not None and taste.weight.grad.item() == pytest.approx(-0.5 + 0.25)
    assert estimate.grad is None
    assert losses["discriminator/pair_accuracy"].item() == 1


def test_the_codec_learns_to_raise_the_score_of_what_it_makes() -> None:
    estimate, zero = torch.full((2, 1, 5), 0.25, requires_grad=True), torch.zeros(())
    output = codec_output(estimate, zero, zero)
    bundle, wav = DiscriminatorBundle(nn.ModuleDict({"a": Taste()})), torch.zeros(2, 1, 5)
    losses = steps(**ONLY_ADVERSARIAL).generator(output, bundle(wav, estimate), wav, Tensor.backward)
    assert losses["adversarial"].item() == pytest.approx(0.75)
    assert losses["total"].item() == pytest.approx(3 * 0.75)
    torch.testing.assert_close(estimate.grad, torch.full((2, 1, 5), -3 / 10))  # down the gradient: up the score


def test_feature_matching_draws_the_estimate_to_the_real_waveform() -> None:
    estimate, zero = torch.full((1, 1, 4), 0.25, requires_grad=True), torch.zeros(())
    weights = {**ONLY_ADVERSARIAL, "adversarial": 0.0, "feature_matching": 2.0}
    bundle, wav = DiscriminatorBundle(nn.ModuleDict({"a": Taste()})), torch.full((1, 1, 4), 0.5)
    output = codec_output(estimate, zero, zero)
    losses = steps(**weights).generator(output, bundle(wav, estimate), wav, Tensor.backward)
    assert losses["feature_matching"].item() == pytest.approx(0.25 / 0.5)
    torch.testing.assert_close(estimate.grad, torch.full((1, 1, 4), 2 * -1 / 4 / 0.5))


@pytest.mark.parametrize("balancer", [False, True])
def test_one_judgement_serves_both_halves(balancer: bool) -> None:
    """The gradients are those of two judgements of their own; the codec's half adds nothing to the discriminators."""
    torch.manual_seed(1)
    bundle = DiscriminatorBundle(nn.ModuleDict({"a": MultiPeriodDiscriminator((2, 3), 1)}))
    wav, zero = torch.randn(2, 1, 50), torch.zeros(())
    weights = {"mel": 0.0, "stft": 0.0, "waveform": 1.0, "balancer": balancer}

    def gradients(together: bool) -> list[Tensor]:
        bundle.zero_grad()
        estimate = (0.5 * wav + 0.1).requires_grad_()
        made, output = steps(**weights), codec_output(estimate, zero, zero)
        pairs = bundle(wav, estimate)
        made.discriminator(bundle, pairs, Tensor.backward)
        of_discriminators = [p.grad.clone() for p in bundle.parameters() if p.grad is not None]
        if together:
            made.generator(output, pairs, wav, Tensor.backward)
            assert all(torch.equal(p.grad, g) for p, g in zip(bundle.parameters(), of_discriminators, strict=True))
        else:
            bundle.requires_grad_(False)
            made.generator(output, bundle(wav, estimate), wav, Tensor.backward)
            bundle.requires_grad_(True)
        assert estimate.grad is not None
        return [*of_discriminators, estimate.grad]

    together, apart = gradients(True), gradients(False)
    assert sum(float(g.abs().max()) > 0 for g in together) > 0.8 * len(together)  # a score's bias has none: 1 - 1
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("balancer", [False, True])
def test_codebook_and_commitment_losses_keep_their_weights(balancer: bool) -> None:
    estimate = torch.full((1, 1, 4), 0.25, requires_grad=True)
    codebook, commitment = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    made = steps(mel=0.0, stft=0.0, waveform=5.0, codebook=0.5, commitment=0.125, balancer=balancer)
    output = codec_output(estimate, codebook, commitment)
    losses = made.generator(output, (), torch.zeros(1, 1, 4), Tensor.backward)
    assert codebook.grad is not None and codebook.grad.item() == pytest.approx(0.5)
    assert commitment.grad is not None and commitment.grad.item() == pytest.approx(0.125)
    assert losses["codebook"].item() == 2 and losses["commitment"].item() == 3
    # plain: weight / samples each; balanced: one loss has all of a gradient of norm 20
    torch.testing.assert_close(estimate.grad, torch.full((1, 1, 4), 10.0 if balancer else 5 / 4))


def test_adversarial_losses_have_the_stated_share_of_the_gradient() -> None:
    """Gradients by themselves, each brought to a norm of one item's mean, add up to what the codec gets."""
    torch.manual_seed(2)
    weights = {"mel": 2.0, "loudness": 1.0, "stft": 0.3, "adversarial": 1.5, "feature_matching": 1.5}
    made, bundle = (
        steps(**weights, balancer=True),
        nn.ModuleDict({"a": MultiScaleSTFTDiscriminator((256,), 4, gain=16)}),
    )
    wav = 0.06 * torch.randn(3, 1, 4800)
    estimate, zero = (0.7 * wav + 0.02 * torch.randn_like(wav)).requires_grad_(), torch.zeros(())
    pairs = DiscriminatorBundle(bundle)(wav, estimate)
    losses = made.spectral(reference=wav, estimate=estimate)
    losses["loudness"] = LoudnessLoss(24_000, -24.0)(reference=wav, estimate=estimate)
    losses |= {"adversarial": adversarial_loss(pairs[0][1]), "feature_matching": feature_matching_loss(*pairs[0])}
    parts = {}
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, [estimate], retain_graph=True)
        parts[name] = weights[name] / 6.3 * 20 * gradient / (3 * gradient.flatten(1).norm(dim=1).mean())
    values = made.generator(codec_output(estimate, zero, zero), pairs, wav, Tensor.backward)
    torch.testing.assert_close(estimate.grad, sum(parts.values()))
    assert float(parts["adversarial"].flatten(1).norm(dim=1).mean()) == pytest.approx(20 / 3 * 1.5 / 6.3)
    assert {name: float(values[f"share/{name}"]) for name in weights} == pytest.approx(
        {name: weight / 6.3 for name, weight in weights.items()}
    )


def test_a_period_discriminator_folds_the_waveform_into_columns_of_one_phase() -> None:
    judge, wav = PeriodDiscriminator(3, 2), torch.arange(100.0).view(1, 1, 100)
    seen: list[Tensor] = []
    judge.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    scores, features = judge(wav.repeat(2, 1, 1))
    assert seen[0].shape == (2, 1, 34, 3)  # 100 samples and two zeros
    assert seen[0][0, 0, :4].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert seen[0][1, 0, -1].tolist() == [99, 0, 0]
    # strides of 3: ceil(34 / 3) = 12, 4, 2, 1; widths c, 4c, 16c, 32c, 32c
    shapes = [(2, 2, 12, 3), (2, 8, 4, 3), (2, 32, 2, 3), (2, 64, 1, 3), (2, 64, 1, 3)]
    assert [tuple(feature.shape) for feature in features] == shapes
    assert scores.shape == (2, 1, 1, 3)


def test_every_period_judges() -> None:
    judgement = MultiPeriodDiscriminator((2, 5), 2)(torch.randn(3, 1, 400))
    assert [tuple(scores.shape) for scores, _ in judgement] == [
        (3, 1, 3, 2),
        (3, 1, 1, 5),
    ]  # 200, 67, 23, 8, 3; 80 .. 1
    assert [len(features) for _, features in judgement] == [5, 5]


def test_discriminators_hear_the_same_part_of_both() -> None:
    class Listening(nn.Module):
        def forward(self, wav: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
            heard.append(wav)
            return [(wav, [])]

    heard: list[Tensor] = []
    bundle = DiscriminatorBundle(nn.ModuleDict({"a": Listening()}), 30)
    wav = torch.arange(100.0).expand(2, 1, -1)
    for _ in range(40):
        bundle(wav, wav + 1000)
    firsts = {int(part[0, 0, 0]) for part in heard[::2]}
    assert all(part.shape == (2, 1, 30) for part in heard)
    assert all(torch.equal(real + 1000, fake) for real, fake in zip(heard[::2], heard[1::2], strict=True))
    assert len(firsts) > 15 and max(firsts) <= 70
    heard.clear()
    DiscriminatorBundle(nn.ModuleDict({"a": Listening()}))(wav, wav)
    assert heard[0].shape == (2, 1, 100)
