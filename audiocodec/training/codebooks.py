"""Codebooks that follow what is quantized instead of a gradient: latents of a step, gathered, then one update.

The processes' latents are brought together, not their sums: a batch is far smaller than a codebook, every process
then computes the same update, and codes that are replaced are replaced by the same latents everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from audiocodec.codec.torch import CodecOutput
from audiocodec.quantization.base import Stage
from audiocodec.quantization.residual import ResidualQuantizer

Gather = Callable[[Tensor], Tensor]  # along the first dimension, over processes


class CodebookUpdates:
    """What the stages of `quantizer` were given since the last update; nothing for stages that do not want it."""

    def __init__(self, quantizer: ResidualQuantizer) -> None:
        """Start with nothing.

        Args:
            quantizer: the trained codec's, unwrapped.
        """
        self._all_used = quantizer.dropout == 0  # else which frames a stage was given is looked up on the device
        self._stages = {
            k: stage
            for k, stage in enumerate(quantizer.stages)
            if isinstance(stage, Stage) and stage.learns_from_latents
        }
        self.reset()

    def add(self, output: CodecOutput) -> None:
        """Keep what the stages were given in one forward pass."""
        if output.quantizer is None:
            return
        for k in self._stages:
            trace, codes = output.quantizer.stages[k], output.quantizer.codes[:, k]
            used = trace.used[:, None].expand_as(codes)
            frames = trace.entered.transpose(1, 2).flatten(0, 1)
            self._parts[k].append((frames, codes.flatten(), used.flatten()))

    def apply(self, gather: Gather, seed: int) -> None:
        """Update the stages and forget.

        Args:
            gather: brings a tensor of all processes together; all of them call this.
            seed: the same on every process.
        """
        for k, parts in self._parts.items():
            if parts:
                latents, codes, used = (gather(torch.cat(tensors)) for tensors in zip(*parts))
                if not self._all_used:
                    latents, codes = latents[used], codes[used]
                if len(latents):
                    self._stages[k].update(latents, codes, seed)
        self.reset()

    def reset(self) -> None:
        """Forget what was kept."""
        self._parts: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {k: [] for k in self._stages}
