"""One picture of a training run from its TensorBoard files: losses, distances and scores on the validation set, codebooks, rate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiocodec.errors import AudioCodecError

Curve = tuple[list[int], list[float]]  # steps, values
INCHES = (15.0, 6.4)


def read_scalars(folder: Path) -> dict[str, Curve]:
    """Everything that a run logged, by tag.

    Args:
        folder: of the TensorBoard files; where a run was resumed, later files replace what earlier ones say of the same steps.

    Raises:
        AudioCodecError: there are none.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not any(folder.glob("events.out.tfevents.*")):
        raise AudioCodecError(f"{folder}: no training log there")
    events = EventAccumulator(str(folder), {"scalars": 0, "images": 1, "audio": 1})
    events.Reload()
    curves = {}
    for tag in events.Tags()["scalars"]:
        found = events.Scalars(tag)
        curves[tag] = ([event.step for event in found], [event.value for event in found])
    return curves


def draw(curves: Mapping[str, Curve], path: Path) -> None:
    """Write a PNG of six plots against steps.

    Args:
        curves: of `read_scalars`.
        path: the picture; overwritten.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES)
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 3)
    losses = {
        tag.removeprefix("loss/"): curves[tag] for tag in curves if tag.startswith("loss/") and tag != "loss/total"
    }
    valid = {tag.removeprefix("valid/"): curves[tag] for tag in curves if tag.startswith("valid/")}
    pesq, stoi = _taken(valid, "pesq"), _taken(valid, "stoi")
    usage = {_stage(tag): curves[tag] for tag in curves if tag.startswith("codebook/") and tag.endswith("/usage")}
    rate = {tag: curves[tag] for tag in ("train/learning_rate",) if tag in curves}
    _plot(grid[0][0], losses, "losses, without their weights", log=True)
    _plot(grid[0][1], usage, "codes used since the line of the log before, share")
    _plot(grid[0][2], rate, "learning rate", named=False)
    _plot(grid[1][0], valid, "distances on the validation clips", log=True, marker=".")
    _plot(grid[1][1], pesq, "PESQ-WB of the validation clips", marker=".", named=False)
    _plot(grid[1][2], stoi, "STOI of the validation clips", marker=".", named=False)
    figure.tight_layout()
    figure.savefig(path, dpi=80, format="png", metadata={"Software": None})


def _taken(curves: dict[str, Curve], name: str) -> dict[str, Curve]:
    return {name: curves.pop(name)} if name in curves else {}


def _stage(tag: str) -> str:
    return f"codebook {tag.split('/')[1]}"


def _plot(
    axes: Any, curves: Mapping[str, Curve], label: str, *, log: bool = False, marker: str = "", named: bool = True
) -> None:
    """Curves in one plot, or its label alone where nothing was logged."""
    for name, (steps, values) in curves.items():
        axes.plot(steps, values, label=name, linewidth=1, marker=marker)
    if log and curves:
        axes.set_yscale("log")
    if named and curves:
        axes.legend(fontsize=7)
    axes.set_title(label if curves else f"{label}: nothing logged", fontsize=9)
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
