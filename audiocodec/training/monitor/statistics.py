"""How well codebooks are used: usage, perplexity, different codes per batch, effective dimension."""

from __future__ import annotations

import torch
from torch import Tensor

from audiocodec.codec.torch import CodecOutput
from audiocodec.metrics.codebook import codebook_use


class CodebookStatistics:
    """Counts codes between two log lines. One process's counts; the trainer sums them over processes."""

    def __init__(self, num_codebooks: int, codebook_size: int, device: torch.device) -> None:
        """Start with nothing counted.

        Args:
            num_codebooks: stages K.
            codebook_size: entries V of each.
            device: where the counts live.
        """
        self.counts = torch.zeros(num_codebooks, codebook_size, device=device)
        self.errors = torch.zeros(num_codebooks, device=device)
        self.different = torch.zeros(num_codebooks, device=device)
        self.effective = torch.zeros(num_codebooks, 2, device=device)  # of what enters a stage, of its codes
        self.batches = torch.zeros(1, device=device)

    @torch.no_grad()
    def add(self, output: CodecOutput) -> None:
        """Count one forward pass."""
        if output.quantizer is None:
            return
        codes = output.quantizer.codes
        for k in range(codes.shape[1]):
            chosen = codes[:, k].flatten()
            ones = self.counts.new_ones(len(chosen))  # bincount would wait for the device, to look for the largest code
            counts = torch.zeros_like(self.counts[k]).index_add_(0, chosen, ones)
            self.counts[k] += counts
            self.different[k] += (counts > 0).sum() / codes[:, k].numel()
        self.errors[: codes.shape[1]] += output.quantizer.errors
        for k, stage in enumerate(output.quantizer.stages):
            self.effective[k] += torch.stack([effective_dimension(x.transpose(1, 2).flatten(0, 1)) for x in stage[:2]])
        self.batches += 1

    def tensors(self) -> list[Tensor]:
        """Everything that is summed over processes."""
        return [self.counts, self.errors, self.different, self.effective, self.batches]

    def summary(self) -> dict[str, float]:
        """Values by name, per stage `codebook/<k>/...`; empty when nothing was quantized."""
        batches = float(self.batches)
        if batches == 0:
            return {}
        values: dict[str, float] = {}
        for k, counts in enumerate(self.counts):
            use = codebook_use(counts.long().cpu().numpy())
            values |= {
                f"codebook/{k}/usage": use.usage,
                f"codebook/{k}/perplexity": use.perplexity,
                f"codebook/{k}/different_per_frame": float(self.different[k]) / batches,
                f"codebook/{k}/relative_error": float(self.errors[k]) / batches,
                f"codebook/{k}/effective_dimension_residual": float(self.effective[k, 0]) / batches,
                f"codebook/{k}/effective_dimension_codes": float(self.effective[k, 1]) / batches,
            }
        return values

    def reset(self) -> None:
        """Forget everything."""
        for tensor in self.tensors():
            tensor.zero_()


def effective_dimension(vectors: Tensor) -> Tensor:
    """Participation ratio (`metrics.codebook.participation_ratio`) of the covariance of `vectors [N, D]`: 1 to D.

    On the device of the vectors, and not read from there: a step waits for nothing.
    """
    centred = vectors.float() - vectors.float().mean(0)
    covariance = centred.T @ centred / len(vectors)
    return covariance.trace().square() / covariance.square().sum().clamp(min=1e-20)
