"""What the schema's types say: which keys there are, which one was meant, and text -> typed value.

YAML's own guesses are not used: it reads `1e-4` as text, `no` as False, `012` as ten and `1:30` as
ninety. The schema knows the type of every key, so the text is read as that type or refused.
"""

from __future__ import annotations

import difflib
import math
import re
import typing
from dataclasses import is_dataclass
from functools import cache
from typing import Any

from audiocodec.config.schema import Config, QuantizerConfig

# Keys that have got another name. Files of today and yesterday are read alike; only new names are written.
RENAMED_KEYS: dict[type, dict[str, str]] = {
    QuantizerConfig: {"start": "init", "stage_start": "stage_init", "codebook_start": "codebook_init"}
}
MAX_TEXT = 1 << 16  # bytes of a configuration; ours have 4,000
MAX_KEYS = 200  # of a section; each unknown one is compared with all that there are
MAX_NUMBER = 10**15
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)")
DECIMAL = re.compile(r"[-+]?([0-9]+(_[0-9]+)*(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
TEXTS = str | tuple[str, ...]  # the type of a key that takes one text or a list of them
NULLS = ("", "~", "null", "Null", "NULL")
YES_NO = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


class Mistyped(ValueError):
    """A value that is not of its key's type; the message is 'expected ..., got ...'."""


@cache
def field_types(cls: type) -> dict[str, Any]:
    """The keys of a configuration section with the type of each.

    Args:
        cls: a dataclass of `schema.py`.

    Returns:
        Field name -> resolved type, in the order of the schema.
    """
    return typing.get_type_hints(cls)


@cache
def dotted_keys(cls: type = Config, prefix: str = "") -> dict[str, Any]:
    """Every key and section below a configuration class, as dotted name -> type."""
    keys: dict[str, Any] = {}
    for name, kind in field_types(cls).items():
        keys[prefix + name] = kind
        if is_dataclass(kind):
            keys.update(dotted_keys(typing.cast(type, kind), f"{prefix}{name}."))
    return keys


def current_name(cls: type, name: str) -> str:
    """The name of a key of section `cls` today; `name` itself where it has no other."""
    return RENAMED_KEYS.get(cls, {}).get(name, name)


def unknown_key(cls: type, name: str) -> str:
    """The message for a key that a section does not have, with the name that was probably meant.

    Args:
        cls: the section's dataclass.
        name: the key as written.

    Returns:
        The message, without file, line and key.
    """
    if isinstance(getattr(Config, name, None), property):
        return "unknown key; it follows from other keys and cannot be set"
    own = list(field_types(cls))
    near = difflib.get_close_matches(name.lower(), own, n=1)
    if near:
        return f"unknown key; did you mean '{near[0]}'?"
    elsewhere = {dotted.rpartition(".")[2]: dotted for dotted in reversed(list(dotted_keys()))}
    near = difflib.get_close_matches(name.lower(), elsewhere, n=1)
    if near:
        return f"unknown key; did you mean '{elsewhere[near[0]]}'?"
    return f"unknown key; expected one of {', '.join(own)}"


def expected(kind: Any) -> str:
    """A type of the schema in words."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if kind in names:
        return names[kind]
    if is_dataclass(kind):
        return "a section of keys"
    if kind == TEXTS:
        return "text or a list such as [a, b]"
    item, _ = tuple_items(kind)
    return "a list such as " + {int: "[1, 2]", float: "[0.1, 0.2]", str: "[a, b]"}[item]


def tuple_items(kind: Any) -> tuple[Any, int | None]:
    """Item type and fixed length (None: any) of a `tuple[...]` of the schema."""
    assert typing.get_origin(kind) is tuple, kind
    args = typing.get_args(kind)
    return (args[0], None) if args[-1] is Ellipsis else (args[0], len(args))


def from_text(text: str, kind: Any, quoted: bool) -> Any:
    """Read a scalar as the type its key has.

    Args:
        text: the scalar as written, without quotes.
        kind: int, float, bool or str.
        quoted: whether it stood in quotes (then it is text and nothing else).

    Returns:
        The value.

    Raises:
        Mistyped: the text is not of that type.
    """
    if not quoted and text in NULLS:
        raise Mistyped(f"expected {expected(kind)}, got no value")
    if kind is str:
        return text
    if quoted:
        raise Mistyped(f"expected {expected(kind)}, got the text {text!r}; remove the quotes")
    if kind is bool:
        return _bool(text)
    return _int(text) if kind is int else _float(text)


def _bool(text: str) -> bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    hint = YES_NO.get(text.lower())
    raise Mistyped(f"expected true or false, got {shown(text)}" + (f"; write {hint}" if hint else ""))


def _int(text: str) -> int:
    if not INTEGER.fullmatch(text):
        hint = ""
        if DECIMAL.fullmatch(text) and math.isfinite(value := float(text)) and value == int(value) < 10**15:
            hint = f"; write {int(value)}"
        raise Mistyped(f"expected a whole number, got {shown(text)}{hint}")
    if len(text) > 100:
        raise Mistyped(f"expected a whole number, got one of {len(text)} digits")
    if abs(int(text)) >= MAX_NUMBER:
        raise Mistyped(f"expected a whole number of at most 15 digits, got {shown(text)}")
    return int(text)


def _float(text: str) -> float:
    if not DECIMAL.fullmatch(text):
        raise Mistyped(f"expected a number, got {shown(text)}")
    value = float(text)
    if not math.isfinite(value):
        raise Mistyped(f"expected a finite number, got {shown(text)}")
    if abs(value) >= MAX_NUMBER:
        raise Mistyped(f"expected a number below {MAX_NUMBER:g}, got {shown(text)}")
    return value


def shown(text: str) -> str:
    """A value as an error message quotes it: on one line, cut at 40 characters."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
