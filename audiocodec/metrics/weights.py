"""Weights that a metric needs and no package of ours brings: where they are, and which ones they are.

A variable of the environment names weights of the user's. `<VARIABLE>_SHA256`, where it is set, is what their file must
have as its SHA-256. Scores are only comparable if they come from the same weights, so rows keep a name of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from audiocodec.errors import UsageError
from audiocodec.files import sha256

_DIGITS = 12  # of a hash, enough to tell weights apart
_LOADED: set[tuple[Path, int]] = set()  # with the time of their last change


def given(variable: str) -> Path | None:
    """The path in a variable of the environment; None: it is not set.

    Raises:
        UsageError: it names nothing that is there.
    """
    path = os.environ.get(variable, "")
    if path and not os.path.exists(path):
        raise UsageError(f"{variable} names its weights, and {path} is not there")
    return Path(path) if path else None


def checked(path: Path, variable: str, expected: str = "") -> str:
    """What to call the weights in a file: its name and the first digits of its SHA-256.

    Args:
        path: the file.
        variable: of the environment that named it; `<variable>_SHA256` may say its hash.
        expected: hash that is known otherwise, hexadecimal.

    Raises:
        UsageError: it cannot be read, or has another hash.
    """
    try:
        found = _sha256(path, os.stat(path).st_mtime_ns)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the weights: {error.strerror or error}") from None
    expected = os.environ.get(f"{variable}_SHA256", "").lower() or expected
    if expected and found != expected:
        raise UsageError(f"{path}: has SHA-256 {found}, expected {expected}; these are other weights or a damaged copy")
    return f"{path.name} {found[:_DIGITS]}"


def check_they_load(path: Path, load: Callable[[str], object]) -> None:
    """Nothing, unless weights cannot be loaded: once for all utterances, before any is scored.

    Args:
        path: file or folder.
        load: takes the path; what it gives is dropped, because other processes score.

    Raises:
        UsageError: `load` raised something.
    """
    known = (path, os.stat(path).st_mtime_ns)
    if known in _LOADED:
        return
    try:
        load(str(path))
    except Exception as error:  # noqa: BLE001 - what libraries raise for damaged weights has no base class
        reason = str(error).partition(". ")[0].partition("\n")[0] or type(error).__name__
        raise UsageError(f"{path}: cannot load the weights: {reason}") from None
    _LOADED.add(known)


@lru_cache(maxsize=8)
def _sha256(path: Path, _changed: int) -> str:
    return sha256(path)
