"""How predictable a stream of tokens is: bits per token under an interpolated n-gram.

Witten and Bell's smoothing (Chen and Goodman 1999, section 2.6), which has nothing to tune: with `c(h w)` how often w
followed the history h in training, `c(h)` their sum over w and `t(h)` the number of different w that did,

    p(w | h) = (c(h w) + t(h) p(w | h')) / (c(h) + t(h)),

h' being h without its oldest token; p(w | h) = p(w | h') where h was never seen, and below order 1 all V tokens are
equally likely. So every token has a probability above 0 and they sum to one. At the start of a file the history is what
there is of it. Direction: fewer bits are more predictable; a token that nobody can guess takes log2(V).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from audiocodec.errors import MetricUndefined

History = tuple[int, ...]


class NGram:
    """Counts of all histories of up to `order - 1` tokens."""

    def __init__(self, order: int, vocabulary: int) -> None:
        """Start with nothing counted: every token takes log2(V) bits.

        Args:
            order: 1 looks at no history, 2 at one token, ...
            vocabulary: number of tokens V.
        """
        self.order, self.vocabulary = order, vocabulary
        self.counts: Counter[History] = Counter()  # of history and token
        self.totals: Counter[History] = Counter()  # of what followed a history
        self.kinds: Counter[History] = Counter()  # of different tokens that did

    def add(self, stream: Sequence[int]) -> None:
        """Learn from the tokens of one file `[T]`, 0 to V - 1."""
        for end in range(1, len(stream) + 1):
            for start in range(max(0, end - self.order), end):
                gram = tuple(stream[start:end])
                self.kinds[gram[:-1]] += gram not in self.counts
                self.counts[gram] += 1
                self.totals[gram[:-1]] += 1

    def probability(self, token: int, history: Sequence[int], order: int) -> float:
        """Probability of a token.

        Args:
            token: 0 to V - 1.
            history: tokens before it, oldest first, any number.
            order: to use, at most that of the counts.
        """
        found = 1 / self.vocabulary
        for length in range(min(order - 1, len(history)) + 1):
            h = tuple(history[len(history) - length :])
            if total := self.totals[h]:
                found = (self.counts[(*h, token)] + self.kinds[h] * found) / (total + self.kinds[h])
        return found

    def bits(self, streams: Iterable[Sequence[int]]) -> list[float]:
        """Bits per token of `streams`, each the tokens of one file, at order 1, 2, ...

        Raises:
            MetricUndefined: there are no tokens.
        """
        sums, count = [0.0] * self.order, 0
        for stream in streams:
            count += len(stream)
            for t, token in enumerate(stream):
                history = stream[max(0, t - self.order + 1) : t]
                for order in range(1, self.order + 1):
                    sums[order - 1] -= math.log2(self.probability(token, history, order))
        if not count:
            raise MetricUndefined("bits per token: there are no tokens")
        return [total / count for total in sums]
