"""Puts the page together: template, style, program, tables, plots, players; allowed to load nothing from outside.

The content security policy names the page's own style and program by their hashes, so nothing else can run, not even
what somebody hides in the name of an utterance.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from audiocodec.evaluation.catalogue import CODING, Measure
from audiocodec.reporting import tables
from audiocodec.reporting.about import about
from audiocodec.reporting.cells import swatch
from audiocodec.reporting.differences import differences
from audiocodec.reporting.listening import verdicts
from audiocodec.reporting.listening.clips import Example
from audiocodec.reporting.listening.players import audio_data, players
from audiocodec.reporting.listening.ratings import FORMAT, VERSION, Session
from audiocodec.reporting.plots.codebooks import usage_curves, usage_histogram
from audiocodec.reporting.plots.distributions import boxes, group_boxes, group_scores
from audiocodec.reporting.plots.scatter import scatter
from audiocodec.reporting.ranking import rank
from audiocodec.reporting.systems import System, code_counts, measures_used
from audiocodec.reporting.versa import VersaScores, versa_table

_SCRIPTS = ("page.js", "player.js", "abx.js", "mushra.js", "start.js")
MAX_GROUPS = 30


@dataclass(frozen=True)
class Content:
    """All that goes into the page: `report` is its identity, which ratings carry; `base` is what differences are from,
    `silence` why there are no examples, `versa` what VERSA says of systems, by label."""

    title: str
    report: str
    systems: list[System]
    examples: list[Example]
    sessions: list[Session]
    base: System | None = None
    silence: str = ""
    versa: Mapping[str, VersaScores] = field(default_factory=dict)


def render(content: Content) -> str:
    """The page as HTML."""
    style = _resource("page.css")
    program = '"use strict";\n(() => {\n' + "\n".join(_resource(name) for name in _SCRIPTS) + "})();\n"
    return Template(_resource("page.html")).substitute(
        policy=_policy(style, program),
        style=style,
        program=program,
        title=escape(content.title),
        about=escape(about(content.systems)),
        report=content.report,
        data=_data(content),
        sections="".join(_sections(content)),
    )


def _sections(content: Content) -> list[str]:
    systems, measures = content.systems, measures_used(content.systems)
    quality = [measure for measure in measures if measure not in CODING]
    rankings = {measure.name: rank(systems, measure) for measure in measures}
    listen = players(systems, content.examples, measures) if content.examples else f"<p>{escape(content.silence)}</p>"
    rated = any(example.systems for example in content.examples)
    parts = [
        ("scores", "Scores", _SCORES_NOTE + tables.scores(systems, measures, rankings)),
        ("versa", "Scores by VERSA", _versa(content)),
        ("differences", "Differences", _differences(systems, measures, content.base)),
        ("ratings", "Ratings", _ratings(content)),
        ("plots", "Bitrate and distributions", _chooser("plots", [(m, _plots(systems, m)) for m in measures])),
        ("listen", "Listen", (_LISTEN_NOTE if content.examples else "") + listen),
        ("abx", "Blind ABX test", _resource("abx.html") if rated else ""),
        ("mushra", "MUSHRA-style test", _resource("mushra.html") if rated else ""),
        ("groups", "Groups", _groups(systems, quality)),
        ("codebooks", "Codebooks", _codebooks(systems)),
        (
            "failures",
            "Failures",
            (tables.failures(systems) or "<p>Every utterance has every score.</p>") + tables.notes(systems),
        ),
        ("origin", "Where the numbers come from", tables.origins(systems)),
    ]
    return [f'<section id="{key}"><h2>{head}</h2>{body}</section>' for key, head, body in parts if body]


_SCORES_NOTE = (
    "<p>Means over utterances, with 95 % bootstrap intervals, and medians; <b>n</b>: of how many, where not of all. What has "
    "no score counts as failed, never as a number. Codecs are sorted by bitrate. <b>front</b>: no codec of about its bitrate (up to 10 % more) or less "
    "has a better mean on the utterances that all codecs have scores for; where no bitrate is known, <b>best</b>: the best mean of all; "
    "<b>tie</b>: a paired comparison on these utterances cannot tell it from the best of these; where 0 is best, by values without their "
    "sign. The reference itself and samples that were only resampled do not compete.</p>"
)
_VERSA_NOTE = (
    "<p>Read from the files that VERSA wrote; <b>n</b>: how many utterances have a number, where not all. Which way is "
    "better depends on the measure.</p>"
)
_DIFFERENCES_NOTE = (
    "<p>Mean of the differences on each utterance that both systems have a score for, with its 95 % interval by paired "
    "bootstrap, and how often the system is better, equal scores counted half. <b>better</b> and <b>worse</b>: the "
    "interval leaves out zero.</p>"
)
_BOX_CAPTION = "Every utterance: box of quartiles, line at the median, diamond at the mean"
_LISTEN_NOTE = (
    "<p>All clips of an utterance are equally loud (RMS) and play in step: switching keeps the position. In a player, "
    "keys <kbd>1</kbd> to <kbd>9</kbd> switch, <kbd>space</kbd> plays and pauses; click a picture to go there.</p>"
)


def _versa(content: Content) -> str:
    found = versa_table(content.systems, content.versa)
    return _VERSA_NOTE + found if found else ""


def _differences(systems: Sequence[System], measures: Sequence[Measure], base: System | None) -> str:
    found = differences(systems, measures, base) if base else ""
    return _DIFFERENCES_NOTE + found if found else ""


def _plots(systems: Sequence[System], measure: Measure) -> str:
    against = "" if measure in CODING else _plot("Mean against bitrate", scatter(systems, measure))
    return against + _plot(_BOX_CAPTION, boxes(systems, measure))


def _plot(caption: str, picture: str) -> str:
    return f'<figure class="plot"><figcaption>{caption}</figcaption>{picture}</figure>' if picture else ""


def _chooser(name: str, views: Sequence[tuple[Measure, str]]) -> str:
    """Plots of which one is shown at a time, and the list to choose from; empty without plots."""
    drawn = [(measure, picture) for measure, picture in views if picture]
    options = "".join(f'<option value="{m.name}">{escape(m.heading)}</option>' for m, _ in drawn)
    figures = "".join(f'<div class="side" data-view="{m.name}">{picture}</div>' for m, picture in drawn)
    if not drawn:
        return ""
    choice = f'<label class="chooser">Measure <select data-shows="{name}">{options}</select></label>'
    return f'<div class="views" data-views="{name}">{choice}{figures}</div>'


def _groups(systems: Sequence[System], measures: Sequence[Measure]) -> str:
    columns = dict.fromkeys(column for system in systems for column in system.summary.groups)
    parts = []
    for number, column in enumerate(columns):
        values = {value for system in systems for value in system.groups(column)}
        if len(values) > MAX_GROUPS:
            parts.append(f"<p>{escape(column)}: {len(values):,} values, too many to show.</p>")
            continue
        views = []
        for measure in measures:
            found = [group_scores(system, measure, column) for system in systems]
            if any(found):
                shown = _plot(_BOX_CAPTION, group_boxes(systems, measure, column))
                shown += tables.groups(systems, measure, column, found)
                views.append((measure, shown))
        parts.append(f"<h3>{escape(column)}</h3>{_chooser(f'group-{number}', views)}" if views else "")
    return "".join(parts)


def _codebooks(systems: Sequence[System]) -> str:
    plots, problems = "", ""
    for system in systems:
        counter, problem = code_counts(system)
        keys = "".join(f"<span>{swatch(k)}codebook {k}</span>" for k in range(len(counter.counts)))
        caption = f'<b>{escape(system.label)}</b> <span class="keys">{keys}'
        plots += _plot(f"{caption}dashed: equal use</span>", usage_curves(counter.counts))
        plots += _plot(f"{caption}</span>", usage_histogram(counter.counts))
        if problem:
            problems += f"<p>{escape(system.label)}: not all codes could be counted: {escape(problem)}</p>"
    return tables.codebooks(systems) + (f'<div class="side">{plots}</div>' if plots else "") + problems


def _ratings(content: Content) -> str:
    if not content.sessions:
        return ""
    labels = [system.label for system in content.systems]
    found = tables.abx(verdicts.abx_scores(content.sessions, labels))
    return found + tables.mushra(verdicts.mushra_scores(content.sessions, labels))


def _data(content: Content) -> str:
    """What the program reads, safe inside a script element."""
    data: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "report": content.report,
        "systems": [system.label for system in content.systems],
        "examples": audio_data(content.systems, content.examples),
    }
    return json.dumps(data, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")


def _policy(style: str, program: str) -> str:
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, program)]
    return (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _resource(name: str) -> str:
    return files("audiocodec.reporting").joinpath(name).read_text(encoding="utf-8")
