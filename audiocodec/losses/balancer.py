"""Loss balancer (EnCodec, arXiv 2210.13438, section 3.4): weights become shares of the gradient at the waveform.

Each loss's gradient with respect to the estimate is scaled to its share of a reference norm, using a running mean of
the gradient norms. Norms are of one item of a mean over the batch, so that shares mean the same in any batch, and beside
the losses that are not balanced. The running means are part of the training state (`state`); nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

DECAY = 0.99
REFERENCE_NORM = 20.0  # per item; what the sum of the default weights gives on a trained codec is of this order
MIN_NORM = 1e-12  # guards a division only


class Balancer:
    """Combines the gradients of several losses of one waveform.

    Attributes:
        norms: by loss, running sum of norms and running weight `[2]`; replaced, never changed.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Keep `weights`: relative share of each loss; zero shares are ignored."""
        self.weights = {name: weight for name, weight in weights.items() if weight > 0}
        self.norms: dict[str, Tensor] = {}

    @property
    def state(self) -> dict[str, list[float]]:
        """The running means as numbers, to be saved."""
        return {name: norm.tolist() for name, norm in self.norms.items()}

    @state.setter
    def state(self, values: Mapping[str, list[float]]) -> None:
        self.norms = {name: torch.tensor(value) for name, value in values.items()}

    def gradient(self, losses: Mapping[str, Tensor], estimate: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Balanced gradient at the estimate.

        Args:
            losses: scalars that depend on `estimate`, means over its items, by name.
            estimate: `[B, 1, S]`, part of the graph.

        Returns:
            `[B, 1, S]`, to be given to `estimate.backward`; the share of each loss in the sum of norms of this batch.
        """
        active = {name: losses[name] for name in self.weights if name in losses}
        total = sum(self.weights[name] for name in active)
        combined, norms = torch.zeros_like(estimate), {}
        for name, loss in active.items():
            (gradient,) = torch.autograd.grad(loss, [estimate], retain_graph=True)
            norm = len(estimate) * torch.linalg.vector_norm(gradient.float().flatten(1), dim=1).mean()
            scale = self.weights[name] / total * REFERENCE_NORM / self._running_norm(name, norm)
            combined += gradient * scale
            norms[name] = norm * scale
        together = torch.stack(list(norms.values())).sum().clamp(min=MIN_NORM)
        return combined, {name: norm / together for name, norm in norms.items()}

    def _running_norm(self, name: str, norm: Tensor) -> Tensor:
        before = self.norms.get(name, norm.new_zeros(2)).to(norm)
        self.norms[name] = DECAY * before + torch.stack([norm, norm.new_ones(())])
        value, weight = self.norms[name]
        mean: Tensor = value / weight
        return mean.clamp(min=MIN_NORM)
