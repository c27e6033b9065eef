"""Dataclasses out of JSON, checked: a value of the wrong kind is refused with its key, never passed on."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_NAMES = {
    dict: "an object",
    tuple: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


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
        return float(value)
    found = list if kind is tuple else kind
    if not isinstance(value, found) or (found is int and isinstance(value, bool)):
        shown = repr(value) if len(repr(value)) < 40 else f"{repr(value)[:36]} ..."
        raise ValueError(f"{where or 'the value'}: expected {_NAMES[kind]}, got {shown}")
    return value


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
