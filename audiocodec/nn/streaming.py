"""Layers as streams: each keeps the past inputs it still needs, and nothing is computed twice.

A stream puts out a step as soon as the inputs that it depends on are there. Causal layers give a step for a step; the
others hold back what looks ahead. Put together, the outputs are those of the layer on the whole signal, for batch 1.

A layer that looks beyond a step has the methods `stream()` and `context()`; here is what they are made of.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class Stream(ABC):
    """A layer with a memory."""

    @abstractmethod
    def step(self, x: Tensor, last: bool) -> Tensor:
        """Take the next inputs and give the outputs that are now determined.

        Args:
            x: `[1, C, n]` (between the parts of a head `[1, n, C]`), `n` may be 0.
            last: nothing follows; all that is left comes out.

        Returns:
            `[1, C', m]`, `m` may be 0.
        """


@runtime_checkable
class Streamable(Protocol):
    """A layer with a streaming form of its own."""

    def stream(self) -> Stream:
        """A new stream through the layer, at the beginning of a signal."""


class Context(NamedTuple):
    """What a layer looks at beyond a step's own span, in steps at the faster of its two rates.

    Attributes:
        left, right: steps before and after.
        stride: how many of them become one, or come from one.
    """

    left: int
    right: int
    stride: int = 1


@runtime_checkable
class Contextual(Protocol):
    """A layer that looks beyond a step."""

    def context(self) -> Context:
        """How far it looks."""


def stream_of(layer: nn.Module) -> Stream:
    """A new stream through `layer`; one without a streaming form of its own treats each step for itself."""
    return layer.stream() if isinstance(layer, Streamable) else Pointwise(layer)


def chain_of(layers: Iterable[nn.Module]) -> Stream:
    """A new stream through `layers`, one after the other."""
    return Chain(stream_of(layer) for layer in layers)


class Pointwise(Stream):
    """What treats each step for itself needs no memory."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function

    def step(self, x: Tensor, last: bool) -> Tensor:
        return self._function(x)


class Chain(Stream):
    """Streams one after the other."""

    def __init__(self, parts: Iterable[Stream]) -> None:
        self._parts = list(parts)

    def step(self, x: Tensor, last: bool) -> Tensor:
        for part in self._parts:
            x = part.step(x, last)
        return x


class Skip(Stream):
    """Body plus skip path; the skip path waits for the body."""

    def __init__(self, body: Stream, skip: Stream) -> None:
        self._body, self._skip = body, skip
        self._waiting: Tensor | None = None

    def step(self, x: Tensor, last: bool) -> Tensor:
        y, skipped = self._body.step(x, last), self._skip.step(x, last)
        waiting = skipped if self._waiting is None else torch.cat([self._waiting, skipped], -1)
        self._waiting = waiting[..., y.shape[-1] :]
        return waiting[..., : y.shape[-1]] + y


class Trim:
    """Drops the first steps of a signal, and at its end what goes beyond `stride` steps per input."""

    def __init__(self, left: int, stride: int) -> None:
        self._drop, self._left_over, self._stride = left, 0, stride

    def cut(self, y: Tensor, inputs: int) -> Tensor:
        dropped = min(self._drop, y.shape[-1])
        self._drop -= dropped
        y = y[..., dropped:]
        self._left_over += inputs * self._stride
        y = y[..., : self._left_over]
        self._left_over -= y.shape[-1]
        return y
