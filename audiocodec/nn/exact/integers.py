"""Exact arithmetic in float32, on numpy.

Weights and activations are integers within +-127 (8 bits), held in float32. A sum of at most 1,024 such products stays below
2**24, where float32 holds every integer: each partial sum is exact, in whatever order a BLAS, several threads, onnxruntime
or a GPU adds them up, and so with TF32 or bfloat16 inputs, which hold 8-bit integers. Between layers sums are divided by
powers of two and rounded, which is exact, too. Non-linear functions are tables (Balle et al., ICLR 2019, arXiv 1804.07723,
on why a network that drives an entropy coder must be computed this way).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LIMIT = 127  # largest magnitude of a weight and of an activation
MAX_SUM = 1 << 24  # float32 holds every integer below
ONE = 32  # the activation that stands for 1
GATE_BITS = 7  # 128 stands for 1 in what a gate gives
NATS = 16  # logits are in units of 1/16
_HALF, _LEAST, _MOST = np.float32(0.5), np.float32(-LIMIT), np.float32(LIMIT)
MAX_COUNT = 65_535  # of the most probable symbol; 256 such counts add up to less than 2**24

FloatArray = npt.NDArray[np.float32]


def product(x: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    """`x [N, I]` times `weight [I, O]` plus `bias [O]`: integers in float32, see `check_sums` for when they are exact."""
    result: FloatArray = x @ weight + bias
    return result


def rescale(total: FloatArray, shift: int) -> FloatArray:
    """Sums, which are integers, divided by `2**shift`, rounded (halves up) and clipped to +-127."""
    if shift:
        total = total * np.float32(2.0**-shift)
        total += _HALF
        np.floor(total, out=total)
    result: FloatArray = np.maximum(total, _LEAST)  # np.clip takes twice the time of both
    return np.minimum(result, _MOST, out=result)


def gate(total: FloatArray, shift: int) -> FloatArray:
    """Gated activation of sums `[N, 2 * C]`: the tanh of the first half times the sigmoid of the other, in 1/128."""
    index = rescale(total, shift).astype(np.intp) + LIMIT
    half = index.shape[1] // 2
    return rescale(TANH[index[:, :half]] * SIGMOID[index[:, half:]], GATE_BITS)


def counts(total: FloatArray, shift: int) -> FloatArray:
    """What each symbol counts, from sums that are logits: 1 to 65,535 `[N, V]`, the most probable symbol having 65,535."""
    logits = np.floor(total * np.float32(2.0**-shift) + np.float32(0.5))
    below = logits.max(1, keepdims=True) - logits
    result: FloatArray = EXP[np.minimum(below, len(EXP) - 1).astype(np.intp)]
    return result


def check_sums(weight: npt.NDArray[np.integer], bias: npt.NDArray[np.integer]) -> bool:
    """Whether no partial sum of `product` can leave what float32 holds exactly, for any activations.

    Args:
        weight: `[I, O]`.
        bias: `[O]`, or `[N, O]` of which one row is added.
    """
    largest = LIMIT * np.abs(weight.astype(np.int64)).sum(0) + np.abs(bias.astype(np.int64)).reshape(
        -1, weight.shape[1]
    ).max(0)
    return bool((largest < MAX_SUM).all())


def _table(values: npt.NDArray[np.float64]) -> FloatArray:
    return np.round(values).astype(np.float32)


_ACTIVATIONS = np.arange(-LIMIT, LIMIT + 1) / ONE
TANH = _table(LIMIT * np.tanh(_ACTIVATIONS))
SIGMOID = _table(LIMIT / (1 + np.exp(-_ACTIVATIONS)))
EXP = np.maximum(_table(MAX_COUNT * np.exp(-np.arange(180) / NATS)), np.float32(1))
