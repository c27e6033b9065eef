"""Bits per token under an n-gram: numbers by hand, and a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from audiocodec.analysis.ngram import NGram
from audiocodec.errors import MetricUndefined


def model(*streams: Sequence[int], order: int = 3, vocabulary: int = 4) -> NGram:
    made = NGram(order, vocabulary)
    for stream in streams:
        made.add(stream)
    return made


def test_by_hand() -> None:
    """0 1 0 2 and V = 4. Order 1: 4 tokens, 3 kinds; after 0: a 1 and a 2, 2 kinds; after 1 0: a 2, 1 kind."""
    m = model([0, 1, 0, 2])
    one = (1 + 3 / 4) / 7  # of 2; of 0 it is (2 + 3 / 4) / 7; of 3, never seen, 3 / 4 / 7
    assert m.probability(2, [], 3) == pytest.approx(one)
    assert m.probability(0, [], 3) == pytest.approx(11 / 28)
    assert m.probability(3, [], 1) == pytest.approx(3 / 28)
    two = (1 + 2 * one) / 4
    assert m.probability(2, [0], 3) == pytest.approx(two)
    assert m.probability(2, [1, 0], 2) == pytest.approx(two)
    assert m.probability(2, [1, 0], 3) == pytest.approx((1 + two) / 2)
    assert m.probability(2, [3, 0], 3) == pytest.approx(two)  # a history never seen says nothing
    assert m.probability(2, [0, 3], 3) == pytest.approx(one)


def test_bits_by_hand() -> None:
    """The stream 0 2: order 1 guesses both alone, order 2 the second from the first."""
    first, alone, after = 11 / 28, 1 / 4, (1 + 2 / 4) / 4
    bits = model([0, 1, 0, 2]).bits([[0, 2]])
    assert bits == pytest.approx([-math.log2(first * p) / 2 for p in (alone, after, after)])


def test_files_do_not_follow_each_other() -> None:
    """1 never follows 0 in one file."""
    m = model([1, 0], [1, 0])
    assert m.probability(1, [0], 2) == m.probability(1, [], 1)
    assert m.bits([[0], [1]])[1] == pytest.approx(m.bits([[0], [1]])[0])


@pytest.mark.parametrize("history", [[], [0], [1, 2], [4, 4], [3, 3, 1]])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_sum_to_one(order: int, history: list[int]) -> None:
    random = np.random.default_rng(0)
    m = model(*(random.integers(0, 4, n).tolist() for n in (50, 3, 1)), vocabulary=6)
    probabilities = [m.probability(token, history, order) for token in range(6)]
    assert sum(probabilities) == pytest.approx(1, abs=1e-12) and min(probabilities) > 0


def test_what_is_known_to_the_source() -> None:
    """A source of two bits a token takes two bits; one that alternates takes nearly none at order 2."""
    random = np.random.default_rng(1)
    even = [random.integers(0, 4, 20_000).tolist() for _ in range(2)]
    assert model(even[0]).bits([even[1]])[0] == pytest.approx(2, abs=0.01)
    alternating = model([0, 1] * 1000).bits([[0, 1] * 500])
    assert alternating[0] == pytest.approx(1, abs=0.01) and alternating[1] < 0.02


def test_nothing_learned_and_nothing_to_guess() -> None:
    assert model(vocabulary=8).bits([[1, 2, 3]]) == pytest.approx([3, 3, 3])
    with pytest.raises(MetricUndefined, match="no tokens"):
        model([1]).bits([[]])
