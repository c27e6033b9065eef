"""What one training step computes: losses and gradients. What is done with them is the trainer's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from audiocodec.codec.torch import CodecOutput
from audiocodec.config.schema import Config
from audiocodec.losses.adversarial import adversarial_loss, discriminator_loss, feature_matching_loss, pair_accuracy
from audiocodec.losses.balancer import Balancer
from audiocodec.losses.level import band_levels, level_errors, level_loss
from audiocodec.losses.loudness import LoudnessLoss
from audiocodec.losses.pitch import pitch_losses
from audiocodec.losses.spectral import SpectralLoss
from audiocodec.nn.discriminator import Pair
from audiocodec.nn.pitch import Pitch

Backward = Callable[..., None]
WAVEFORM_LOSSES = ("mel", "stft", "waveform", "loudness", "level", "adversarial", "feature_matching")
OTHER_LOSSES = ("codebook", "commitment", "pitch", "voicing")


class Steps:
    """The two halves of a step, on one micro-batch."""

    def __init__(self, config: Config, device: torch.device) -> None:
        """Prepare the losses that `config` gives a weight.

        Args:
            config: the run.
            device: where the losses are computed.
        """
        loss, self.sample_rate = config.loss, config.sample_rate
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

    @staticmethod
    def discriminator(discriminators: nn.Module, pairs: Sequence[Pair], backward: Backward) -> dict[str, Tensor]:
        """Gradient of the discriminators, and of nothing else.

        Args:
            discriminators: whose weights get the gradient.
            pairs: of a `DiscriminatorBundle`, whose weights take gradients; `generator` can go on with it.
            backward: takes the loss and what `Tensor.backward` takes.

        Returns:
            `discriminator`: the loss; `discriminator/pair_accuracy`, mean over the discriminators.
        """
        loss = torch.stack([discriminator_loss(*pair) for pair in pairs]).mean()
        # The graph is kept whether the generator needs it or not: what a compiler makes of a backward pass depends on it.
        backward(loss, inputs=list(discriminators.parameters()), retain_graph=True)
        accuracy = torch.stack([pair_accuracy(*pair) for pair in pairs]).mean()
        return {"discriminator": loss.detach(), "discriminator/pair_accuracy": accuracy}

    def generator(
        self,
        output: CodecOutput,
        pairs: Sequence[Pair],
        wav: Tensor,
        backward: Backward,
        pitch: Pitch | None = None,
    ) -> dict[str, Tensor]:
        """Gradient of the codec: that of the waveform's losses at the estimate first, which leaves discriminators alone.

        Args:
            output: of the codec on `wav`.
            pairs: of a `DiscriminatorBundle` on `wav` and the estimate; empty before the codec is trained against them.
            wav: `[B, 1, S]`.
            backward: takes a scalar.
            pitch: of `wav`, for a voiced decoder; None: it learns none.

        Returns:
            Every loss unweighted, and `total`, their weighted sum; `level/...`, dB by which the estimate is too loud in a
            band; with a balancer `share/...`, each loss's share of the gradient at the waveform.
        """
        losses = self._losses(output, pairs, wav)
        wanted, found = (band_levels(signal, self.sample_rate) for signal in (wav, output.estimate))
        losses["level"] = level_loss(wanted=wanted, found=found)
        if pitch is not None and output.pitch is not None:
            losses |= pitch_losses(reference=pitch, estimate=output.pitch)
        weighted = {name: self.weights[name] * loss for name, loss in losses.items()}
        shares: dict[str, Tensor] = {}
        if self.balancer is None:
            at_waveform = torch.stack([loss for name, loss in weighted.items() if name in WAVEFORM_LOSSES]).sum()
            (gradient,) = torch.autograd.grad(at_waveform, [output.estimate])
        else:
            gradient, shares = self.balancer.gradient(losses, output.estimate)
        others = [loss for name, loss in weighted.items() if name not in WAVEFORM_LOSSES]
        # A scalar whose gradient at the estimate is `gradient`: one backward pass, also for wrapped modules.
        backward((output.estimate * gradient).sum() + sum(others))
        total = torch.stack([loss.detach() for loss in weighted.values()]).sum()
        levels = level_errors(wanted=wanted, found=found)
        named = {name: loss.detach() for name, loss in losses.items()} | {"total": total}
        named |= {f"level/{band}": error for band, error in levels.items()}
        return named | {f"share/{name}": share for name, share in shares.items()}

    def _losses(self, output: CodecOutput, pairs: Sequence[Pair], wav: Tensor) -> dict[str, Tensor]:
        estimate = output.estimate.float()
        losses: dict[str, Tensor] = dict(self.spectral(reference=wav, estimate=estimate))
        if self.weights["waveform"]:
            losses["waveform"] = (estimate - wav).abs().mean()
        if self.loudness is not None:
            losses["loudness"] = self.loudness(reference=wav, estimate=estimate)
        if output.quantizer is not None:
            losses["codebook"] = output.quantizer.codebook_loss
            losses["commitment"] = output.quantizer.commitment_loss
        if pairs:
            losses["adversarial"] = torch.stack([adversarial_loss(fake) for _, fake in pairs]).mean()
            losses["feature_matching"] = torch.stack([feature_matching_loss(*pair) for pair in pairs]).mean()
        return losses


class DiscriminatorBundle(nn.Module):
    """All discriminators behind one `forward`, so that one wrapper synchronises them."""

    def __init__(self, discriminators: nn.ModuleDict, samples: int | None = None) -> None:
        """Put them together.

        Args:
            discriminators: by name.
            samples: of each segment that they get, `Config.discriminator_samples`; None: all of it.
        """
        super().__init__()
        self.discriminators, self.samples = discriminators, samples

    def forward(self, wav: Tensor, estimate: Tensor) -> list[Pair]:
        """Run each discriminator on real audio and its reconstruction, once for both halves of a step.

        Args:
            wav: `[B, 1, S]`.
            estimate: `[B, 1, S]`; detached while only the discriminators learn.

        Returns:
            Scores and features of both, a pair for each discriminator.
        """
        if self.samples is not None and self.samples < wav.shape[-1]:
            first = int(torch.randint(wav.shape[-1] - self.samples + 1, ()))  # drawn on the CPU
            wav, estimate = (x[..., first : first + self.samples] for x in (wav, estimate))
        return [(discriminator(wav), discriminator(estimate)) for discriminator in self.discriminators.values()]
