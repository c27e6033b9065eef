"""What a prior predicts, on numpy: frame by frame where a decoder finds the codes, for all frames at once where they are known.

All arithmetic is that of `nn.exact.integers`, so both ways give the same counts, and so does every machine: that is what makes
them fit to drive an entropy coder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from audiocodec.nn.exact.integers import FloatArray, counts, gate, product, rescale
from audiocodec.tokens.address import address_of_digits, digit_sizes
from audiocodec.tokens.prior import GATED_BITS, LOGIT_BITS, WEIGHT_BITS, Prior

IntArray = npt.NDArray[np.integer]
Choose = Callable[[int, int, FloatArray], IntArray]


class Predictor:
    """Several independent sequences of frames, predicted in step."""

    def __init__(self, prior: Prior, count: int, num_codebooks: int) -> None:
        """Begin without a past.

        Args:
            prior: what predicts.
            count: sequences.
            num_codebooks: of the tokens, counted from the first; K or fewer.
        """
        self._prior, self._layers, self._num_codebooks = prior, _Layers(prior), num_codebooks
        config = prior.config
        self._sizes = [digit_sizes(size) for size in config.codebook_sizes]
        self._past = [np.zeros((dilation, count, config.channels), np.float32) for dilation in config.dilations]
        self._vectors = np.zeros((count, len(config.codebook_sizes) * config.vector_dim), np.float32)
        self._step = 0

    def frame(self, choose: Choose) -> npt.NDArray[np.int64]:
        """Predict the next frame and take it.

        Args:
            choose: of (codebook, digit, counts `[count, values]`) the digits `[count]`.

        Returns:
            The codes chosen `[count, num_codebooks]`; -1 where digits are of no code.
        """
        hidden, found = self._hidden(), []
        d = self._prior.config.vector_dim
        self._vectors[:] = 0
        for k, sizes in enumerate(self._sizes[: self._num_codebooks]):
            digits: list[IntArray] = []
            body = self._layers.body(k, hidden, self._vectors)
            for j in range(len(sizes)):
                digits.append(choose(k, j, self._layers.counts(k, j, body, digits)))
            found.append(self._prior.codes[k][address_of_digits(np.stack(digits, -1), sizes)])
            self._vectors[:, k * d : (k + 1) * d] = self._prior.weights[f"stages.{k}.vectors"][found[-1]]
        self._step += 1
        return np.stack(found, -1)

    def _hidden(self) -> FloatArray:
        """What the frames so far say of the next `[count, channels]`."""
        x = self._layers.enter(self._vectors)
        for i, past in enumerate(self._past):
            place = self._step % len(past)
            before = past[place].copy()
            past[place] = x
            x = self._layers.block(i, before, x)
        return x


def counts_of(codes: IntArray, prior: Prior) -> Iterator[tuple[int, int, FloatArray]]:
    """What a prior predicts of codes that are known.

    Args:
        codes: `[K, T]`, of the first K codebooks; without a past.
        prior: what predicts.

    Yields:
        (codebook, digit, counts `[T, values]`), in the order in which a frame is predicted.
    """
    layers, d = _Layers(prior), prior.config.vector_dim
    vectors = np.zeros((codes.shape[1], len(prior.config.codebook_sizes) * d), np.float32)
    for k, row in enumerate(codes):
        vectors[:, k * d : (k + 1) * d] = prior.weights[f"stages.{k}.vectors"][row]
    x = layers.enter(_later(vectors, 1))
    for i, dilation in enumerate(prior.config.dilations):
        x = layers.block(i, _later(x, dilation), x)
    for k, row in enumerate(codes):
        digits = prior.digits[k][row]
        body = layers.body(k, x, vectors)
        for j in range(digits.shape[1]):
            yield k, j, layers.counts(k, j, body, list(digits[:, :j].T))


class _Layers:
    """The layers of a prior, for any number of frames `[N, ...]`, each for itself."""

    def __init__(self, prior: Prior) -> None:
        self._weights, self._vector_dim = prior.weights, prior.config.vector_dim

    def enter(self, vectors: FloatArray) -> FloatArray:
        """Hidden states of the code vectors of the frames before."""
        return self._linear("enter", vectors, WEIGHT_BITS)

    def block(self, i: int, before: FloatArray, x: FloatArray) -> FloatArray:
        """Block i of states `x` and of those `before`, as many frames earlier as its dilation is."""
        inner = self._sums(f"blocks.{i}.inner", np.hstack([before, x]))
        return rescale(x + self._linear(f"blocks.{i}.outer", gate(inner, WEIGHT_BITS), GATED_BITS), 0)

    def body(self, k: int, hidden: FloatArray, vectors: FloatArray) -> FloatArray:
        """What predicts codebook k, given the vectors of the codebooks before it."""
        return self._linear(f"stages.{k}.body", np.hstack([hidden, vectors[:, : k * self._vector_dim]]), WEIGHT_BITS)

    def counts(self, k: int, j: int, body: FloatArray, digits: Sequence[IntArray]) -> FloatArray:
        """Counts of digit j of codebook k, given the digits before it."""
        name = f"stages.{k}.digits.{j}"
        state = body
        for i, digit in enumerate(digits):
            state = state + self._weights[f"{name}.given.{i}"][digit]
        bias = self._weights[f"{name}.bias"]
        added: FloatArray = bias[digits[-1]] if digits else bias[0]
        return counts(product(rescale(np.maximum(state, 0), 0), self._weights[f"{name}.weight"], added), LOGIT_BITS)

    def _sums(self, name: str, x: FloatArray) -> FloatArray:
        return product(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _linear(self, name: str, x: FloatArray, shift: int) -> FloatArray:
        return rescale(self._sums(name, x), shift)


def _later(x: FloatArray, frames: int) -> FloatArray:
    """`x [T, C]` so many frames later, after zeros."""
    return np.concatenate([np.zeros((frames, x.shape[1]), x.dtype), x])[: len(x)]
