"""Files of ratings as the page's listening tests give them, read back and checked.

The format (JSON, `docs/guide/report.md`): `format`, `version`, `report` (the page that was listened to), `session` (one page
view), `rater` (may be empty), `trials`. A trial is one choice of an ABX test or one screen of a MUSHRA-style test.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from audiocodec.errors import AudioCodecError
from audiocodec.files import read_text
from audiocodec.records import from_json

FORMAT, VERSION = "audiocodec-ratings", 1
_SIDES = ("reference", "system")


@dataclass(frozen=True)
class AbxTrial:
    """Whether X, which was the reference or `system`, was told apart."""

    utterance: str
    system: str
    correct: bool


@dataclass(frozen=True)
class MushraTrial:
    """Scores, 0 to 100, of the hidden reference, the anchor (None: there was none) and systems by label."""

    utterance: str
    reference: float
    anchor: float | None
    systems: dict[str, float]


@dataclass(frozen=True)
class Session:
    """What one person did in one page view; `rater` is a name, or stands for the session."""

    path: str
    report: str
    session: str
    rater: str
    abx: list[AbxTrial]
    mushra: list[MushraTrial]


def read_ratings(paths: Sequence[str | os.PathLike[str]]) -> list[Session]:
    """Read files of ratings.

    Raises:
        AudioCodecError: naming the file and what is wrong with it; also when two files are of the same session.
    """
    sessions: dict[str, Session] = {}
    for path in paths:
        session = _read(path)
        if other := sessions.get(session.session):
            raise AudioCodecError(f"{path}: is of the same session as {other.path}; give only the later of the two")
        sessions[session.session] = session
    return list(sessions.values())


def check_ratings(
    sessions: Sequence[Session], report: str, systems: Collection[str], utterances: Collection[str]
) -> None:
    """Check that ratings are of this page.

    Args:
        sessions: what was read.
        report: identity of the page.
        systems: labels on the page.
        utterances: ids of those that can be listened to.

    Raises:
        AudioCodecError: naming the file and what is wrong with it.
    """
    for session in sessions:
        if session.report != report:
            raise AudioCodecError(
                f"{session.path}: rates report {session.report}, this one is {report}; "
                "ratings need the same evaluations, names and utterances as the page that was listened to"
            )
        named = [(trial.utterance, [trial.system]) for trial in session.abx]
        named += [(trial.utterance, list(trial.systems)) for trial in session.mushra]
        for utterance, labels in named:
            if utterance not in utterances:
                raise AudioCodecError(f"{session.path}: rates utterance {utterance!r}, which is not in the report")
            if strangers := [label for label in labels if label not in systems]:
                raise AudioCodecError(f"{session.path}: rates system {strangers[0]!r}, which is not in the report")


def _read(path: str | os.PathLike[str]) -> Session:
    try:
        content = from_json(read_text(path))
    except OSError as error:
        raise AudioCodecError(f"{path}: cannot read ratings: {error.strerror or error}") from None
    except ValueError as error:
        raise AudioCodecError(f"{path}: not a file of ratings: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise AudioCodecError(f'{path}: not a file of ratings: no "format": "{FORMAT}"')
    if content.get("version") != VERSION:
        raise AudioCodecError(f"{path}: ratings of version {content.get('version')!r}, expected {VERSION}")
    try:
        session, rater = _text(content, "session"), _text(content, "rater", empty=True).strip()
        trials = content.get("trials")
        if not isinstance(trials, list) or not trials:
            raise ValueError("trials: expected a list of at least one")
        parsed = [_trial(trial, f"trials[{index}]") for index, trial in enumerate(trials)]
        report = _text(content, "report")
    except ValueError as error:
        raise AudioCodecError(f"{path}: {error}") from None
    abx = [trial for trial in parsed if isinstance(trial, AbxTrial)]
    mushra = [trial for trial in parsed if isinstance(trial, MushraTrial)]
    return Session(str(path), report, session, rater or f"anonymous {session[:6]}", abx, mushra)


def _trial(record: Any, where: str) -> AbxTrial | MushraTrial:
    if not isinstance(record, dict) or record.get("test") not in ("abx", "mushra"):
        raise ValueError(f'{where}: expected an object with "test": "abx" or "mushra"')
    try:
        utterance = _text(record, "utterance")
        if record["test"] == "abx":
            x, answer = _side(record, "x"), _side(record, "answer")
            return AbxTrial(utterance, _text(record, "system"), x == answer)
        scores = _object(record, "scores")
        systems = _object(scores, "systems")
        anchor = None if scores.get("anchor") is None else _score(scores, "anchor")
        return MushraTrial(utterance, _score(scores, "reference"), anchor, {k: _score(systems, k) for k in systems})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _text(record: dict[str, Any], key: str, empty: bool = False) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not (value or empty):
        raise ValueError(f"{key}: expected a text, found {value!r}")
    return value


def _side(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if value not in _SIDES:
        raise ValueError(f"{key}: expected one of {', '.join(_SIDES)}, found {value!r}")
    return str(value)


def _object(record: dict[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    if isinstance(value, dict):
        return value
    raise ValueError(f"{key}: expected an object, found {value!r}")


def _score(record: dict[str, Any], key: str) -> float:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
        raise ValueError(f"{key}: expected a number from 0 to 100, found {value!r}")
    return float(value)
