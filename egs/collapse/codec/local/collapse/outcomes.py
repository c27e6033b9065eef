"""What runs left in their folders: scores, use of the codebooks, curves, or why there is nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiocodec.config.load import load_config
from audiocodec.config.quantizers import low_dimensions
from audiocodec.config.schema import QuantizerConfig
from audiocodec.evaluation.coding import TokenSet
from audiocodec.evaluation.summary_file import CodebookSummary, MeasureSummary, Summary, read_summary
from audiocodec.records import parse
from collapse.rows import Row, Run
from collapse.training import EVAL, FAILED, PROBE, USAGE, finished

Curve = list[tuple[int, float]]


@dataclass(frozen=True)
class Outcome:
    """One run as the tables show it.

    Attributes:
        run: row and size.
        quantizer: its configuration; None when that was refused.
        measures: `pesq`, `stoi`, `mel_distance` as in an evaluation's summary.
        use: of each codebook: `usage`, `perplexity`, `frames`.
        effective, errors, different: of each stage in the last training batches: effective dimension of what it puts
            out, relative error after it, different codes per frame of a batch.
        probe: what `audiocodec probe` printed: `stability` and, where there was something to learn from,
            `predictability`.
        reason: why there are no results; empty when there are.
    """

    run: Run
    quantizer: QuantizerConfig | None = None
    measures: Mapping[str, MeasureSummary] = field(default_factory=dict)
    use: Sequence[CodebookSummary] = ()
    effective: Sequence[float] = ()
    errors: Sequence[float] = ()
    different: Sequence[float] = ()
    probe: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    @property
    def dimension(self) -> int:
        """Dimensions of a code."""
        assert self.quantizer is not None
        return low_dimensions(self.quantizer)


def read_outcomes(rows: Sequence[Row], exp: Path) -> list[Outcome]:
    """All runs there are in `exp`, finished or failed, in the order of the rows and by size."""
    found: list[Outcome] = []
    for row in rows:
        sizes = sorted(int(path.name.rpartition("-")[2]) for path in exp.glob(f"{row.name}-*"))
        outcomes = (_read(Run(row, size), exp / f"{row.name}-{size}") for size in sizes)
        found += [outcome for outcome in outcomes if outcome is not None]
    return found


def read_curves(folder: Path) -> dict[str, Curve]:
    """Scalars of a run against steps, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def _read(run: Run, folder: Path) -> Outcome | None:
    written = folder / "config.yaml"
    quantizer = load_config(written).quantizer if written.is_file() else None
    if (folder / FAILED).is_file():
        return Outcome(run, quantizer, reason=(folder / FAILED).read_text(encoding="utf-8"))
    if not finished(folder) or quantizer is None:
        return None
    summary = read_summary(folder / EVAL)
    curves = read_curves(folder)
    stages = range(quantizer.num_codebooks)
    last = {
        name: [curve[-1][1] for k in stages if (curve := curves.get(f"codebook/{k}/{name}"))]
        for name in ("effective_dimension_codes", "relative_error", "different_per_frame")
    }
    probe = json.loads((folder / PROBE).read_text(encoding="utf-8"))
    return Outcome(run, quantizer, summary.measures, _use(folder, summary), *last.values(), probe)


def _use(folder: Path, summary: Summary) -> Sequence[CodebookSummary]:
    """Counted in the tokens of the usage data, once; else in those that were scored."""
    tokens, kept = folder / USAGE, folder / "usage.json"
    if not tokens.is_dir():
        return summary.codebooks
    if not kept.is_file():
        counted = TokenSet()
        for path in sorted(tokens.rglob("*.act")):
            counted.add(path)
        kept.write_text(json.dumps(counted.describe().to_json()["codebooks"]), encoding="utf-8")
    return parse(tuple[CodebookSummary, ...], json.loads(kept.read_text(encoding="utf-8")))
