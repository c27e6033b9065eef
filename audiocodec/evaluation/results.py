"""RESULTS.md from finished evaluations: first the command, then what it ran on, then the numbers.

Reads only what `evaluate` wrote, so the page can be made again at any time and is the same each time. It is also on the
command line: `audiocodec evaluate --results-md RESULTS.md [--results-command TEXT] EVAL_DIR...`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiocodec.evaluation.catalogue import MEASURES
from audiocodec.evaluation.paired import Difference, differences
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary_file import MeasureSummary, ModelSummary, Summary, read_summary
from audiocodec.files import text_bytes, write_text
from audiocodec.markdown import table

_FOOTNOTE = (
    "Means over utterances; in brackets 95 % intervals by bootstrap over utterances. "
    "What has no score is never counted as a number: `3 of 4 scored`."
)


def write_results_md(
    eval_dirs: Sequence[str | os.PathLike[str]], command: str, path: str | os.PathLike[str]
) -> list[Summary]:
    """Write the page.

    Args:
        eval_dirs: folders in which `evaluate` has finished.
        command: what a reader types to get these numbers; empty: the commands that made the folders.
        path: the file; not touched when it would stay the same.

    Returns:
        The summaries of the folders.

    Raises:
        AudioCodecError: a folder holds no finished evaluation.
    """
    summaries = [read_summary(folder) for folder in eval_dirs]
    text = results_md([_label(Path(folder)) for folder in eval_dirs], summaries, command)
    target = Path(path)
    if not target.is_file() or target.read_bytes() != text_bytes(text):
        write_text(target, text)
    return summaries


def results_md(labels: Sequence[str], summaries: Sequence[Summary], command: str) -> str:
    """The page as text.

    Args:
        labels: what to call each evaluation.
        summaries: their summaries.
        command: see `write_results_md`.
    """
    commands = [command] if command else _unique(summary.command for summary in summaries)
    lines = ["# Results", "", "```", *commands, "```", "", *_origin(summaries), "", *_scores(labels, summaries)]
    for more in (*_groups(labels, summaries), _codebooks(labels, summaries)):
        lines += ["", *more] if more else []
    return "\n".join([*lines, "", _FOOTNOTE]) + "\n"


def differences_md(rows: Mapping[str, Sequence[Row]], against: str, measures: Sequence[str]) -> str:
    """A table of paired differences: every other system minus one of them, on the utterances that both have scores for.

    Args:
        rows: of each system, by label.
        against: label of the one that the others are compared with.
        measures: what to compare.
    """
    found = differences(rows, against, measures)
    used = [measure for measure in MEASURES.values() if measure.name in measures and measure.better]
    heading = (
        f"Difference from {against} on the same utterances [95 % interval by paired bootstrap], and how often better:"
    )
    lines = [[label, *(_difference(by_name[m.name], m.decimals) for m in used)] for label, by_name in found.items()]
    return f"{heading}\n\n{table(['system', *(measure.compared_heading for measure in used)], lines)}\n"


def _difference(found: Difference, decimals: int) -> str:
    if found.mean is None or found.wins is None:
        return "-"
    text = f"{found.mean:+.{decimals}f}"
    if found.interval is not None:
        text += f" [{found.interval[0]:+.{decimals}f}, {found.interval[1]:+.{decimals}f}]"
    return f"{text}, {100 * found.wins:.0f} %" + (f" of {found.n}" if found.n_left_out else "")


def cell(measure: MeasureSummary | None, form: str, n_rows: int) -> str:
    """Mean and interval of one measure, and how many of the `n_rows` have one where that is not all of them.

    It is `-` when it was not measured.
    """
    if measure is None:
        return "-"
    if measure.mean is None:
        return f"none of {n_rows}"
    text = format(measure.mean, form)
    if measure.interval is not None:
        low, high = (format(bound, form) for bound in measure.interval)
        text += f" [{low}, {high}]"
    return text + scored_of(measure, n_rows)


def median(measure: MeasureSummary | None, form: str, n_rows: int) -> str:
    """As `cell`, of the median."""
    if measure is None or measure.median is None:
        return cell(measure, form, n_rows)
    return format(measure.median, form) + scored_of(measure, n_rows)


def scored_of(measure: MeasureSummary, n_rows: int) -> str:
    """`, 3 of 4 scored`, or nothing where all are."""
    return f", {measure.n_scored} of {n_rows} scored" if measure.n_scored < n_rows else ""


def _origin(summaries: Sequence[Summary]) -> list[str]:
    """Commit, codec and machine, each only once."""
    versions = [summary.versions for summary in summaries]
    facts = {
        "commit": _unique(found.get("commit", "unknown") for found in versions if "commit" in found),
        "configuration": _unique(_configuration(model) for s in summaries if (model := s.model) is not None),
        "codec": _unique(codec for summary in summaries for codec in summary.codecs),
        "audiocodec": _unique(found.get("audiocodec", "unknown") for found in versions),
        "torch": _unique(found.get("torch", "unknown") for found in versions),
        "machine": _unique(found.get("machine", "unknown") for found in versions),
        "warning": _unique(model.warning for s in summaries if (model := s.model) is not None and model.warning),
    }
    return [f"- {name}: {', '.join(values)}" for name, values in facts.items() if values]


def _configuration(model: ModelSummary) -> str:
    return f"{model.name} {model.config_fingerprint} (latency {model.latency_ms:.1f} ms)"


def _scores(labels: Sequence[str], summaries: Sequence[Summary]) -> list[str]:
    """A table of means and one of medians."""
    used = [measure for measure in MEASURES.values() if any(measure.name in s.measures for s in summaries)]
    tables = []
    for shown in (cell, median):
        rows = [
            [
                label,
                str(summary.n_rows),
                *(shown(summary.measures.get(m.name), f".{m.decimals}f", summary.n_rows) for m in used),
            ]
            for label, summary in zip(labels, summaries)
        ]
        tables.append(table(["evaluation", "utterances", *(measure.heading for measure in used)], rows))
    return [tables[0], "", "Medians:", "", tables[1]]


def _groups(labels: Sequence[str], summaries: Sequence[Summary]) -> Iterator[list[str]]:
    """For each column a table of means by value."""
    for column in _unique(column for summary in summaries for column in summary.groups):
        found = [(label, s.groups[column]) for label, s in zip(labels, summaries) if column in s.groups]
        used = [m for m in MEASURES.values() if any(m.name in g.measures for _, gs in found for g in gs.values())]
        rows = [
            [
                label,
                value or "-",
                str(group.n_rows),
                *(cell(group.measures.get(m.name), f".{m.decimals}f", group.n_rows) for m in used),
            ]
            for label, values in found
            for value, group in values.items()
        ]
        yield [table(["evaluation", column, "utterances", *(measure.heading for measure in used)], rows)]


def _codebooks(labels: Sequence[str], summaries: Sequence[Summary]) -> list[str]:
    rows = [
        [
            label,
            str(index),
            f"{use.codebook_size:,}",
            f"{100 * use.usage:.1f} %",
            f"{use.dead_codes:,}",
            f"{use.perplexity:.0f}",
            f"{use.entropy:.2f}",
            "-" if use.effective_dimension is None else f"{use.effective_dimension:.1f}",
            f"{use.frames:,}",
        ]
        for label, summary in zip(labels, summaries)
        for index, use in enumerate(summary.codebooks)
    ]
    used = ["entries", "used", "dead", "perplexity", "entropy, bits", "effective dimension", "frames counted"]
    return [table(["evaluation", "codebook", *used], rows)] if rows else []


def _label(folder: Path) -> str:
    """`<experiment>/<set>` for a recipe's `exp/<experiment>/eval/<set>`, else the folder as it was given."""
    parts = folder.parts
    if len(parts) >= 3 and parts[-2] == "eval":
        return f"{parts[-3]}/{parts[-1]}"
    return str(folder)


def _unique(values: Any) -> list[str]:
    return list(dict.fromkeys(values))
