"""Which metrics can run here: their libraries, the weights of their models, and how to get what is missing."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from audiocodec.errors import UsageError
from audiocodec.evaluation.catalogue import Metric
from audiocodec.installing import advice

# Never imported to see whether it is there: that sets the threads of torch in the whole process to one.
_LEFT_ALONE = ("silero_vad",)


@dataclass(frozen=True)
class AtHand:
    """What a metric has here.

    Attributes:
        extra: of the package that installs its libraries; empty: it needs none.
        missing: libraries that are not installed.
        weights: what the weights of its model are called; empty: it has none of the user's choice, or they are not there.
        problems: why it cannot run, each with what to do; empty: it can.
    """

    extra: str
    missing: tuple[str, ...]
    weights: str
    problems: tuple[str, ...]


def at_hand(metric: Metric) -> AtHand:
    """What a metric has here, without importing any of its libraries."""
    missing = tuple(library for library in metric.libraries if find_spec(library.partition(".")[0]) is None)
    problems = [f"{name} is not installed; {advice(metric.extra)}" for name in missing]
    weights = ""
    try:
        weights = metric.weights() if metric.weights is not None else ""
    except UsageError as error:
        problems.append(str(error))
    return AtHand(metric.extra if metric.libraries else "", missing, weights, tuple(problems))


def missing_libraries(metrics: Iterable[Metric]) -> list[str]:
    """Why metrics cannot run here: a message for each library whose import fails, with the extra to install, and for
    weights that do not load."""
    return [problem for metric in metrics for problem in (list(_missing(metric)) or list(_unusable(metric)))]


def _missing(metric: Metric) -> Iterator[str]:
    for library in metric.libraries:
        try:
            _import(library)
        except Exception as error:  # noqa: BLE001 - a library that lacks one of its own raises what it likes
            yield f"{metric.word} needs {library} ({error}); {advice(metric.extra)}"


def _unusable(metric: Metric) -> Iterator[str]:
    try:
        if metric.weights is not None:
            metric.weights(load=True)
    except UsageError as error:
        yield f"{metric.word}: {error}"


def _import(library: str) -> None:
    if library in _LEFT_ALONE:
        if find_spec(library) is None:
            raise ModuleNotFoundError(f"No module named {library!r}")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a library about its own imports
        import_module(library)
