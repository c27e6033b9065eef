"""Types and actions of arguments that several verbs use."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Sequence
from typing import Any

from audiocodec import model_places
from audiocodec.errors import UsageError

DEVICES = "auto, cpu, cuda or cuda:N (default: auto)"


def add_model(parser: argparse._ActionsContainer, text: str, default: str | None = model_places.DEFAULT_MODEL) -> None:
    """Declare `-m`, of which there is one.

    Args:
        text: what the model is for.
        default: what counts without the option; None: nothing does.
    """
    more = f" (default: {default})" if default else ""
    parser.add_argument("-m", "--model", action=Once, help=f"{text}: {models_text()}{more}")


def models_text() -> str:
    """What `-m` takes."""
    return (
        f"{', '.join(model_places.available())}, another of `audiocodec models`, .safetensors file, experiment folder, "
        "or org/name[@revision] on a hub"
    )


def device(text: str) -> str:
    """One of `DEVICES`."""
    if re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu, cuda or cuda:N")
    return text


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return value


def count(text: str) -> int:
    """A whole number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def minutes(text: str) -> float:
    """A number above 0."""
    value = number(text, 0.0, math.inf, "a number of minutes above 0")
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes above 0")
    return value


def seconds(text: str) -> float:
    """A number of 0 or more."""
    return number(text, 0.0, math.inf, "a number of seconds")


def share(text: str) -> float:
    """A number from 0 to 1."""
    return number(text, 0.0, 1.0, "a share from 0 to 1")


def words(text: str) -> tuple[str, ...]:
    """Words separated by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def number(text: str, low: float, high: float, what: str) -> float:
    """A number from `low` to `high`, called `what` in the error."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


class Once(argparse.Action):
    """An option of which only one makes sense: the second is refused, not silently the one that counts."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        """Store the value; exit with status 2 where there is one."""
        if getattr(namespace, self.dest) not in (None, values):
            parser.error(f"{option} is given twice, {getattr(namespace, self.dest)} and {values}; only one can be used")
        setattr(namespace, self.dest, values)


class Renamed(argparse.Action):
    """An option that has another name now: refused with it. Declare with `nargs="*"`, `const=` the new name."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{**more, "nargs": "*", "help": argparse.SUPPRESS})

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        """Exit with status 2 and the new name."""
        parser.error(f"{option} is now called {self.const}")


def refuse_existing(targets: Sequence[str], force: bool) -> None:
    """Refuse outputs that are there already.

    Raises:
        UsageError: naming the first, unless `force`.
    """
    there = [target for target in targets if os.path.exists(target)]
    if there and not force:
        raise UsageError(f"{there[0]} already exists; --force overwrites it")
