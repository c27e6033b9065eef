"""Loss balancer (EnCodec, arXiv 2210.13438, section 3.4): weights become shares of the gradient at the waveform.

Each loss's gradient with respect to the estimate is scaled to its share of a reference norm, using a running mean of
the gradient norms. The running means are part of the training state (`state`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

DECAY = 0.999
REFERENCE_NORM = 1.0


class Balancer:
    """Combines the gradients of several losses of one waveform."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Keep `weights`: relative share of each loss; zero shares are ignored."""
        self.weights = {name: weight for name, weight in weights.items() if weight > 0}
        self.state: dict[str, list[float]] = {}  # name -> [running sum of norms, running weight]

    def gradient(self, losses: Mapping[str, Tensor], estimate: Tensor) -> Tensor:
        """Balanced gradient at the estimate.

        Args:
            losses: scalars that depend on `estimate`, by name.
            estimate: `[B, 1, S]`, part of the graph.

        Returns:
            `[B, 1, S]`, to be given to `estimate.backward`.
        """
        active = {name: losses[name] for name in self.weights if name in losses}
        total = sum(self.weights[name] for name in active)
        combined = torch.zeros_like(estimate)
        for name, loss in active.items():
            (gradient,) = torch.autograd.grad(loss, [estimate], retain_graph=True)
            norm = self._running_norm(name, float(torch.linalg.vector_norm(gradient.flatten(1), dim=1).mean()))
            combined += gradient * (self.weights[name] / total * REFERENCE_NORM / max(norm, 1e-12))
        return combined

    def _running_norm(self, name: str, norm: float) -> float:
        value, weight = self.state.get(name, [0.0, 0.0])
        value, weight = DECAY * value + norm, DECAY * weight + 1
        self.state[name] = [value, weight]
        return value / weight
