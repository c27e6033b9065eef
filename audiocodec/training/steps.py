"""What one training step computes: losses and gradients. What is done with them is the trainer's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from audiocodec.codec import CodecOutput
from audiocodec.config.schema import Config
from audiocodec.losses.adversarial import adversarial_loss, discriminator_loss, feature_matching_loss
from audiocodec.losses.balancer import Balancer
from audiocodec.losses.loudness import LoudnessLoss
from audiocodec.losses.pitch import pitch_losses
from audiocodec.losses.spectral import SpectralLoss
from audiocodec.nn.discriminator import Judgement
from audiocodec.nn.pitch import Pitch

Backward = Callable[..., None]
WAVEFORM_LOSSES = ("mel", "stft", "waveform", "loudness", "adversarial", "feature_matching")
OTHER_LOSSES = ("codebook", "commitment", "pitch", "voicing")


class Steps:
    """The two halves of a step, on one micro-batch."""

    def __init__(self, config: Config, device: torch.device) -> None:
        """Prepare the losses that `config` gives a weight.

        Args:
            config: the run.
            device: where the losses are computed.
        """
        loss = config.loss
        self.weights = {name: float(getattr(loss, name)) for name in (*WAVEFORM_LOSSES, *OTHER_LOSSES)}
        self.spectral = SpectralLoss(
            config.sample_rate,
            loss.mel_windows if loss.mel else (),
            loss.mel_bands if loss.mel else (),
            loss.stft_windows if loss.stft else (),
            mel_floor=loss.mel_floor,
            stft_floor=loss.stft_floor,
        ).to(device)
        self.loudness = LoudnessLoss(config.sample_rate, config.data.level_db).to(device) if loss.loudness else None
        waveform_weights = {name: self.weights[name] for name in WAVEFORM_LOSSES}
        self.balancer = Balancer(waveform_weights) if loss.balancer else None

    def discriminator(
        self, discriminators: nn.Module, wav: Tensor, estimate: Tensor, backward: Backward
    ) -> dict[str, Tensor]:
        """Gradient of the discriminators on real and reconstructed audio.

        Args:
            discriminators: wrapped for the processes at work.
            wav: `[B, 1, S]`.
            estimate: `[B, 1, S]`, detached here.
            backward: takes the loss.

        Returns:
            `discriminator`: the loss.
        """
        judged = discriminators(torch.cat([wav, estimate.detach()]))
        loss = torch.stack([discriminator_loss(*_halves(j)) for j in judged]).mean()
        backward(loss)
        return {"discriminator": loss.detach()}

    def generator(
        self,
        output: CodecOutput,
        discriminators: nn.ModuleDict | None,
        wav: Tensor,
        backward: Backward,
        pitch: Pitch | None = None,
    ) -> dict[str, Tensor]:
        """Gradient of the codec.

        Args:
            output: of the codec on `wav`.
            discriminators: unwrapped; None before they start.
            wav: `[B, 1, S]`.
            backward: takes the total loss.
            pitch: of `wav`, for a voiced decoder; None: it learns none.

        Returns:
            Every loss unweighted, and `total`.
        """
        losses = self._losses(output, discriminators, wav)
        if pitch is not None and output.pitch is not None:
            losses |= pitch_losses(reference=pitch, estimate=output.pitch)
        if self.balancer is None:
            total = torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
            backward(total)
        else:
            total = self._balanced(losses, output.estimate, backward)
        return {**{name: loss.detach() for name, loss in losses.items()}, "total": total.detach()}

    def _losses(self, output: CodecOutput, discriminators: nn.ModuleDict | None, wav: Tensor) -> dict[str, Tensor]:
        estimate = output.estimate.float()
        losses: dict[str, Tensor] = dict(self.spectral(reference=wav, estimate=estimate))
        if self.weights["waveform"]:
            losses["waveform"] = (estimate - wav).abs().mean()
        if self.loudness is not None:
            losses["loudness"] = self.loudness(reference=wav, estimate=estimate)
        if output.quantizer is not None:
            losses["codebook"] = output.quantizer.codebook_loss
            losses["commitment"] = output.quantizer.commitment_loss
        if discriminators is not None:
            losses.update(self._adversarial(discriminators, wav, estimate))
        return losses

    @staticmethod
    def _adversarial(discriminators: nn.ModuleDict, wav: Tensor, estimate: Tensor) -> dict[str, Tensor]:
        adversarial, matching = [], []
        for discriminator in discriminators.values():
            with torch.no_grad():
                real = discriminator(wav)
            fake = discriminator(estimate)
            adversarial.append(adversarial_loss(fake))
            matching.append(feature_matching_loss(real, fake))
        return {"adversarial": torch.stack(adversarial).mean(), "feature_matching": torch.stack(matching).mean()}

    def _balanced(self, losses: dict[str, Tensor], estimate: Tensor, backward: Backward) -> Tensor:
        """Backward with balanced gradients at the waveform and plain weights for the quantizer's losses."""
        assert self.balancer is not None
        waveform = {name: loss for name, loss in losses.items() if name in WAVEFORM_LOSSES}
        gradient = self.balancer.gradient(waveform, estimate)
        others = [self.weights[name] * loss for name, loss in losses.items() if name not in WAVEFORM_LOSSES]
        # A scalar whose gradient at the estimate is `gradient`: one backward pass, also for wrapped modules.
        total = (estimate * gradient.detach()).sum() + sum(others)
        backward(total)
        return total


class DiscriminatorBundle(nn.Module):
    """All discriminators behind one `forward`, so that one wrapper synchronises them."""

    def __init__(self, discriminators: nn.ModuleDict) -> None:
        super().__init__()
        self.discriminators = discriminators

    def forward(self, wav: Tensor) -> list[Judgement]:
        """Judge `wav [B, 1, S]` with each discriminator."""
        return [discriminator(wav) for discriminator in self.discriminators.values()]


def _halves(judged: Judgement) -> tuple[Judgement, Judgement]:
    """Split a judgement of real and fake stacked in one batch."""

    def part(i: int) -> Judgement:
        return [(scores.chunk(2)[i], [f.chunk(2)[i] for f in features]) for scores, features in judged]

    return part(0), part(1)
