"""Columns of the data set: their names, and the types of those that a source brings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

TEXTS = ("speaker", "language", "text")  # in every data set, null where the source has none
MEASURED = (
    "id",
    "codes",
    "num_frames",
    "num_samples",
    "sample_rate",
    "duration",
    "gain",
    "original_sample_rate",
    "original_channels",
    "original_num_samples",
)
OTHER = "other"  # JSON of what fits no column of the plan
KINDS = ("bool", "int64", "double", "string")
_ALIASES = {
    "speaker_id": "speaker",
    "spk": "speaker",
    "lang": "language",
    "transcription": "text",
    "transcript": "text",
    "sentence": "text",
}
_INT64 = 2**63


def renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A source's fields by the names of our columns.

    `speaker_id`, `lang`, `sentence` and the like become `speaker`, `language`, `text` where those are not there; a name
    that this data set measures itself (`duration`) gets `source_` before it.
    """
    found: dict[str, Any] = {}
    for name, value in fields.items():
        target = _ALIASES.get(name, name)
        if target != name and (target in fields or target in found):
            target = name
        found[f"source_{target}" if target in MEASURED else target] = value
    return found


def kind_of(value: object) -> str | None:
    """The type that holds a value; None: any. What is no number, truth or text is kept as JSON text."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        return "int64"
    return "double" if isinstance(value, float) else "string"


def widen(kinds: dict[str, str | None], fields: Mapping[str, Any]) -> None:
    """Make the types of columns wide enough for one more row."""
    for name, value in fields.items():
        new, old = kind_of(value), kinds.get(name)
        if old is None or new is None or old == new:
            kinds[name] = old or new
        else:
            kinds[name] = "double" if {old, new} == {"int64", "double"} else "string"


def settled(kinds: Mapping[str, str | None]) -> dict[str, str]:
    """The columns of a plan besides those of every data set, sorted; what was never there is text."""
    return {name: kinds[name] or "string" for name in sorted(kinds) if name not in TEXTS}


def fits(value: object, kind: str) -> bool:
    """Whether a column of this type holds the value as it is."""
    found = kind_of(value)
    return found is None or found == kind or (kind, found) == ("double", "int64")


def stored(value: Any, kind: str) -> Any:
    """A value as its column keeps it: text is valid Unicode, anything else in a column of text is JSON."""
    if value is None:
        return None
    if kind == "double":
        return float(value)
    if kind != "string":
        return value
    return valid_text(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    )


def valid_text(text: str) -> str:
    """`text`, in which bytes of a file name that are no UTF-8 stand as `\\xff`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")
    return text
