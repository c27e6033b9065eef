"""Damage: bytes and JSON, changed at random but for a seed. Needs nothing but Python."""

from __future__ import annotations

import json
from random import Random
from typing import Any

DEEP = "[" * 3000 + "]" * 3000
# What stands in place of a value of JSON; texts are put in as they are.
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 63, 65, 3.5, -0.0, 1e-320, 1e300, 2**31, 2**32, 2**63, -(2**63), 10**18, 10**40),
    *(
        "",
        "x",
        "nan",
        "../../etc/passwd",
        "/dev/zero",
        "\0",
        "\x1b]0;x\x07",
        "\ud800",
        "9" * 5000,
        "{",
        "istft",
        "seanet",
    ),
    *([], {}, [None], [[1]], [1e400], {"a": {}}, [1] * 100, ["x"] * 40),
)
_RAW = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "9" * 5000,
    DEEP,
    "[" * 100_000,
    '{"a": 1, "a": 2}',
    "",
    "{",
    '"',
    "\\u0000",
)
_INTERESTING = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_MARK = "\u2603 raw"


def damage(data: bytes, random: Random) -> bytes:
    """Bytes with one to four places changed."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        _CHANGES[random.randrange(len(_CHANGES))](changed, random)
    return bytes(changed)


def damage_json(text: str, random: Random) -> str:
    """JSON with one to three values changed, left out or added; now and then no JSON any more."""
    value = json.loads(text)
    raws = []
    for _ in range(random.choice((1, 1, 2, 3))):
        value, raw = _changed(value, random)
        raws += [raw] if raw is not None else []
    made = json.dumps(value)
    for raw in raws:
        made = made.replace(json.dumps(_MARK), raw, 1)
    return made


def damage_lines(text: str, random: Random) -> str:
    """JSON lines with one of them changed, or bytes of them."""
    if random.random() < 0.3:
        return damage(text.encode("utf-8", "surrogatepass"), random).decode("utf-8", "replace")
    lines = text.splitlines()
    at = random.randrange(len(lines))
    lines[at] = damage_json(lines[at], random)
    return "\n".join(lines) + random.choice(("", "\n"))


def _changed(value: Any, random: Random) -> tuple[Any, str | None]:
    """The value with one of its parts changed, and text to be put in for `_MARK`."""
    places = list(_places(value))
    if not places or random.random() < 0.05:
        return _new(random)
    box, key = places[random.randrange(len(places))]
    action = random.random()
    if action < 0.2:
        del box[key]
        return value, None
    if action < 0.3 and isinstance(box, dict):
        box[random.choice(("extends", "x", "format", key + "_"))] = box[key]
        return value, None
    box[key], raw = _new(random)
    return value, raw


def _new(random: Random) -> tuple[Any, str | None]:
    if random.random() < 0.25:
        return _MARK, _RAW[random.randrange(len(_RAW))]
    return json.loads(json.dumps(_VALUES[random.randrange(len(_VALUES))])), None


def _places(value: Any) -> Any:
    """(container, key) of every part of a value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in list(parts):
        yield value, key
        yield from _places(part)


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _cut(data: bytearray, random: Random) -> None:
    del data[random.randrange(len(data) + 1) :]


def _insert(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.randbytes(random.choice((1, 2, 4, 64)))


def _repeat(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = data[at : at + random.choice((1, 8, 64, 1024))] * random.choice((1, 2, 50))


def _remove(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    del data[at : at + random.choice((1, 2, 4, 16, 200))]


def _number(data: bytearray, random: Random) -> None:
    """An integer of a header, most of which are near its beginning."""
    size, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    at = random.randrange(max(1, min(len(data), random.choice((16, 80, 400)))))
    number = random.choice(_INTERESTING) % (1 << 8 * size)
    data[at : at + size] = number.to_bytes(size, order)  # type: ignore[arg-type]


def _text(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    data[at : at + random.choice((0, 1, 8))] = random.choice(
        (b"\0", b"\n", b"|", b"-", b"..", b"\xff", b" ", b"\x1b[2J", b"9" * 5000)
    )


_CHANGES = (_flip, _flip, _cut, _insert, _repeat, _remove, _number, _number, _text)
