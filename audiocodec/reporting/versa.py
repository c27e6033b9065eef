"""Scores by VERSA beside our own: its JSON lines, read back and checked, and their table.

A line is an object with `key`, the name of the utterance in the `wav.scp` of the estimates, and a value for each of VERSA's
measures. Numbers are kept; texts, lists, null, `NaN` and `Infinity` count as no value. Which way is better is not said
there, so nothing is ranked.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from audiocodec.errors import AudioCodecError, UsageError
from audiocodec.evaluation.summary import bootstrap_interval
from audiocodec.evaluation.summary_file import MeasureSummary
from audiocodec.files import read_text
from audiocodec.records import from_json
from audiocodec.reporting.cells import head_cell, table
from audiocodec.reporting.systems import System
from audiocodec.reporting.tables import score_cell

MAX_BYTES = 1 << 30  # of a file
KEY = "key"


@dataclass(frozen=True)
class VersaScores:
    """What VERSA says of one system: measure -> utterance -> number."""

    path: str
    values: Mapping[str, Mapping[str, float]]


def read_versa(given: Sequence[str], systems: Sequence[System]) -> dict[str, VersaScores]:
    """The scores of each system that a file is given for, by its label.

    Args:
        given: `LABEL=FILE`; of a single system `FILE` will do.
        systems: all of the report.

    Raises:
        UsageError: no such label or file, or two files for one system.
        AudioCodecError: a file that is not what VERSA writes, or of other utterances than the system's.
    """
    there = {system.label: system for system in systems}
    found: dict[str, VersaScores] = {}
    for text in given:
        label, path = _named(text, list(there))
        if label in found:
            raise UsageError(f"--versa {text}: {label} has a file already, {found[label].path}")
        if not os.path.isfile(path):
            raise UsageError(f"--versa: {path}: No such file")
        found[label] = VersaScores(path, read_scores(path, label, there[label].rows.keys()))
    return found


def versa_table(systems: Sequence[System], scores: Mapping[str, VersaScores]) -> str:
    """A line per measure, a column per system that has scores; empty without any."""
    shown = [system for system in systems if system.label in scores]
    names = dict.fromkeys(name for system in shown for name in scores[system.label].values)
    lines = []
    for name in names:
        cells = [
            score_cell(_described(scores[system.label].values.get(name)), ".4g", "", len(system.rows))
            for system in shown
        ]
        lines.append([head_cell(name), *cells])
    heads = ["measure of VERSA", *(escape(system.label) for system in shown)]
    return table("Mean, 95 % interval and median, by VERSA", heads, lines) if lines else ""


def _named(text: str, labels: Sequence[str]) -> tuple[str, str]:
    label, sign, path = text.partition("=")
    if sign and label in labels:
        return label, path
    if len(labels) == 1:
        return labels[0], text
    raise UsageError(f"--versa {text}: say LABEL=FILE; the systems are {', '.join(labels)}")


def read_scores(path: str | os.PathLike[str], label: str, ids: Collection[str]) -> dict[str, dict[str, float]]:
    """Measure -> utterance -> number, of measures that have any.

    Args:
        path: what VERSA wrote.
        label: of the system, for messages.
        ids: its utterances.

    Raises:
        AudioCodecError: as for `read_versa`.
    """
    try:
        lines = read_text(path, MAX_BYTES).splitlines()
    except (OSError, ValueError) as error:
        raise AudioCodecError(f"{path}: cannot read VERSA's scores: {error}") from None
    values: dict[str, dict[str, float]] = {}
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        key, scores = _parse(line, where)
        if key in seen:
            raise AudioCodecError(f"{where}: {key!r} was scored in line {seen[key]} already")
        if key not in ids:
            first = next(iter(ids))
            raise AudioCodecError(
                f"{where}: {key!r} is no utterance of {label}, whose names are as {first!r}; score the wav.scp that the "
                "evaluation is of, with --io soundfile"
            )
        seen[key] = number
        for name, value in scores.items():
            values.setdefault(name, {})
            if value is not None:
                values[name][key] = value
    if not seen:
        raise AudioCodecError(f"{path}: holds no scores")
    return {name: of for name, of in values.items() if of}


def _parse(line: str, where: str) -> tuple[str, dict[str, float | None]]:
    """The key of a line, and its measures; None: no number."""
    try:
        record = from_json(line, constants=True)
    except ValueError as error:
        raise AudioCodecError(f"{where}: not a line of VERSA's scores: {error}") from None
    if not isinstance(record, dict) or not isinstance(record.get(KEY), str):
        raise AudioCodecError(f'{where}: not a line of VERSA\'s scores: expected an object with a "{KEY}"')
    return record[KEY], {name: _number(value) for name, value in record.items() if name != KEY}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _described(values: Mapping[str, float] | None) -> MeasureSummary | None:
    if not values:
        return None
    numbers = list(values.values())
    return MeasureSummary(
        float(np.mean(numbers)), float(np.median(numbers)), bootstrap_interval(numbers), len(numbers), 0
    )
