"""The page of the quantizers that were tried alone: a table for each group, and error and different codes over the steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiocodec import markdown

TITLES = {
    "single": "One codebook of 8,192",
    "residual": "Four stages of 1,024",
    "large": "One codebook of 65,536",
}
Found = dict[str, Any]


def write_page(folder: Path, names: Sequence[str]) -> None:
    """Write `RESULTS.md` and pictures of the trials of these names that are done, into their folder."""
    done = [json.loads(path.read_text()) for name in names if (path := folder / f"{name}.json").exists()]
    parts = []
    for table, title in TITLES.items():
        shown = [found for found in done if found["table"] == table]
        if shown:
            parts += [f"## {title}", _table(shown), _draw(folder, table, shown)]
    (folder / "RESULTS.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _table(shown: Sequence[Found]) -> str:
    steps = [look["step"] for look in shown[0]["looks"]]
    first, last = steps[0], steps[-1]
    head = [
        "start",
        f"error, step {first}",
        f"error, step {last:,}",
        f"different codes per frame, step {first}",
        f"step {last:,}",
        f"usage of {shown[0]['frames']:,} frames, %",
        "perplexity",
        "start, CPU s",
    ]
    return markdown.table(head, [_line(found) for found in shown])


def _line(found: Found) -> list[str]:
    looks = (found["looks"][0], found["looks"][-1])
    errors = [_joined(look["error"], ".3f") for look in looks]
    different = [_joined(look["different"], ".2f") for look in looks]
    usage = _joined([100 * share for share in found["usage"]], ".1f")
    cost = f"{found['start_cpu_s']:.1f}"
    return [found["label"], *errors, *different, usage, _joined(found["perplexity"], ",.0f"), cost]


def _joined(values: Sequence[float], form: str) -> str:
    return " / ".join(format(value, form) for value in values)


def _draw(folder: Path, table: str, shown: Sequence[Found]) -> str:
    """Error and different codes of the last stage against steps; the line that shows the picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4))
    for index, found in enumerate(shown):
        steps = [max(1, look["step"]) for look in found["looks"]]  # step 0 has no place on a logarithmic axis
        for panel, key in zip(axes, ("error", "different")):
            values = [look[key][-1] for look in found["looks"]]
            panel.plot(steps, values, ("-", "--", ":")[index // 10 % 3], label=found["label"])
    last = "" if shown[0]["stages"] == 1 else ", after the last stage"
    axes[0].set(xlabel="step", ylabel=f"relative error{last}", xscale="log", yscale="log")
    axes[1].set(
        xlabel="step", ylabel=f"different codes per frame of a batch{last.replace('after', 'in')}", xscale="log"
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)
    figure.tight_layout()
    figure.savefig(folder / f"{table}.png", dpi=90, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)
    return f"![{TITLES[table]}: error and different codes against steps]({table}.png)"
