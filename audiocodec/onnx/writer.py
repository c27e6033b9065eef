"""The little of ONNX's file format (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3) that our graphs need.

Written by hand so that a graph can be made where neither torch nor the package `onnx` is installed: a message is a row of
fields, each a number, a wire type and a value; messages lie in one another as bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import audiocodec

IR_VERSION = 8
OPSET = 17
VARINT, BYTES, FIXED32 = 0, 2, 5
ELEMENTS = {"float32": 1, "uint8": 2, "int8": 3, "int64": 7, "bool": 9, "float64": 11}
FLOAT, INT, STRING, INTS = 1, 2, 3, 7  # AttributeProto.AttributeType

FloatArray = npt.NDArray[np.float32]
Attribute = float | int | str | Sequence[int]
Shape = Sequence[int | str]  # a name stands for a size that may differ from call to call


class Value(NamedTuple):
    """An input or output of a graph."""

    name: str
    shape: Shape
    element: str = "float32"


class Graph:
    """Operators on named values; every method returns the name of its result."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: dict[str, bytes] = {}

    def constant(self, array: npt.NDArray[np.generic], name: str = "") -> str:
        """A tensor that is part of the file; a weight is called as in the model file."""
        name = name or f"constant_{len(self._constants)}"
        self._constants[name] = tensor(name, array)
        return name

    def number(self, value: float) -> str:
        """One float32."""
        return self.constant(np.array([value], np.float32))

    def ints(self, *values: int) -> str:
        """A row of int64: shapes, axes, ends of slices."""
        return self.constant(np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Attribute) -> str:
        """The first result of an operator; the others are called alike with `_1`, `_2` behind."""
        name = f"{kind.lower()}_{len(self._nodes)}"
        results = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self._nodes.append(node(kind, inputs, results, attributes))
        return name

    def file(self, name: str, inputs: Sequence[Value], outputs: Mapping[str, Value]) -> bytes:
        """The finished file.

        Args:
            name: of the graph.
            inputs: what it is given.
            outputs: what it gives, by the values that are put out.
        """
        ends = [node("Identity", [last], [result.name], {}) for last, result in outputs.items()]
        given, found = ([value_info(*value) for value in values] for values in (inputs, outputs.values()))
        producer = f"audiocodec {audiocodec.__version__}"
        return model(name, [*self._nodes, *ends], [*self._constants.values()], given, found, producer)


def varint(number: int) -> bytes:
    """Seven bits a byte, lowest first; negative ones as 64-bit two's complement."""
    number &= 2**64 - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: float | str | bytes) -> bytes:
    """One field of a message."""
    if isinstance(value, float):
        return varint(number << 3 | FIXED32) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return b"".join((varint(number << 3 | BYTES), varint(len(data)), data))


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Attribute]) -> bytes:
    """NodeProto; its name is that of its first output."""
    parts = [field(1, name) for name in inputs] + [field(2, name) for name in outputs]
    parts += [field(3, outputs[0]), field(4, kind)]
    parts += [field(5, _attribute(name, value)) for name, value in attributes.items()]
    return b"".join(parts)


def tensor(name: str, array: npt.NDArray[np.generic]) -> bytes:
    """TensorProto of a constant."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    dims = [field(1, size) for size in array.shape]
    return b"".join([*dims, field(2, ELEMENTS[array.dtype.name]), field(8, name), field(9, little.tobytes())])


def value_info(name: str, shape: Shape, element: str) -> bytes:
    """ValueInfoProto of an input or output."""
    dims = [field(1, field(2, size) if isinstance(size, str) else field(1, size)) for size in shape]
    kind = field(1, ELEMENTS[element]) + field(2, b"".join(dims))
    return field(1, name) + field(2, field(1, kind))


def model(
    name: str,
    nodes: Sequence[bytes],
    constants: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
    producer: str,
) -> bytes:
    """ModelProto: a whole file."""
    parts = [field(1, item) for item in nodes]
    parts += [field(2, name)]
    parts += [field(5, item) for item in constants]
    parts += [field(11, item) for item in inputs]
    parts += [field(12, item) for item in outputs]
    opset = field(1, "") + field(2, OPSET)
    return field(1, IR_VERSION) + field(2, producer) + field(7, b"".join(parts)) + field(8, opset)


def _attribute(name: str, value: Attribute) -> bytes:
    head = field(1, name)
    if isinstance(value, float):
        return head + field(2, value) + field(20, FLOAT)
    if isinstance(value, int):
        return head + field(3, value) + field(20, INT)
    if isinstance(value, str):
        return head + field(4, value) + field(20, STRING)
    return b"".join([head, *(field(8, item) for item in value), field(20, INTS)])
