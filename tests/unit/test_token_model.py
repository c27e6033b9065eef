"""The small language model of `probe`: as good as what is known of the source."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audiocodec.analysis.predictability import predictability
from audiocodec.analysis.token_model import transformer_bits
from audiocodec.errors import MetricUndefined

TABLES = [np.random.default_rng(k).normal(size=(4, 3)) for k in range(2)]


def source(seed: int, frames: int) -> np.ndarray:
    """Codes [2, T]: one of three tokens at random, and the first codebook's token of the frame before."""
    first = np.random.default_rng(seed).integers(0, 3, frames + 1)
    return np.stack([first[1:], first[:-1]]).astype(np.int32)


def test_it_finds_what_can_be_known() -> None:
    """log2(3) bits for what is random; the second codebook is the first's past, which only a model of both can use."""
    train, test = [source(0, 1500), source(1, 500)], [source(2, 400)]
    bits = transformer_bits(TABLES, train, test, 150)
    assert bits[0] == pytest.approx(math.log2(3), abs=0.08)
    assert bits[1] < 0.15
    found = predictability(train, test, TABLES, 0)
    assert min(found.ngram[1]) == pytest.approx(math.log2(3), abs=0.06)
    assert (found.train_frames, found.test_frames, found.transformer) == (2000, 400, None)


def test_the_same_again_and_the_callers_random_numbers_untouched() -> None:
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    results = [transformer_bits(TABLES, [source(0, 100)], [source(1, 50)], 3) for _ in range(2)]
    assert results[0] == results[1]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_has_no_value() -> None:
    with pytest.raises(MetricUndefined, match="no tokens"):
        transformer_bits(TABLES, [], [source(0, 5)], 1)
    with pytest.raises(MetricUndefined, match=r"files of \[1, 2\] codebooks"):
        predictability([source(0, 20)], [source(1, 20)[:1]], TABLES, 0)
