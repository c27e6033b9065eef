"""Two systems on the same utterances: the paired bootstrap.

Utterances differ more from each other than systems do. What is resampled is therefore the difference on each utterance
that both have a score for: its interval is much narrower than those of the two means, and a system is better where the
interval leaves out zero.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from audiocodec.errors import ReportError
from audiocodec.evaluation.catalogue import MEASURES
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary import bootstrap_interval


@dataclass(frozen=True)
class Difference:
    """How one system differs from another in one measure.

    Attributes:
        measure: its name.
        n: utterances that both have a value for.
        n_left_out: utterances that only one of them has, or only one has a value for.
        mean: of the differences, first minus second, of values without their signs where 0 is best; None without
            utterances.
        interval: of that mean, 95 %; None for fewer than two.
        wins: share of utterances on which the first is better; None where the measure has no better direction.
    """

    measure: str
    n: int
    n_left_out: int
    mean: float | None
    interval: tuple[float, float] | None
    wins: float | None


def difference(first: Iterable[Row], second: Iterable[Row], measure: str) -> Difference:
    """Compare two evaluations of the same utterances; ties count half a win.

    Args:
        first: rows of a system.
        second: rows of the one that it is compared with.
        measure: a key of `catalogue.MEASURES`.

    Raises:
        ReportError: an utterance of theirs has another reference: equal names, but not the same utterances.
    """
    first, second = list(first), list(second)
    check_references({"the first evaluation": first, "the second": second})
    kind = MEASURES[measure]
    ours, theirs = (
        {row.id: kind.compared(row.values[measure]) for row in rows if measure in row.values}
        for rows in (first, second)
    )
    common = sorted(ours.keys() & theirs.keys())
    differences = np.array([ours[name] - theirs[name] for name in common])
    signs = np.sign(-differences if kind.less_is_better else differences)
    return Difference(
        measure=measure,
        n=len(common),
        n_left_out=len(ours.keys() ^ theirs.keys()),
        mean=float(differences.mean()) if common else None,
        interval=bootstrap_interval(differences.tolist()),
        wins=float((signs + 1).mean() / 2) if common and kind.better else None,
    )


def differences(
    rows: Mapping[str, Sequence[Row]], against: str, measures: Collection[str]
) -> dict[str, dict[str, Difference]]:
    """Every other system minus one of them: label -> measure -> difference.

    Args:
        rows: of each system, by label.
        against: label of the one that the others are compared with.
        measures: what to compare; those of which neither side is better are left out.

    Raises:
        ReportError: as for `difference`.
    """
    used = [measure.name for measure in MEASURES.values() if measure.name in measures and measure.better]
    return {
        label: {name: difference(others, rows[against], name) for name in used}
        for label, others in rows.items()
        if label != against
    }


def check_references(systems: Mapping[str, Iterable[Row]]) -> None:
    """Refuse what was scored against different originals, or with different weights of the user's; rows without a hash are
    of older evaluations.

    Args:
        systems: rows by what each system is called.

    Raises:
        ReportError: two of them have different originals for an utterance, or a measure of them different weights.
    """
    systems = {label: list(rows) for label, rows in systems.items()}
    _check_weights(systems)
    first: dict[str, tuple[str, Row]] = {}
    for label, rows in systems.items():
        for row in rows:
            if not row.reference_hash:
                continue
            other, known = first.setdefault(row.id, (label, row))
            if row.reference_hash != known.reference_hash:
                raise ReportError(
                    f"{row.id}: {other} and {label} were scored against different references ({known.reference}, "
                    f"{row.reference}); only systems scored against the same originals can be compared"
                )


def _check_weights(systems: Mapping[str, Iterable[Row]]) -> None:
    first: dict[str, tuple[str, str]] = {}
    for label, rows in systems.items():
        for measure, used in ((measure, used) for row in rows for measure, used in row.weights.items()):
            other, known = first.setdefault(measure, (label, used))
            if used != known:
                raise ReportError(
                    f"{measure}: {other} was scored with {known} and {label} with {used}; score both with the same weights "
                    "(evaluate --resume computes only that measure)"
                )
