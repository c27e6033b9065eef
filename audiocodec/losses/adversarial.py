"""Hinge losses of discriminator and generator, and feature matching (EnCodec, arXiv 2210.13438, section 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from audiocodec.nn.discriminator import Judgement


def discriminator_loss(real: Judgement, fake: Judgement) -> Tensor:
    """Hinge loss, mean over scales: `max(0, 1 - D(real)) + max(0, 1 + D(fake))`."""
    terms = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for (r, _), (f, _) in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()


def adversarial_loss(fake: Judgement) -> Tensor:
    """Generator's hinge loss, mean over scales: `max(0, 1 - D(fake))`."""
    return torch.stack([F.relu(1 - scores).mean() for scores, _ in fake]).mean()


@torch.no_grad()
def pair_accuracy(real: Judgement, fake: Judgement) -> Tensor:
    """Share of items whose mean score, over positions and then scales, is higher for the real audio than for the other."""
    differences = [r.flatten(1).mean(1) - f.flatten(1).mean(1) for (r, _), (f, _) in zip(real, fake, strict=True)]
    return (torch.stack(differences).sum(0) > 0).float().mean()


def feature_matching_loss(real: Judgement, fake: Judgement) -> Tensor:
    """Mean over scales and layers of the features' absolute difference relative to the real ones' mean."""
    terms = [
        (f - r.detach()).abs().mean(dtype=torch.float32) / r.detach().abs().mean(dtype=torch.float32).clamp(min=1e-8)
        for (_, real_features), (_, fake_features) in zip(real, fake, strict=True)
        for r, f in zip(real_features, fake_features, strict=True)
    ]
    return torch.stack(terms).mean()
