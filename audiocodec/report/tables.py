"""The page's tables as HTML: systems, codebooks, groups, failures, ratings, and where each number comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from audiocodec.evaluation.catalogue import CODING, HIGHER, LOWER, Measure
from audiocodec.report.distributions import GroupScore
from audiocodec.report.listening import AbxScore, Mushra
from audiocodec.report.ranking import BEST, Ranking
from audiocodec.report.systems import System

MAX_IDS = 20
_ARROWS = {HIGHER: "higher is better", LOWER: "lower is better"}


def table(caption: str, heads: Sequence[str], lines: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls inside itself where the window is narrow.

    Args:
        caption: plain text.
        heads: HTML of the column heads.
        lines: HTML of the cells, each a whole `<td>` or `<th>`.
        kind: class.
    """
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in lines)
    inside = f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    label = escape(caption, quote=True)
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="{kind}">{inside}</table></div>'


def scores(systems: Sequence[System], measures: Sequence[Measure], rankings: Mapping[str, Ranking]) -> str:
    """A line per system, a column per measure; columns can be sorted."""
    heads = ["system", "utterances"]
    heads += [f"{escape(m.heading)}<small>{_direction(m)}</small>" for m in measures]
    lines = []
    for index, system in enumerate(systems):
        cells = [_name(index, system.label), _td(str(system.summary["n_rows"]), system.summary["n_rows"])]
        for measure in measures:
            mark = rankings[measure.name].marks.get(system.label, "")
            cells.append(_score_cell(system.described(measure), f".{measure.decimals}f", mark))
        lines.append(cells)
    return table("Mean and 95 % interval per system", heads, lines, "sortable")


def codebooks(systems: Sequence[System]) -> str:
    """A line per codebook of every system; empty when there are none."""
    lines = [
        [
            _name(number, system.label),
            _td(str(index)),
            _td(f"{use['codebook_size']:,}"),
            _td(f"{100 * use['usage']:.1f} %"),
            _td(f"{use['dead_codes']:,}"),
            _td(f"{use['perplexity']:.0f}"),
            _td(f"{use['entropy']:.2f}"),
            _td(f"{use['frames']:,}"),
        ]
        for number, system in enumerate(systems)
        for index, use in enumerate(system.summary.get("tokens", {}).get("codebooks", []))
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
            cells = [_words(reason), _td(str(len(ids))), _words(", ".join(measures)), _words(shown)]
            lines.append([_name(index, system.label), *cells])
    return (
        table("What has no score, and why", ["system", "reason", "count", "measures", "utterances"], lines)
        if lines
        else ""
    )


def notes(systems: Sequence[System]) -> str:
    """A line per system and oddity of pairs that were scored all the same; empty when there are none."""
    lines = [
        [_name(index, system.label), _words(note), _td(str(count))]
        for index, system in enumerate(systems)
        for note, count in system.summary.get("notes", {}).items()
    ]
    return table("Oddities of pairs that were scored", ["system", "scored, but", "count"], lines) if lines else ""


def abx(found: Sequence[AbxScore]) -> str:
    """A line per system that raters compared with the reference; empty when there are none."""
    lines = [
        [
            _head(s.system),
            _td(f"{s.correct} of {s.total}"),
            _td(f"{100 * s.correct / s.total:.0f} %"),
            _td(_p(s.p)),
            _td(str(s.raters)),
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
        interval = "" if score.interval is None else f" {_interval(score.interval, '.1f')}"
        lines.append([_head(score.condition), _td(f"{score.mean:.1f}{interval}"), _td(str(score.count))])
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
    facts = dict(system.summary["versions"])
    facts |= {"codec": ", ".join(system.summary.get("tokens", {}).get("codecs", []))}
    facts["utterances"] = f"{len(system.rows):,}, {system.summary.get('seconds', 0.0):.1f} s"
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(str(v))}</dd></div>" for k, v in facts.items() if v)
    command = escape(system.summary["command"] or "not written down")
    return f"<details><summary>{swatch(index)}{escape(system.label)}</summary><pre>{command}</pre><dl>{items}</dl></details>"


def swatch(index: int) -> str:
    """A spot in the colour of a system."""
    return f'<span class="swatch b{index % 8}" aria-hidden="true"></span>'


def _score_cell(found: dict[str, Any] | None, form: str, mark: str) -> str:
    if found is None:
        return _td("\u2013")
    mean = found["mean"]
    interval = ""
    text = "none" if mean is None else f"<b>{mean:{form}}</b>"
    if found["interval"] is not None:
        interval = f" <small>{_interval(found['interval'], form)}</small>"
    if mark:
        text += f' <span class="mark {mark}">{"best" if mark == BEST else "tie"}</span>'
    text += interval
    if found["n_failed"]:
        text += f' <span class="failed">{found["n_failed"]} failed</span>'
    return _td(text, mean)


def _group_cell(score: GroupScore | None, form: str) -> str:
    if score is None:
        return _td("\u2013")
    interval = "" if score.interval is None else f"{_interval(score.interval, form)}, "
    return _td(f"<b>{score.mean:{form}}</b> <small>{interval}n = {score.count}</small>")


def _interval(bounds: Sequence[float], form: str) -> str:
    return f"[{bounds[0]:{form}}, {bounds[1]:{form}}]"


def _direction(measure: Measure) -> str:
    return "" if measure in CODING else _ARROWS.get(measure.better, "")


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "&lt; 0.001"


def _name(index: int, label: str) -> str:
    return f'<th scope="row" data-value="{escape(label, quote=True)}">{swatch(index)}{escape(label)}</th>'


def _head(label: str) -> str:
    return f'<th scope="row">{escape(label)}</th>'


def _td(content: str, value: float | None = None) -> str:
    return f"<td>{content}</td>" if value is None else f'<td data-value="{value!r}">{content}</td>'


def _words(content: str) -> str:
    return f'<td class="words">{escape(content)}</td>'
