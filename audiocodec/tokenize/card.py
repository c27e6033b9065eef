"""The data card, `README.md`: what the hub's viewer and `datasets.load_dataset` need, and what a reader wants to know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from audiocodec.tokenize.columns import TEXTS
from audiocodec.tokenize.marks import Mark
from audiocodec.tokenize.plan import FAILURES, Plan
from audiocodec.tokenize.writers.parquet import is_flat

_TYPES = {"bool": "bool", "int64": "int64", "double": "float64", "string": "string"}


def text(plan: Plan, marks: Sequence[Mark]) -> str:
    """The card of a finished data set.

    Args:
        plan: of the data set.
        marks: of all its shards.
    """
    rows, hours = sum(m.rows for m in marks), sum(m.samples for m in marks) / plan.model.sample_rate / 3600
    failures, frames = sum(len(m.failures) for m in marks), sum(m.frames for m in marks)
    return f"""---
{_head(plan, rows)}---

# Audio tokens of {rows:,} utterances

| | |
|---|---|
| utterances | {rows:,} ({hours:.2f} hours, {frames:,} frames) |
| left out | {failures:,}{f", listed in `{FAILURES}`" if failures else ""} |
| model | {plan.model.name}, fingerprint `{plan.model.fingerprint}`, {plan.model.precision} |
| frames | {plan.model.sample_rate / plan.model.hop_length:g} per second ({plan.model.sample_rate} Hz, hop {plan.model.hop_length}) |
| codebooks | {", ".join(map(str, plan.model.codebook_sizes))} entries |
| source | {len(plan.source)} of kind {plan.kind} |
| licence | {plan.licence} |
| plan | `{plan.hash}`, audiocodec {plan.version} |

{_use(plan)}"""


def _head(plan: Plan, rows: int) -> str:
    files = plan.name_of(0).replace("0" * max(5, len(str(len(plan.shards) - 1))), "*")
    lines = [f"license_name: {json.dumps(plan.licence)}", "license: other", "configs:", "- config_name: default"]
    lines += ["  data_files:", "  - split: train", f"    path: {json.dumps(files)}"]
    if plan.writer == "parquet":
        lines += ["dataset_info:", "  features:"]
        for name, kind in _features(plan).items():
            lines += [f"  - name: {json.dumps(name)}", *(f"    {line}" for line in kind)]
        lines += ["  splits:", "  - name: train", f"    num_examples: {rows}"]
    return "\n".join(lines) + "\n"


def _features(plan: Plan) -> dict[str, list[str]]:
    sizes = plan.model.codebook_sizes
    code = "uint16" if max(sizes) <= 2**16 else "int32"
    codes = [f"list: {code}"] if is_flat(sizes) else ["list:", f"  list: {code}"]
    plain: dict[str, Any] = {
        "num_frames": "int64",
        "num_samples": "int64",
        "sample_rate": "int32",
        "duration": "float64",
        "gain": "float64",
        **dict.fromkeys(TEXTS, "string"),
        "original_sample_rate": "int32",
        "original_channels": "int32",
        "original_num_samples": "int64",
        **{name: _TYPES[kind] for name, kind in plan.columns.items()},
    }
    return {"id": ["dtype: string"], "codes": codes, **{name: [f"dtype: {kind}"] for name, kind in plain.items()}}


def _use(plan: Plan) -> str:
    if plan.writer != "parquet":
        return "Each sample of the tars has `codes.npy`, integers [codebooks, frames], and `json`.\n"
    shape = "[frames]" if is_flat(plan.model.codebook_sizes) else "[codebooks][frames]"
    return f"""One row is one utterance; `codes` is {shape}. Sound again, with the model above:

```
audiocodec import-tokens tokens-*.parquet -m MODEL -d tokens
audiocodec decode tokens -m MODEL -d wav
```
"""
