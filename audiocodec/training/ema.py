"""Exponential moving average of the codec: what is validated, exported and shipped."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from audiocodec.codec.torch import Codec


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
        average, trained = zip(*_moving(self.average, codec))
        torch._foreach_lerp_(average, trained, 1 - decay)

    @torch.no_grad()
    def copy_quantizer(self, codec: Codec) -> None:
        """Take over the quantizer as it is: it has just been started and has no history to average."""
        self.average.quantizer.load_state_dict(codec.quantizer.state_dict())


def _moving(average: Codec, codec: Codec) -> Iterator[tuple[Tensor, Tensor]]:
    """What the steps move, in both codecs: weights that are trained, and buffers that are no whole numbers.

    A frozen weight changes where a quantizer is started or a model taken over, and there the average is copied.
    """
    weights = zip(average.parameters(), codec.parameters(), strict=True)
    yield from ((a.detach(), b.detach()) for a, b in weights if b.requires_grad)
    buffers = zip(average.buffers(), codec.buffers(), strict=True)
    yield from ((a, b) for a, b in buffers if b.is_floating_point())
