"""How SimVQ's linear map starts: by reverse water-filling of the latents' covariance, or as what it is compared with.

A frozen Gaussian codebook under a linear map is a random codebook with a chosen covariance. Rate-distortion theory
(Cover & Thomas, Elements of Information Theory, 10.3.3) says which one a Gaussian source of covariance
`U diag(l) U^T` wants at `R = log2(V)` bits: code variance `max(0, l_i - theta)` along eigenvector i, with the water
level `theta` such that `sum_i max(0, log2(l_i / theta)) / 2 = R`. An isotropic codebook wastes its energy on
directions that the latents do not use, and adds error instead of removing it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audiocodec.quantization.kmeans import kmeans

TINY = 1e-30  # guards a division only
BISECTIONS = 200  # far more than float64 can resolve


def start_map(kind: str, latents: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Linear map and bias of SimVQ before training.

    Args:
        kind: `waterfill`; `isotropic`, the same in every direction at the latents' RMS; `covariance`, that of the
            latents; `kmeans`, that of their clusters' centres, as many as codes; `published`, torch's own start of a
            linear layer, which looks at no latents (the reference's).
        latents: `[N, D]` samples of what will be quantized.
        codebook: `[V, D]`.

    Returns:
        (weight `[D, D]`, bias `[D]`): `code = weight @ row + bias`.
    """
    if kind == "waterfill":
        return waterfill_map(latents, codebook)
    if kind == "isotropic":
        return isotropic_map(latents, codebook)
    if kind == "published":
        layer = nn.Linear(codebook.shape[1], codebook.shape[1])
        return layer.weight.to(codebook), layer.bias.to(codebook)
    return covariance_map(kmeans(latents, len(codebook)) if kind == "kmeans" else latents, codebook)


def reverse_water_fill(variances: Tensor, bits: float) -> tuple[Tensor, float]:
    """Code variances for independent Gaussian components coded with `bits` bits together.

    Args:
        variances: `[D]` non-negative source variances.
        bits: rate in bits per vector, above 0.

    Returns:
        (`[D]` float64 code variances, water level).
    """
    variances = variances.double().clamp(min=0)
    low, high = 0.0, float(variances.max())
    for _ in range(BISECTIONS):
        level = (low + high) / 2
        if level <= 0 or 0.5 * float((variances / level).clamp(min=1).log2().sum()) > bits:
            low = level
        else:
            high = level
    return (variances - high).clamp(min=0), high


def waterfill_map(latents: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """Linear map and bias under which `codebook` is the water-filled random codebook for `latents`.

    Args:
        latents: `[N, D]` samples of what will be quantized.
        codebook: `[V, D]` frozen codebook, zero mean, equal variance in every direction.

    Returns:
        (weight `[D, D]`, bias `[D]`): `code = weight @ row + bias`.
    """
    mean, variances, directions = principal(latents)
    code_variances, _ = reverse_water_fill(variances, math.log2(len(codebook)))
    weight = directions * code_variances.sqrt() / codebook.double().std()
    return weight.to(codebook.dtype), mean.to(codebook.dtype)


def shrinking_map(latents: Tensor, codes: int) -> tuple[Tensor, Tensor]:
    """Linear map and bias under which latents, as the rows of a codebook, have the water-filled covariance.

    Args:
        latents: `[N, D]` samples of what will be quantized, of which the rows are some.
        codes: number of rows V.

    Returns:
        (weight `[D, D]`, bias `[D]`): `code = weight @ row + bias`.
    """
    mean, variances, directions = principal(latents)
    kept, _ = reverse_water_fill(variances, math.log2(codes))
    gains = (kept / variances.clamp(min=TINY)).sqrt()
    weight = directions * gains @ directions.T
    return weight.to(latents.dtype), (mean - weight @ mean).to(latents.dtype)


def isotropic_map(latents: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """The plain start: the codebook scaled to the latents' RMS around their mean, the same in every direction."""
    mean = latents.mean(0)
    scale = (latents - mean).square().mean().sqrt() / codebook.std()
    return torch.eye(codebook.shape[1], dtype=codebook.dtype, device=codebook.device) * scale, mean


def covariance_map(latents: Tensor, codebook: Tensor) -> tuple[Tensor, Tensor]:
    """The map under which the codebook has mean and covariance of `latents [N, D]`, at any rate."""
    mean, variances, directions = principal(latents)
    weight = directions * variances.clamp(min=0).sqrt() / codebook.double().std()
    return weight.to(codebook.dtype), mean.to(codebook.dtype)


def principal(latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean `[D]`, variances `[D]` and directions `[D, D]` (columns) of `latents [N, D]`, float64."""
    latents = latents.double()
    mean = latents.mean(0)
    centred = latents - mean
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(latents))
    return mean, variances, directions
