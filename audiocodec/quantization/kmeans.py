"""k-means (Lloyd 1982) in a few rounds, on whatever device the latents are, with the exact search of this folder.

Own code instead of scikit-learn's: the search is there already, bounded in memory and as fast on a GPU, and inference
and training need no library for it. Random only by torch's seed; a centre that nothing is nearest to moves to a latent
that is far from its own centre.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audiocodec.quantization.search import half_squares, nearest_codes

ROUNDS = 10
JITTER = 0.1  # of the standard deviation of each dimension: where there are fewer latents than centres


def kmeans(latents: Tensor, count: int, rounds: int = ROUNDS) -> Tensor:
    """Centres of `count` clusters of the latents.

    Args:
        latents: `[N, D]`, N at least 1.
        count: number of centres V; where it is more than N, every latent is a centre, and so are latents drawn again
            with a little noise.
        rounds: of assigning latents and moving centres.

    Returns:
        `[V, D]` float32.
    """
    latents = latents.detach().float()
    centres = drawn(latents, count)
    if count >= len(latents):
        return centres
    for _ in range(rounds):
        nearest = nearest_codes(latents, centres, half_squares(centres))
        sums = torch.zeros_like(centres).index_add_(0, nearest, latents)
        sizes = torch.bincount(nearest, minlength=count)
        errors = (latents - centres[nearest]).square().sum(1)
        centres = torch.where((sizes > 0)[:, None], sums / sizes.clamp(min=1)[:, None], centres)
        empty = (sizes == 0).nonzero().flatten()
        centres[empty] = latents[errors.topk(len(empty)).indices]
    return centres


def drawn(latents: Tensor, count: int) -> Tensor:
    """Latents `[count, D]` of `latents [N, D]`, each at most once; where there are too few, all of them, and some again
    with a little noise."""
    if count <= len(latents):
        return latents[torch.randperm(len(latents))[:count].to(latents.device)]
    again = latents[torch.randint(len(latents), (count - len(latents),)).to(latents.device)]
    noise = torch.randn(again.shape).to(latents.device) * JITTER * latents.std(0, unbiased=False)
    return torch.cat([latents, again + noise])
