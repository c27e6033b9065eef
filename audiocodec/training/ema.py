"""Exponential moving average of the codec: what is validated, exported and shipped."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from audiocodec.codec import Codec


class EMA:
    """Keeps `average`, a second codec whose weights trail those of the trained one."""

    def __init__(self, codec: Codec, decay: float) -> None:
        """Start from a copy.

        Args:
            codec: the trained codec, unwrapped.
            decay: share of the old average kept at each update; lower during the first updates.
        """
        self.average = copy.deepcopy(codec).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, codec: Codec) -> None:
        """Move the average towards `codec`."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(_averaged(self.average), _averaged(codec), 1 - decay)

    @torch.no_grad()
    def copy_quantizer(self, codec: Codec) -> None:
        """Take over the quantizer as it is: it has just been started and has no history to average."""
        self.average.quantizer.load_state_dict(codec.quantizer.state_dict())


def _averaged(codec: Codec) -> list[Tensor]:
    """Weights and buffers, but for whole numbers: those are constants."""
    return [t.detach() for t in (*codec.parameters(), *codec.buffers()) if t.is_floating_point()]
