"""Paired differences: every system minus one of them, on the utterances that both have scores for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audiocodec.errors import ReportError
from audiocodec.evaluation.catalogue import CODING, NEITHER, Measure
from audiocodec.evaluation.paired import Difference, difference
from audiocodec.reporting.cells import bracketed, cell, difference_head, name_cell, table
from audiocodec.reporting.ranking import differs
from audiocodec.reporting.systems import System


def base_of(systems: Sequence[System], against: str | None, folder: Path | None = None) -> System | None:
    """The system that the others are compared with.

    Args:
        systems: all of the report.
        against: its label; None: the one in `folder`.
        folder: None: the first codec.

    Returns:
        None where there is no codec.

    Raises:
        ReportError: no system is called that.
    """
    if against is None and folder is not None:
        return next(system for system in systems if system.folder == folder)
    if against is None:
        return next((system for system in systems if system.competes), None)
    found = next((system for system in systems if system.label == against), None)
    if found is None:
        there = ", ".join(system.label for system in systems)
        raise ReportError(f"--against {against}: no such system; there are {there}")
    return found


def differences(systems: Sequence[System], measures: Sequence[Measure], base: System) -> str:
    """A line for each other system, a column for each measure that has a better side; empty without any.

    Args:
        systems: all of the report.
        measures: what to compare; costs (bitrate, time) are left out.
        base: what the others are compared with.
    """
    used = [measure for measure in measures if measure.better != NEITHER and measure not in CODING]
    others = [(index, system) for index, system in enumerate(systems) if system is not base]
    if not used or not others:
        return ""
    lines = []
    for index, system in others:
        found = [difference(system.rows.values(), base.rows.values(), measure.name) for measure in used]
        lines.append([name_cell(index, system.label), *(_cell(one, m) for one, m in zip(found, used))])
    heads = ["system", *(difference_head(measure) for measure in used)]
    return table(f"Difference from {base.label}", heads, lines, "sortable")


def _cell(found: Difference, measure: Measure) -> str:
    if found.mean is None or found.wins is None:
        return cell("\u2013")
    form = f"+.{measure.decimals}f"
    text = f"<b>{found.mean:{form}}</b>{_verdict(found, measure)}"
    if found.interval is not None:
        text += f" <small>{bracketed(found.interval, form)}</small>"
    of = f" of {found.n}" if found.n_left_out else ""
    text += f" <small>better on {100 * found.wins:.0f} %{of}</small>"
    return cell(text, found.mean)


def _verdict(found: Difference, measure: Measure) -> str:
    if found.mean is None or not differs(found):
        return ""
    verdict = "better" if (found.mean < 0) == measure.less_is_better else "worse"
    return f' <span class="mark {verdict}">{verdict}</span>'
