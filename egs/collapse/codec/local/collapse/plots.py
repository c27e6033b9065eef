"""Usage and loss against steps: a picture of each, a panel for each codebook size and for the rows of table 3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from collapse.outcomes import Outcome, read_curves

# file -> (tag, label of the axis); the last stage starves first
PLOTS = {
    "usage.png": ("codebook/{last}/usage", "used between two lines of the log, last stage"),
    "loss.png": ("loss/mel", "mel loss"),
}
STAGES = "stages.png"
STAGE_TAGS = {"usage": "usage", "different_per_frame": "different codes per frame", "relative_error": "relative error"}


def draw(outcomes: Sequence[Outcome], exp: Path) -> list[str]:
    """Draw all plots into `exp`; their names."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = _panels([o for o in outcomes if not o.reason])
    for name, (tag, label) in PLOTS.items():
        figure, grid = pyplot.subplots(len(panels), 1, figsize=(9, 4 * len(panels)), squeeze=False)
        for axes, (title, shown) in zip(grid[:, 0], panels.items()):
            for index, outcome in enumerate(shown):
                assert outcome.quantizer is not None
                curve = read_curves(exp / outcome.run.name).get(tag.format(last=outcome.quantizer.num_codebooks - 1))
                style = ("-", "--", ":")[index // 10 % 3]  # ten colours
                axes.plot(*zip(*curve), style, label=outcome.run.row.label) if curve else None
            axes.set(title=title, xlabel="step", ylabel=label)
            axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.tight_layout()
        figure.savefig(exp / name, dpi=90, bbox_inches="tight", metadata={"Software": None})
        pyplot.close(figure)
    started = [o for o in outcomes if 5 in o.run.row.tables and not o.reason]
    if started:
        _draw_stages(started, exp)
    return [*(PLOTS if panels else []), *([STAGES] if started else [])]


def _draw_stages(started: Sequence[Outcome], exp: Path) -> None:
    """A line of panels for each run, a curve for each stage."""
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(len(started), len(STAGE_TAGS), figsize=(11, 2.2 * len(started)), squeeze=False)
    for line, outcome in zip(grid, started):
        assert outcome.quantizer is not None
        curves = read_curves(exp / outcome.run.name)
        for axes, (name, label) in zip(line, STAGE_TAGS.items()):
            for stage in range(outcome.quantizer.num_codebooks):
                curve = curves.get(f"codebook/{stage}/{name}", [])
                axes.plot([step for step, _ in curve], [value for _, value in curve], label=f"stage {stage + 1}")
            axes.set(ylabel=label, yscale="log" if name == "relative_error" else "linear")
        line[0].set_title(outcome.run.row.label, loc="left", fontsize=9)
    grid[0, -1].legend(fontsize=7)
    for axes in grid[-1]:
        axes.set_xlabel("step")
    figure.tight_layout()
    figure.savefig(exp / STAGES, dpi=90, metadata={"Software": None})
    pyplot.close(figure)


def _panels(done: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Runs by the title of their panel."""
    panels: dict[str, list[Outcome]] = {}
    for outcome in sorted(done, key=lambda o: o.run.size):
        for table in {1: "quantizers", 3: "what is trained"}.items():
            if table[0] in outcome.run.row.tables:
                panels.setdefault(f"{table[1]}, {outcome.run.size:,} codes", []).append(outcome)
    return panels
