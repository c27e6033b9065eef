"""Scores as plain text tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from audiocodec.cli.align import align
from audiocodec.evaluation.at_hand import at_hand
from audiocodec.evaluation.catalogue import MEASURES, METRICS
from audiocodec.evaluation.results import cell, median, scored_of

if TYPE_CHECKING:
    from audiocodec.evaluation.rows import Row
    from audiocodec.evaluation.summary_file import MeasureSummary, Summary


def per_file(rows: Iterable[Row], summary: Summary) -> str:
    """One line per utterance: seconds, every measure of the summary, the file.

    Args:
        rows: the rows.
        summary: of the same evaluation.
    """
    names = list(summary.measures)
    lines = [["id", "seconds", *(MEASURES[name].heading for name in names), "file"]]
    for row in rows:
        values = [_number(row.values.get(name), MEASURES[name].decimals) for name in names]
        lines.append([row.id, _number(row.seconds, 2), *values, row.estimate or "-"])
    return align(lines, right=range(1, len(names) + 2))


def overall(summary: Summary) -> str:
    """The summary: a line per measure, a line per codebook, the totals.

    Args:
        summary: as in summary.json.
    """
    lines = [["measure", "mean", "95 % interval", "median", "scored", "failed"]]
    for name, found in summary.measures.items():
        digits = MEASURES[name].decimals
        bounds = [_number(bound, digits) for bound in found.interval or ()]
        interval = f"{bounds[0]} to {bounds[1]}" if bounds else "-"
        numbers = [_number(found.mean, digits), interval, _number(found.median, digits)]
        lines.append([MEASURES[name].heading, *numbers, str(found.n_scored), str(found.n_failed)])
    shown = [align(lines, right=range(1, 6)), *_groups(summary), *_notes(summary), *_codebooks(summary)]
    return "\n".join([*shown, _totals(summary)])


def side_by_side(summaries: Mapping[str, Summary]) -> str:
    """A line per system: means with their intervals; below, the same of medians.

    Args:
        summaries: name of the system -> its summary.
    """
    names = [name for name in MEASURES if any(name in summary.measures for summary in summaries.values())]
    heads = ["system", "utterances", *(MEASURES[name].heading for name in names)]
    shown = []
    for show in (cell, median):
        lines = [heads]
        for label, summary in summaries.items():
            n_rows, found = summary.n_rows, summary.measures
            cells = [show(found.get(name), f".{MEASURES[name].decimals}f", n_rows) for name in names]
            lines.append([label, str(n_rows), *cells])
        shown.append(align(lines, right=[1]))
    return f"{shown[0]}\n\nmedians\n{shown[1]}"


def metrics() -> str:
    """What can be scored: a line per measure, below the word that asks for it; what runs here, how to get the rest."""
    lines = [["word", "measure", "heading", "better"]]
    for metric in METRICS:
        for number, measure in enumerate(metric.measures):
            word = metric.word if number == 0 else ""
            lines.append([word, measure.name, measure.heading, measure.better or "neither"])
    found = {metric.word: at_hand(metric) for metric in METRICS}
    named = {
        "computed by default": [metric.word for metric in METRICS if metric.default],
        "left out of `all`": [metric.word for metric in METRICS if metric.optional],
        "run here": [word for word, here in found.items() if not here.problems],
    }
    said = [f"{what}: {', '.join(words) or 'none'}" for what, words in named.items()]
    said += [f"{word} uses the weights {here.weights}" for word, here in found.items() if here.weights]
    said += [f"{word} does not run here: {'; '.join(here.problems)}" for word, here in found.items() if here.problems]
    return "\n".join([align(lines), "", *said])


def metrics_records() -> list[dict[str, Any]]:
    """The same for programs: a record per metric."""
    records = []
    for metric in METRICS:
        found = at_hand(metric)
        measures = [{"name": m.name, "heading": m.heading, "better": m.better or "neither"} for m in metric.measures]
        records.append(
            {
                "word": metric.word,
                "measures": measures,
                "default": metric.default,
                "in_all": not metric.optional,
                "installed": not found.missing,
                "extra": found.extra,
                "weights": found.weights,
                "needs_weights": metric.weights is not None,
                "runs": not found.problems,
                "problems": list(found.problems),
            }
        )
    return records


def _groups(summary: Summary) -> list[str]:
    """For each column a table: means of every measure by value."""
    names = list(summary.measures)
    shown = []
    for column, values in summary.groups.items():
        lines = [[column, "utterances", *(MEASURES[name].heading for name in names)]]
        for value, found in values.items():
            means = [_mean(found.measures[name], MEASURES[name].decimals, found.n_rows) for name in names]
            lines.append([value or "-", str(found.n_rows), *means])
        shown += ["", align(lines, right=[1]), ""]
    return shown


def _notes(summary: Summary) -> list[str]:
    return [f"{count} scored with a note: {note}" for note, count in summary.notes.items()]


def _codebooks(summary: Summary) -> list[str]:
    if summary.tokens is not None and summary.tokens.codebooks_undefined:
        return [f"codebook use undefined: {summary.tokens.codebooks_undefined}"]
    return [
        f"codebook {index}: {100 * use.usage:.1f} % of {use.codebook_size} entries used, {use.dead_codes} dead, "
        f"perplexity {use.perplexity:.0f}, entropy {use.entropy:.2f} bits, "
        + ("" if use.effective_dimension is None else f"effective dimension {use.effective_dimension:.1f}, ")
        + f"{use.frames} frames"
        for index, use in enumerate(summary.codebooks)
    ]


def _totals(summary: Summary) -> str:
    parts = [f"{summary.n_rows} utterances, {summary.seconds:.1f} s"]
    rates = summary.tokens.rates if summary.tokens is not None else {}
    if "kbps_file" in rates:
        parts.append(f"{rates['kbps_file']:.3f} kbps on disk ({rates['kbps_payload']:.3f} of codes) overall")
    if summary.model is not None:
        parts.append(f"latency {summary.model.latency_ms:.1f} ms")
    parts.append(f"{summary.n_rows_with_failures} with failures")
    return ", ".join(parts)


def _mean(measure: MeasureSummary, decimals: int, n_rows: int) -> str:
    return _number(measure.mean, decimals) + scored_of(measure, n_rows)


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else format(value, f".{decimals}f")
