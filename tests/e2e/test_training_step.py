"""What one step does to gradients, weights and the log."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from support.training_run import config, stopping_at, trainer
from torch import Tensor

from audiocodec.data.dataset import Crop
from audiocodec.training.latents import initialize_quantizer
from audiocodec.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("fresh_process")
BOTH = "discriminator.kinds=[ms_stft,mpd] discriminator.mpd_periods=[2,3] discriminator.mpd_channels=2"
START = "train.warmup_autoencoder_steps=0 discriminator.start_step=0 train.lr_warmup_steps=0"


def ready(overrides: str, folder: Path, data: Path, kind: type[Trainer] = Trainer) -> Trainer:
    """A trainer about to take its first step."""
    run = trainer(config(overrides), folder, data, kind=kind)
    run.feeder = run._feeder()
    return run


def weights(module: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters() if p.requires_grad])


def gradient(module: torch.nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def norm(module: torch.nn.Module) -> float:
    return float(gradient(module).norm())


def test_discriminators_get_the_gradient_of_their_own_loss_alone(tmp_path: Path, data: Path) -> None:
    run = ready(f"{START} {BOTH}", tmp_path, data)
    run.quantizer_started = True  # as it will be in a step: the codec below quantizes, too
    wav, _ = run.feeder.next()
    bundle, codec = run.parts.raw_discriminators, copy.deepcopy(run.parts.raw_codec)  # a pass moves its statistics
    run._micro_step(wav, adversarial=True, train_discriminators=True)
    found = gradient(bundle)
    bundle.zero_grad()
    with torch.no_grad():
        estimate = codec(wav).estimate
    hinges = [
        torch.stack(
            [
                (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
                for (real, _), (fake, _) in zip(discriminator(wav), discriminator(estimate), strict=True)
            ]
        ).mean()
        for discriminator in bundle.discriminators.values()
    ]
    torch.stack(hinges).mean().backward()
    assert len(hinges) == 2
    assert float((found - gradient(bundle)).norm()) < 1e-3 * float(found.norm())
    assert all(p.requires_grad for p in bundle.parameters())
    assert norm(run.parts.raw_codec) > 0


def test_gradients_are_clipped_to_the_configured_norms(tmp_path: Path, data: Path) -> None:
    run = ready(f"{START} train.clip_norm=0.01 train.discriminator_clip_norm=0.001", tmp_path, data)
    run._micro_step(run.feeder.next()[0], adversarial=True, train_discriminators=True)
    before = norm(run.parts.raw_codec), norm(run.parts.raw_discriminators)
    assert before[0] > 0.02 and before[1] > 0.002
    norms = run.parts.clip(True)
    assert (float(norms["gradient/codec"]), float(norms["gradient/discriminators"])) == pytest.approx(before, rel=1e-4)
    assert norm(run.parts.raw_codec) == pytest.approx(0.01, rel=1e-3)
    assert norm(run.parts.raw_discriminators) == pytest.approx(0.001, rel=1e-2)


@pytest.mark.parametrize("interval", [1, 2])
def test_discriminators_move_every_interval_steps(interval: int, tmp_path: Path, data: Path) -> None:
    run = ready(f"{START} discriminator.interval={interval}", tmp_path, data)
    moved = []
    for _ in range(4):
        before = weights(run.parts.raw_discriminators)
        codec = weights(run.parts.raw_codec)
        values = run._train_step()
        moved.append(not torch.equal(before, weights(run.parts.raw_discriminators)))
        assert moved[-1] == ("loss/discriminator" in values) == ("gradient/discriminators" in values)
        assert "loss/adversarial" in values and not torch.equal(codec, weights(run.parts.raw_codec))
    assert moved == ([True] * 4 if interval == 1 else [True, False, True, False])


def test_discriminators_wait_for_their_first_step(tmp_path: Path, data: Path) -> None:
    run = ready(f"{START} discriminator.start_step=2", tmp_path, data)
    seen = [("loss/adversarial" in values, "loss/discriminator" in values) for values in map(_step, [run] * 3)]
    assert seen == [(False, False), (False, False), (True, True)]


def test_discriminators_learn_alone_first(tmp_path: Path, data: Path) -> None:
    run = ready(f"{START} discriminator.start_step=1 discriminator.alone_steps=2", tmp_path, data)
    names = "loss/discriminator", "discriminator/pair_accuracy", "loss/adversarial", "loss/feature_matching"
    seen = [tuple(name in values for name in names) for values in map(_step, [run] * 4)]
    assert seen == [(False,) * 4, (True, True, False, False), (True, True, False, False), (True,) * 4]


def test_the_discriminators_rate_warms_up_when_they_start(tmp_path: Path, data: Path) -> None:
    run = ready("discriminator.start_step=2 train.lr_warmup_steps=2 train.lr_final_ratio=1.0", tmp_path, data)
    seen = []
    for _ in range(4):
        run._train_step()
        seen.append([o.param_groups[0]["lr"] for o in run.parts.optimizers.values()])
    assert seen == [[2.5e-4, 0], [5e-4, 0], [5e-4, 2.5e-4], [5e-4, 5e-4]]  # codec, discriminators; 5e-4 is the default


def _step(run: Trainer) -> dict[str, Tensor]:
    return run._train_step()


class Recording(Trainer):
    """Keeps what every micro-batch gave, before the trainer adds it up."""

    micro: list[dict[str, Tensor]]

    def _micro_step(
        self, wav: Tensor, adversarial: bool, train_discriminators: bool, crops: Sequence[Crop] = ()
    ) -> dict[str, Tensor]:
        values = super()._micro_step(wav, adversarial, train_discriminators, crops)
        self.micro = [*getattr(self, "micro", []), dict(values)]
        return values


def test_logged_losses_are_means_over_the_accumulated_batches(tmp_path: Path, data: Path) -> None:
    run = ready(f"{START} train.gradient_accumulation=3", tmp_path, data, kind=Recording)
    values = run._train_step()
    assert isinstance(run, Recording) and len(run.micro) == 3
    for name in ("mel", "stft", "codebook", "discriminator", "total"):
        expected = sum(float(part[name]) for part in run.micro) / 3
        assert float(values[f"loss/{name}"]) == pytest.approx(expected, rel=1e-5)
    assert len({float(part["mel"]) for part in run.micro}) == 3


def test_gradients_of_accumulated_batches_are_averaged(tmp_path: Path, data: Path) -> None:
    """Without discriminators and quantizer the loss is a mean over items: the gradient is that of single batches."""
    plain = "train.warmup_autoencoder_steps=9 discriminator.kinds=[] train.batch_size=1"
    run = ready(f"{plain} train.gradient_accumulation=2", tmp_path, data)
    batches = [run.feeder.next()[0] for _ in range(2)]
    gradients = []
    for group in (batches[:1], batches[1:], batches):
        run.parts.zero_grad()
        for wav in group:
            run._micro_step(wav, adversarial=False, train_discriminators=False)
        gradients.append([p.grad.clone() for p in run.parts.raw_codec.parameters() if p.grad is not None])
    for first, second, both in zip(*gradients, strict=True):  # each backward pass divides by the two of a step
        torch.testing.assert_close(both, first + second, rtol=1e-4, atol=1e-7)


def test_the_average_takes_a_started_quantizer_over(tmp_path: Path, data: Path) -> None:
    run = trainer(config("train.learning_rate=0 train.steps=2"), tmp_path, data, kind=stopping_at(2))
    run.run()
    started = run.parts.raw_codec.quantizer.stages[0].map.weight.detach()
    assert float((started - torch.eye(4)).abs().max()) > 0.1
    torch.testing.assert_close(run.parts.ema.average.quantizer.stages[0].map.weight.detach(), started)


def test_both_discriminators_train(tmp_path: Path, data: Path) -> None:
    run = ready(f"{START} {BOTH}", tmp_path, data)
    before = {
        name: weights(discriminator) for name, discriminator in run.parts.raw_discriminators.discriminators.items()
    }
    assert set(before) == {"ms_stft", "mpd"}
    assert run.run() == 4 and run.guard.skipped == 0
    for name, discriminator in run.parts.raw_discriminators.discriminators.items():
        assert not torch.equal(weights(discriminator), before[name])


def test_training_normalises_the_latents_of_each_batch(tmp_path: Path, data: Path) -> None:
    run = ready(START, tmp_path, data)
    before = float(run.parts.raw_codec.scale.batches)
    wav = run.feeder.next()[0]
    output = run.parts.raw_codec(wav, quantize=False)
    assert float(output.latents.detach().square().mean().sqrt()) == pytest.approx(1, rel=1e-3)
    assert float(run.parts.raw_codec.scale.batches) == before + 1


def test_the_optimizer_in_one_kernel_is_adamw(tmp_path: Path, data: Path) -> None:
    """Against AdamW's equations (arXiv 1711.05101, algorithm 2) in float64, over three steps."""
    rate, decay, (first, second) = 0.01, 0.1, (0.8, 0.99)
    keys = f"learning_rate={rate} weight_decay={decay} betas=[{first},{second}] lr_final_ratio=1"
    run = ready(" ".join(f"train.{key}" for key in keys.split()) + f" {START}", tmp_path, data)
    optimizer = run.parts.optimizers["codec"]
    assert optimizer.defaults["fused"]
    run.parts.set_learning_rates({"codec": rate, "discriminators": rate})
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    expected = [p.detach().double() for p in parameters]
    moments = [(torch.zeros_like(e), torch.zeros_like(e)) for e in expected]
    torch.manual_seed(0)
    for step in range(1, 4):
        for i, p in enumerate(parameters):
            p.grad = torch.randn_like(p)
            m, v = moments[i]
            m = first * m + (1 - first) * p.grad.double()
            v = second * v + (1 - second) * p.grad.double() ** 2
            moments[i] = m, v
            direction = m / (1 - first**step) / ((v / (1 - second**step)).sqrt() + 1e-8)
            expected[i] = expected[i] - rate * decay * expected[i] - rate * direction
        optimizer.step()
    for p, e in zip(parameters, expected, strict=True):
        torch.testing.assert_close(p.detach().double(), e, rtol=1e-5, atol=1e-6)


def test_quantized_latents_are_normalised_by_what_the_training_has_seen(tmp_path: Path, data: Path) -> None:
    """The start measures them over its segments; a step moves the statistics by a hundredth towards its own."""
    run = ready(START, tmp_path, data)
    codec = run.parts.raw_codec
    initialize_quantizer(codec, run.dataset, run.config)
    wav = run.feeder.next()[0]
    raw = codec.encoder(wav).detach()
    mean, rms = codec.scale.mean.clone(), codec.scale.rms.clone()
    output = codec(wav)
    torch.testing.assert_close(output.latents.detach(), (raw - mean[:, None]) / rms)
    torch.testing.assert_close(codec.scale.mean, 0.99 * mean + 0.01 * raw.mean((0, 2)))
    assert not torch.allclose(raw.mean((0, 2)), mean, rtol=1e-2)
    output.estimate.sum().backward()  # what the statistics were is not lost on the way


def test_the_table_that_is_searched_follows_the_weights(tmp_path: Path, data: Path) -> None:
    run = ready(f"{START} train.learning_rate=0.01", tmp_path, data)
    stage = run.parts.raw_codec.quantizer.stages[0]
    for _ in range(3):
        run._train_step()
        with torch.no_grad():
            searched = stage.table()[0].clone()  # type: ignore[operator]
            assert torch.equal(searched, stage.effective())  # type: ignore[operator]
