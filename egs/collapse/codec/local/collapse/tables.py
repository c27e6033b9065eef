"""The results page: three tables in markdown, and what one has to know to read them."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from statistics import fmean

from audiocodec.evaluation.summary_file import MeasureSummary
from audiocodec.markdown import table
from collapse.outcomes import Outcome

MEASURES = {"pesq": ("PESQ", ".3f"), "stoi": ("STOI", ".3f"), "mel_distance": ("mel distance, dB", ".2f")}
_USE = ["usage, %", "perplexity", "effective dimension"]
_SCORES = [heading for heading, _ in MEASURES.values()]

NOTES = """\
One codebook unless the size says more; of several, each stage from the first to the last. Usage: share of the codes that occur
among the {frames} frames that were counted{ceiling}. Effective dimension: participation ratio of what a stage puts out, in the
last training batches. Scores: means over {utterances} utterances. FSQ takes products of levels: 1,000, 8,000 and 64,000 stand for
1,024, 8,192 and 65,536."""

PROBED = """\
Share of the tokens that change, in %, when the audio is shifted by part of a hop, made softer or louder, or given white noise,
and bits per token under an n-gram (the best of orders 1 to 3) and a small transformer; of several codebooks, the mean.
`audiocodec probe` says more. `-`: not measured."""

STARTED = """\
Each row trains an encoder and decoder of its own from the first step, for fewer steps than the rows above. Different codes and
errors: in the last training batches."""


def page(command: str, facts: Sequence[str], outcomes: Sequence[Outcome], plots: Sequence[str]) -> str:
    """The whole page.

    Args:
        command: what a reader types to get it.
        facts: lines on what it was made with.
        outcomes: of all runs.
        plots: names of pictures beside the page.
    """
    parts = [
        "# Results",
        f"```\n{command}\n```",
        "\n".join(f"- {fact}" for fact in facts),
        "## Table 1: quantizers",
        table_1([o for o in outcomes if 1 in o.run.row.tables]),
        "## Table 2: codebook size",
        "Usage in %, mel distance in dB.",
        table_2([o for o in outcomes if 2 in o.run.row.tables]),
        "## Table 3: what is trained",
        table_3([o for o in outcomes if 3 in o.run.row.tables]),
        "## Table 4: stability and predictability of the tokens",
        PROBED,
        table_4([o for o in outcomes if not o.reason and 5 not in o.run.row.tables]),
        "## Table 5: how residual SimVQ is started",
        STARTED,
        table_5([o for o in outcomes if 5 in o.run.row.tables]),
        _notes([o for o in outcomes if not o.reason]),
        *(f"![{name.partition('.')[0]} against steps]({name})" for name in plots),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table_1(outcomes: Sequence[Outcome]) -> str:
    """Every run with all that was measured."""
    lines = [
        [o.run.row.label, _dimension(o), _size(o), *_use(o), *_scores(o)]
        if not o.reason
        else [o.run.row.label, _dimension(o), _size(o), *_failed(o, 6)]
        for o in outcomes
    ]
    return table(["method", "latent dimension", "codebook size", *_USE, *_SCORES], lines)


def table_2(outcomes: Sequence[Outcome]) -> str:
    """A row for each quantizer, a column for each size."""
    sizes = sorted({o.run.size for o in outcomes})
    labels = dict.fromkeys(o.run.row.label for o in outcomes)
    cells = {(o.run.row.label, o.run.size): _sweep(o) for o in outcomes}
    lines = [[label, *(cells.get((label, size), "") for size in sizes)] for label in labels]
    return table(["method", *(f"{size:,}" for size in sizes)], lines)


def table_3(outcomes: Sequence[Outcome]) -> str:
    """What the codebook is drawn from and what is trained."""
    lines = []
    for o in outcomes:
        q = o.quantizer
        how = (
            [
                {"gaussian": "Gaussian"}.get(q.distribution, q.distribution),
                "trained" if q.train_codebook else "frozen",
                "trained" if q.train_map else "frozen",
            ]
            if q is not None
            else ["", "", ""]
        )
        rest = _failed(o, 6) if o.reason else [*_use(o), *_scores(o)]
        lines.append([o.run.row.label, *how, _size(o), *rest])
    return table(["row", "drawn from", "codebook", "W", "codebook size", *_USE, *_SCORES], lines)


def table_4(outcomes: Sequence[Outcome]) -> str:
    """How many tokens change when the audio hardly does, and how well they can be guessed."""
    changes = list(dict.fromkeys(change["name"] for o in outcomes for change in o.probe["stability"]))
    head = ["method", "codebook size", *changes, "bits if unknown", "n-gram", "transformer"]
    return table(head, [[o.run.row.label, _size(o), *_changed(o, changes), *_bits(o)] for o in outcomes])


def table_5(outcomes: Sequence[Outcome]) -> str:
    """What residual SimVQ needs to start well, from the first step on."""
    head = ["row", "usage, %", "different codes per frame", "relative error after each stage", *_SCORES]
    lines = [
        [o.run.row.label, *_failed(o, 6)]
        if o.reason
        else [o.run.row.label, _use(o)[0], _joined(o.different, ".2f"), _joined(o.errors, ".3f"), *_scores(o)]
        for o in outcomes
    ]
    return table(head, lines)


def _joined(values: Sequence[float], form: str) -> str:
    return " / ".join(format(value, form) for value in values)


def _changed(o: Outcome, changes: Sequence[str]) -> list[str]:
    shares = {change["name"]: _percent(fmean(change["changed"])) for change in o.probe["stability"]}
    return [shares.get(name, "-") for name in changes]


def _bits(o: Outcome) -> list[str]:
    assert o.quantizer is not None
    known = o.probe.get("predictability", {"ngram": [], "transformer": None})
    ngram = f"{fmean(min(bits) for bits in known['ngram']):.2f}" if known["ngram"] else "-"
    transformer = f"{fmean(known['transformer']):.2f}" if known["transformer"] else "-"
    return [f"{log2(o.quantizer.codebook_size):.2f}", ngram, transformer]


def _notes(done: Sequence[Outcome]) -> str:
    frames = sorted({use.frames for o in done for use in o.use})
    utterances = sorted({measure.n_scored + measure.n_failed for o in done for measure in o.measures.values()})
    if not frames or not utterances:
        return ""
    largest = max(o.run.size for o in done)
    ceiling = f", of {largest:,} codes {_percent(frames[0] / largest)} % at most" if frames[0] < largest else ""
    counted = (" to ".join(f"{n:,}" for n in dict.fromkeys((ns[0], ns[-1]))) for ns in (frames, utterances))
    return NOTES.format(frames=next(counted), utterances=next(counted), ceiling=ceiling)


def _dimension(o: Outcome) -> str:
    return "" if o.quantizer is None else str(o.dimension)


def _size(o: Outcome) -> str:
    if o.quantizer is None:
        return f"{o.run.size:,}"
    size = f"{o.quantizer.codebook_size:,}"
    return size if o.quantizer.num_codebooks == 1 else f"{o.quantizer.num_codebooks} x {size}"


def _use(o: Outcome) -> list[str]:
    usage = " / ".join(_percent(use.usage) for use in o.use)
    perplexity = " / ".join(f"{use.perplexity:,.0f}" for use in o.use)
    return [usage, perplexity, _joined(o.effective, ".1f")]


def _scores(o: Outcome) -> list[str]:
    return [_score(o.measures.get(name), form) for name, (_, form) in MEASURES.items()]


def _score(measure: MeasureSummary | None, form: str) -> str:
    if measure is None:
        return ""
    text = "none" if measure.mean is None else format(measure.mean, form)
    return f"{text}, {measure.n_failed} failed" if measure.n_failed else text


def _sweep(o: Outcome) -> str:
    if o.reason:
        return "could not run"
    return f"{_use(o)[0]} %, {_scores(o)[2]} dB"


def _failed(o: Outcome, cells: int) -> list[str]:
    return [f"could not run: {o.reason}", *[""] * (cells - 1)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
