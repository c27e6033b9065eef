"""One picture of the codebooks of a codec: a row of four plots for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.analysis.codebook_shape import CodebookShape
from audiocodec.metrics.codebook import octave_names

BINS = 60
INCHES = (16.0, 3.2)  # of a row


def draw(shapes: Sequence[CodebookShape], path: Path) -> None:
    """Write a PNG: uses per code, distances to the nearest code, spread of the codes, singular values of W.

    Args:
        shapes: of the codebooks, first stage first.
        path: the picture; overwritten.

    Raises:
        ImportError: there is no matplotlib.
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(INCHES[0], INCHES[1] * len(shapes)))
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(shapes), 4, squeeze=False)
    for index, (row, shape) in enumerate(zip(grid, shapes)):
        _uses(row[0], shape)
        row[1].hist(shape.nearest, BINS)
        row[1].set_xlabel(f"distance to the nearest code, {shape.neighbour_sample:,} of {shape.codebook_size:,} codes")
        _values(row[2], shape.spread, f"spread of the codes, effective dimension {shape.effective_dimension:.1f}")
        _values(row[3], shape.map_singular_values, "singular values of W")
        row[0].set_ylabel(f"codebook {index}: codes")
    figure.tight_layout()
    figure.savefig(path, dpi=90, format="png", metadata={"Software": None})


def _uses(axes: Any, shape: CodebookShape) -> None:
    """Bars: how many codes occur 0, 1, 2-3, ... times."""
    if shape.use is None:
        _nothing(axes, "uses of a code: no tokens given")
        return
    names = octave_names(len(shape.octaves))
    bars = axes.bar(range(len(names)), shape.octaves)
    bars[0].set_color("tab:red")
    axes.set_yscale("log")
    axes.set_xticks(range(len(names)), names, rotation=45, fontsize=7)
    axes.set_xlabel(f"uses of a code in {shape.use.frames:,} frames, {100 * shape.use.usage:.1f} % used")


def _values(axes: Any, values: Any, label: str) -> None:
    """Singular values, largest first."""
    if len(values) == 0:
        _nothing(axes, f"{label}: none")
        return
    axes.plot(np.arange(1, len(values) + 1), values, marker=".", markersize=3)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(label)


def _nothing(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
