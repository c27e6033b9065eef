"""The page's tables as HTML: systems, codebooks, groups, failures, ratings, and where each number comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from audiocodec.evaluation.catalogue import Measure
from audiocodec.evaluation.summary_file import MeasureSummary
from audiocodec.reporting.cells import bracketed, cell, head_cell, measure_head, name_cell, swatch, table, words_cell
from audiocodec.reporting.listening.verdicts import AbxScore, Mushra
from audiocodec.reporting.plots.distributions import GroupScore
from audiocodec.reporting.ranking import Ranking
from audiocodec.reporting.systems import System

MAX_IDS = 20


def scores(systems: Sequence[System], measures: Sequence[Measure], rankings: Mapping[str, Ranking]) -> str:
    """A line per system, a column per measure; columns can be sorted."""
    heads = ["system", "utterances"]
    heads += [measure_head(measure) for measure in measures]
    lines = []
    for index, system in enumerate(systems):
        cells = [name_cell(index, system.label), cell(str(len(system.rows)), len(system.rows))]
        for measure in measures:
            mark = rankings[measure.name].marks.get(system.label, "")
            cells.append(score_cell(system.described(measure), f".{measure.decimals}f", mark, len(system.rows)))
        lines.append(cells)
    return table("Mean, 95 % interval and median per system", heads, lines, "sortable")


def codebooks(systems: Sequence[System]) -> str:
    """A line per codebook of every system; empty when there are none."""
    lines = [
        [
            name_cell(number, system.label),
            cell(str(index)),
            cell(f"{use.codebook_size:,}"),
            cell(f"{100 * use.usage:.1f} %"),
            cell(f"{use.dead_codes:,}"),
            cell(f"{use.perplexity:.0f}"),
            cell(f"{use.entropy:.2f}"),
            cell(f"{use.frames:,}"),
        ]
        for number, system in enumerate(systems)
        for index, use in enumerate(system.summary.codebooks)
    ]
    heads = ["system", "codebook", "entries", "used", "dead", "perplexity", "entropy, bits", "codes counted"]
    return table("Codebook use", heads, lines) if lines else ""


def groups(systems: Sequence[System], measure: Measure, column: str, found: Sequence[Mapping[str, GroupScore]]) -> str:
    """A line per group, a column per system."""
    names = sorted({group for part in found for group in part})
    form = f".{measure.decimals}f"
    lines = [
        [f'<th scope="row">{escape(name)}</th>', *(_group_cell(part.get(name), form) for part in found)]
        for name in names
    ]
    return table(f"{measure.heading} by {column}", [escape(column), *(escape(s.label) for s in systems)], lines)


def failures(systems: Sequence[System]) -> str:
    """A line per system and reason; empty when nothing failed."""
    lines = []
    for index, system in enumerate(systems):
        found: dict[str, tuple[dict[str, None], dict[str, None]]] = {}  # reason -> (ids, measures), in order
        for row in system.rows.values():
            for measure, reason in row.failures.items():
                ids, measures = found.setdefault(reason, ({}, {}))
                ids[row.id] = measures[measure] = None
        for reason, (ids, measures) in sorted(found.items(), key=lambda item: -len(item[1][0])):
            shown = ", ".join(list(ids)[:MAX_IDS]) + (f" and {len(ids) - MAX_IDS:,} more" if len(ids) > MAX_IDS else "")
            cells = [words_cell(reason), cell(str(len(ids))), words_cell(", ".join(measures)), words_cell(shown)]
            lines.append([name_cell(index, system.label), *cells])
    return (
        table("What has no score, and why", ["system", "reason", "count", "measures", "utterances"], lines)
        if lines
        else ""
    )


def notes(systems: Sequence[System]) -> str:
    """A line per system and oddity of pairs that were scored all the same; empty when there are none."""
    lines = [
        [name_cell(index, system.label), words_cell(note), cell(str(count))]
        for index, system in enumerate(systems)
        for note, count in system.summary.notes.items()
    ]
    return table("Oddities of pairs that were scored", ["system", "scored, but", "count"], lines) if lines else ""


def abx(found: Sequence[AbxScore]) -> str:
    """A line per system that raters compared with the reference; empty when there are none."""
    lines = [
        [
            head_cell(s.system),
            cell(f"{s.correct} of {s.total}"),
            cell(f"{100 * s.correct / s.total:.0f} %"),
            cell(_p(s.p)),
            cell(str(s.raters)),
        ]
        for s in found
    ]
    return (
        table("Blind ABX against the reference", ["system", "correct", "share", "p by guessing", "raters"], lines)
        if lines
        else ""
    )


def mushra(found: Mushra) -> str:
    """Means per condition, and raters that were left out; empty without ratings."""
    lines = []
    for score in sorted(found.scores, key=lambda s: -s.mean):
        interval = "" if score.interval is None else f" {bracketed(score.interval, '.1f')}"
        lines.append([head_cell(score.condition), cell(f"{score.mean:.1f}{interval}"), cell(str(score.count))])
    heads = ["condition", "mean, 0 to 100", "ratings"]
    text = table(f"MUSHRA-style scores of {len(found.kept)} raters", heads, lines) if lines else ""
    if found.excluded:
        items = "".join(f"<li>{escape(rater)}: {escape(reason)}</li>" for rater, reason in found.excluded.items())
        text += f"<p>Left out by post-screening (ITU-R BS.1534-3):</p><ul>{items}</ul>"
    return text


def origins(systems: Sequence[System]) -> str:
    """Command and versions of each system."""
    return "".join(_origin(index, system) for index, system in enumerate(systems))


def _origin(index: int, system: System) -> str:
    facts = dict(system.summary.versions)
    facts |= {"codec": ", ".join(system.summary.codecs)}
    facts["utterances"] = f"{len(system.rows):,}, {system.summary.seconds:.1f} s"
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(str(v))}</dd></div>" for k, v in facts.items() if v)
    command = escape(system.summary.command or "not written down")
    return f"<details><summary>{swatch(index)}{escape(system.label)}</summary><pre>{command}</pre><dl>{items}</dl></details>"


def score_cell(found: MeasureSummary | None, form: str, mark: str, total: int) -> str:
    """Mean, mark, interval, median, and how many of the `total` utterances they are of, where not of all."""
    if found is None:
        return cell("\u2013")
    mean = found.mean
    text = "none" if mean is None else f"<b>{mean:{form}}</b>"
    if mark:
        text += f' <span class="mark {mark}">{mark}</span>'
    if found.interval is not None:
        text += f" <small>{bracketed(found.interval, form)}</small>"
    if found.median is not None:
        text += f" <small>median {found.median:{form}}</small>"
    if 0 < found.n_scored < total:
        text += f" <small>n = {found.n_scored}</small>"
    if found.n_failed:
        text += f' <span class="failed">{found.n_failed} failed</span>'
    return cell(text, mean)


def _group_cell(score: GroupScore | None, form: str) -> str:
    if score is None:
        return cell("\u2013")
    interval = "" if score.interval is None else f"{bracketed(score.interval, form)}, "
    return cell(f"<b>{score.mean:{form}}</b> <small>{interval}n = {score.count}</small>")


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "&lt; 0.001"
