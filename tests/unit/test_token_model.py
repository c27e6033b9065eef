"""The small transformer: causal, a distribution, and as good as what is known of the source."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audiocodec.analysis.predictability import predictability
from audiocodec.analysis.token_model import WINDOW, TokenModel, _bits, transformer_bits
from audiocodec.errors import MetricUndefined


@pytest.fixture
def small() -> TokenModel:
    """Two codebooks of 5 tokens, random weights."""
    torch.manual_seed(3)
    made = TokenModel(torch.rand(2, 5))
    torch.nn.init.normal_(made.out.weight)
    return made.eval()


def source(seed: int, frames: int) -> np.ndarray:
    """Codes [2, T]: one of three tokens at random, and the first codebook's token of the frame before."""
    first = np.random.default_rng(seed).integers(0, 3, frames + 1)
    return np.stack([first[1:], first[:-1]]).astype(np.int32)


def test_the_probabilities_of_a_token_sum_to_one(small: TokenModel) -> None:
    frames = torch.tensor([[[5, 1, 2, 0], [5, 4, 4, 0]]]).repeat(5, 1, 1)
    frames[:, 1, 3] = torch.arange(5)
    losses = small.losses(frames).detach()
    assert losses.shape == (5, 2, 3)
    assert float((-losses[:, 1, 2]).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_a_guess_does_not_see_its_frame_nor_later_ones(small: TokenModel) -> None:
    frames = torch.randint(0, 5, (1, 2, 12))
    other = frames.clone()
    other[:, 1, 6:] = (other[:, 1, 6:] + 1) % 5
    before, after = small.losses(frames)[0], small.losses(other)[0]
    torch.testing.assert_close(before[:, :5], after[:, :5])
    torch.testing.assert_close(before[0, 5], after[0, 5])  # of frame 6, where only the other codebook changed
    assert abs(before[:, 6:] - after[:, 6:]).min() > 0


def test_every_token_is_counted_once(small: TokenModel) -> None:
    """Without layers' part every token takes its offset's bits, whatever the windows."""
    torch.nn.init.zeros_(small.out.weight)
    counts = torch.tensor([[1.0, 1, 2, 4, 8], [3, 3, 3, 3, 3]]) - 0.5
    small.offset.data = TokenModel(counts).offset.data
    for frames in (1, WINDOW, WINDOW + 1, 3 * WINDOW + 7):
        codes = np.random.default_rng(frames).integers(0, 5, (2, frames)).astype(np.int32)
        expected = np.mean([math.log2(16 / (1, 1, 2, 4, 8)[token]) for token in codes[0]])
        assert _bits(small, [codes]) == pytest.approx([expected, math.log2(5)], rel=1e-5)


def test_it_finds_what_can_be_known() -> None:
    """log2(3) bits for what is random; the second codebook is the first's past, which only a model of both can use."""
    train, test = [source(0, 1500), source(1, 500)], [source(2, 400)]
    bits = transformer_bits(train, test, 4, 150)
    assert bits[0] == pytest.approx(math.log2(3), abs=0.06)
    assert bits[1] < 0.1
    found = predictability(train, test, 4, 0)
    assert min(found.ngram[1]) == pytest.approx(math.log2(3), abs=0.06)
    assert (found.train_frames, found.test_frames, found.transformer) == (2000, 400, None)


def test_the_same_again_and_the_callers_random_numbers_untouched() -> None:
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    results = [transformer_bits([source(0, 100)], [source(1, 50)], 4, 3) for _ in range(2)]
    assert results[0] == results[1]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_has_no_value() -> None:
    with pytest.raises(MetricUndefined, match="no tokens"):
        transformer_bits([], [source(0, 5)], 4, 1)
    found = predictability([source(0, 20)], [source(1, 20)], 65_537, 5)
    assert found.transformer is None and "65,537" in found.transformer_left_out
    with pytest.raises(MetricUndefined, match=r"files of \[1, 2\] codebooks"):
        predictability([source(0, 20)], [source(1, 20)[:1]], 4, 0)
