"""What ratings say: ABX by an exact binomial test, MUSHRA-style means after post-screening of raters.

ABX: p is the probability of at least as many correct answers by guessing (one-sided). MUSHRA: raters who rate the
hidden reference below 90 in more than 15 % of their trials are left out (ITU-R BS.1534-3, 4.1.2); the mean of the rest
has a 95 % bootstrap interval over ratings, which takes ratings of one rater as independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audiocodec.evaluation.summary import bootstrap_interval
from audiocodec.reporting.listening.ratings import MushraTrial, Session

REFERENCE_MIN, MISSES_MAX = 90.0, 0.15


@dataclass(frozen=True)
class AbxScore:
    """Answers about one system; `p` by guessing."""

    system: str
    correct: int
    total: int
    raters: int
    p: float


@dataclass(frozen=True)
class MushraScore:
    """Mean of one condition, 0 to 100, over `count` ratings."""

    condition: str
    mean: float
    interval: tuple[float, float] | None
    count: int


@dataclass(frozen=True)
class Mushra:
    """Scores of all conditions; raters that were kept, and why others were not."""

    scores: list[MushraScore]
    kept: list[str]
    excluded: dict[str, str]


def p_by_guessing(correct: int, total: int) -> float:
    """Probability of at least `correct` right answers out of `total` when each is right half of the time."""
    return math.fsum(math.comb(total, k) / 2**total for k in range(correct, total + 1))


def abx_scores(sessions: Sequence[Session], systems: Sequence[str]) -> list[AbxScore]:
    """Answers of all raters together, for each system that any was asked about."""
    scores = []
    for system in systems:
        answers = [(session.rater, t.correct) for session in sessions for t in session.abx if t.system == system]
        correct, total = sum(right for _, right in answers), len(answers)
        if total:
            raters = len({rater for rater, _ in answers})
            scores.append(AbxScore(system, correct, total, raters, p_by_guessing(correct, total)))
    return scores


def mushra_scores(sessions: Sequence[Session], systems: Sequence[str]) -> Mushra:
    """Mean ratings after post-screening; conditions are the hidden reference, the systems, the anchor."""
    by_rater: dict[str, list[MushraTrial]] = {}
    for session in sessions:
        if session.mushra:
            by_rater.setdefault(session.rater, []).extend(session.mushra)
    excluded = {rater: reason for rater, trials in by_rater.items() if (reason := _screen(trials))}
    kept = [rater for rater in by_rater if rater not in excluded]
    trials = [trial for rater in kept for trial in by_rater[rater]]
    ratings = {"hidden reference": [trial.reference for trial in trials]}
    ratings |= {system: [t.systems[system] for t in trials if system in t.systems] for system in systems}
    ratings["anchor, 3.5 kHz"] = [trial.anchor for trial in trials if trial.anchor is not None]
    return Mushra([_describe(name, values) for name, values in ratings.items() if values], kept, excluded)


def _screen(trials: Sequence[MushraTrial]) -> str:
    """Why a rater is left out; empty: kept."""
    misses = sum(trial.reference < REFERENCE_MIN for trial in trials)
    if misses <= MISSES_MAX * len(trials):
        return ""
    return f"hidden reference below {REFERENCE_MIN:g} in {misses} of {len(trials)} trials"


def _describe(condition: str, values: Sequence[float]) -> MushraScore:
    bounds = bootstrap_interval(values)
    interval = None if bounds is None else (bounds[0], bounds[1])
    return MushraScore(condition, float(np.mean(values)), interval, len(values))
