"""What a voiced decoder learns its pitch from: that of the audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from audiocodec.nn.pitch import Pitch


def pitch_losses(*, reference: Pitch, estimate: Pitch) -> dict[str, Tensor]:
    """Errors of a predicted pitch.

    Means over all frames, so that the gradient of a batch is the mean of those of its parts.

    Args:
        reference: of the audio, `voicing` above 0 where voiced.
        estimate: predicted.

    Returns:
        `pitch`: absolute difference of log F0 where the audio is voiced, 0 elsewhere (times 1731 in cents); `voicing`: cross
        entropy of voiced and unvoiced in nats.
    """
    voiced = (reference.voicing > 0).float()
    error = (estimate.log_f0.float() - reference.log_f0).abs() * voiced
    return {
        "pitch": error.mean(),
        "voicing": F.binary_cross_entropy_with_logits(estimate.voicing.float(), voiced),
    }
