"""A graph under construction: named constants and nodes, one after another, then the bytes of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import audiocodec
from audiocodec.onnx import writer

FloatArray = npt.NDArray[np.float32]


class Value(NamedTuple):
    """An input or output of a graph."""

    name: str
    shape: writer.Shape
    element: str = "float32"


class Graph:
    """Operators on named values; every method returns the name of its result."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: dict[str, bytes] = {}

    def constant(self, array: npt.NDArray[np.generic], name: str = "") -> str:
        """A tensor that is part of the file; a weight is called as in the model file."""
        name = name or f"constant_{len(self._constants)}"
        self._constants[name] = writer.tensor(name, array)
        return name

    def number(self, value: float) -> str:
        """One float32."""
        return self.constant(np.array([value], np.float32))

    def ints(self, *values: int) -> str:
        """A row of int64: shapes, axes, ends of slices."""
        return self.constant(np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: writer.Attribute) -> str:
        """The first result of an operator; the others are called alike with `_1`, `_2` behind."""
        name = f"{kind.lower()}_{len(self._nodes)}"
        results = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self._nodes.append(writer.node(kind, inputs, results, attributes))
        return name

    def file(self, name: str, inputs: Sequence[Value], outputs: Mapping[str, Value]) -> bytes:
        """The finished file.

        Args:
            name: of the graph.
            inputs: what it is given.
            outputs: what it gives, by the values that are put out.
        """
        ends = [writer.node("Identity", [last], [result.name], {}) for last, result in outputs.items()]
        given, found = ([writer.value(*value) for value in values] for values in (inputs, outputs.values()))
        producer = f"audiocodec {audiocodec.__version__}"
        return writer.model(name, [*self._nodes, *ends], [*self._constants.values()], given, found, producer)
