"""JSON from outside, checked: text becomes values or a ValueError, values become dataclasses or a ValueError with the key."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

MAX_BYTES = 1 << 28  # of one JSON text
MAX_DEPTH = 50  # lists and objects within each other

_NAMES = {
    dict: "an object",
    tuple: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def from_json(text: str | bytes, *, limit: int = MAX_BYTES, constants: bool = False) -> Any:
    """A value out of JSON text that somebody else may have written.

    Args:
        text: the JSON; bytes are UTF-8.
        limit: characters or bytes that it may have.
        constants: whether `NaN` and `Infinity`, which are no JSON, are taken, as other programs write them.

    Raises:
        ValueError: it is no JSON, too long or too deep, or has a key twice. Nothing else is raised.
    """
    if len(text) > limit:
        raise ValueError(f"{len(text):,} characters of JSON, more than {limit:,}")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=float if constants else _no_constant)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [part for item in level for part in _parts(item) if isinstance(part, (dict, list))]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)


_TOO_DEEP = f"nested deeper than {MAX_DEPTH}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise ValueError(f"the key {_shown(twice)} comes twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _parts(item: Any) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()


def parse(kind: type[T], value: Any, where: str = "") -> T:
    """A value out of JSON as the type that an annotation states.

    Args:
        kind: a dataclass, or `str`, `int`, `float`, `bool`, `tuple[X, ...]`, `tuple[X, Y]`, `Mapping[str, X]`, `X | None`,
            `Any`.
        value: what `json.loads` gave.
        where: key of the value, for messages.

    Returns:
        The value, lists as tuples. A key that a dataclass does not have is left out, one that is missing has its default.

    Raises:
        ValueError: with the key, what was expected and what was found.
    """
    made: T = _parse(kind, value, where)
    return made


def _parse(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (part for part in arguments if part is not types.NoneType)
        return None if value is None else _parse(inner, value, where)
    if is_dataclass(kind):
        return _record(kind, _expect(value, dict, where), where)
    if origin in (dict, Mapping):
        return {key: _parse(arguments[1], part, _join(where, key)) for key, part in _expect(value, dict, where).items()}
    if origin is tuple:
        return _tuple(arguments, _expect(value, tuple, where), where)
    return _expect(value, kind, where)


def _record(cls: Any, value: Mapping[str, Any], where: str) -> Any:
    found = {}
    for name, (kind, required) in _fields_of(cls).items():
        if name in value:
            found[name] = _parse(kind, value[name], _join(where, name))
        elif required:
            raise ValueError(f"{_join(where, name)} is missing")
    return cls(**found)


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise ValueError(f"{where}: expected {len(kinds)} values, got {len(value)}")
    return tuple(_parse(kind, part, f"{where}[{index}]") for index, (kind, part) in enumerate(zip(kinds, value)))


def _expect(value: Any, kind: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < _LARGEST else math.inf
    found = list if kind is tuple else kind
    if not isinstance(value, found) or (found is int and isinstance(value, bool)):
        raise ValueError(f"{where or 'the value'}: expected {_NAMES[kind]}, got {_shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where or 'the value'}: expected a finite number, got {value}")
    if isinstance(value, int) and abs(value) >= _LARGEST_INT:
        raise ValueError(f"{where or 'the value'}: expected a whole number of 64 bits, got {_shown(value)}")
    return value


_LARGEST, _LARGEST_INT = 2**1023, 2**63


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:36]} ..."


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


@cache
def _fields_of(cls: Any) -> dict[str, tuple[Any, bool]]:
    """Name -> (type, whether a value is required)."""
    hints = get_type_hints(cls)
    return {
        field.name: (hints[field.name], field.default is MISSING and field.default_factory is MISSING)
        for field in fields(cls)
        if field.init
    }
