"""The report: what its plots show."""

from __future__ import annotations

import itertools
import re
from importlib.resources import files

import numpy as np
import pytest
from PIL import ImageColor  # matplotlib brings it
from support.report_folders import STOI, system

from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary import summarize
from audiocodec.metrics.codebook import octaves
from audiocodec.reporting.plots import axes, codebooks, distributions, scatter
from audiocodec.reporting.systems import System


def test_axes() -> None:
    assert axes.ticks(0.1, 0.93) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert axes.log_ticks(0.6, 12) == [1, 2, 5, 10]
    scale = axes.Scale(1, 100, 0, 200, log=True)
    assert [scale(value) for value in (1, 10, 100)] == [0, 100, 200]


def linear(colour: str) -> np.ndarray:
    """Linear RGB of sRGB, as WCAG 2 defines it."""
    share = np.array(ImageColor.getrgb(colour)) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Of WCAG 2, 1 to 21."""
    light = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (light[1] + 0.05) / (light[0] + 0.05)


def lab(colour: str) -> np.ndarray:
    """CIE L*a*b* under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ linear(colour) / to_xyz.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("dark", [False, True])
def test_systems_have_colours_that_can_be_read_and_told_apart(dark: bool) -> None:
    style = files("audiocodec.reporting").joinpath("page.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--([a-z]+\d*): light-dark\((#\w{6}), (#\w{6})\)", style)
    colours = {name: values[dark] for name, *values in pairs}
    own = [colours[f"c{index}"] for index in range(12)]
    assert {axes.colour(index) for index in range(12)} == set(re.findall(r"\.(c\d+) \{ --own", style))
    assert min(contrast(colour, colours[ground]) for colour in own for ground in ("card", "paper")) > 4.5
    assert min(np.linalg.norm(lab(one) - lab(other)) for one, other in itertools.combinations(own, 2)) > 20


def values_at(picture: str) -> tuple[float, float]:
    """(value at 0, value per unit) of a horizontal axis, by its numbers."""
    ticks = re.findall(r'<text class="" x="([\d.]+)" y="[\d.]+" text-anchor="middle">([\d.]+)<', picture)
    (x1, v1), (x2, v2) = ((float(x), float(v)) for x, v in (ticks[0], ticks[-1]))
    return v1 - x1 * (v2 - v1) / (x2 - x1), (v2 - v1) / (x2 - x1)


def test_groups_show_the_distribution_of_each_system_with_its_name() -> None:
    scores = {"it": [0.1, 0.2, 0.4, 0.9], "": [0.5, 0.6]}
    rows = [
        Row(f"{group}{i}", values={"stoi": value}, groups={"language": group} if group else {})
        for group, values in scores.items()
        for i, value in enumerate(values)
    ]
    grouped = System("ours", {row.id: row for row in rows}, summarize(rows, ["stoi"]))
    picture = distributions.group_boxes(
        [grouped, system("a very long name of a system", {"it0": 0.3})], STOI, "language"
    )
    words = re.findall(r'<text class="(?:axis title|label c\d)"[^>]*>([^<]*)<', picture)
    assert words == ["it (4)", "ours", "\u2013 (2)", "ours"]  # the other one knows no languages
    start, slope = values_at(picture)
    x, width = map(float, re.findall(r'<rect [^>]*x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', picture)[0])
    quartiles = np.percentile(scores["it"], [25, 75])
    assert [start + slope * x, start + slope * (x + width)] == pytest.approx(quartiles, abs=0.002)
    assert "ours, it: mean 0.4, median 0.3 of 4" in picture


def test_names_of_systems_lie_neither_on_each_other_nor_on_dots() -> None:
    def coded(label: str, stoi: float, kbps: float) -> System:
        rows = [Row(f"u{i}", values={"stoi": stoi, "kbps_payload": kbps}) for i in range(2)]
        return System(label, {row.id: row for row in rows}, summarize(rows, ["stoi", "kbps_payload"]))

    crowd = [coded(f"system-number-{i}", 0.800 + 0.001 * (i % 3), 1.2 + 0.1 * i) for i in range(10)]
    picture = scatter.scatter([*crowd, coded("far", 0.9, 6.0)], STOI)
    names = re.findall(r'<text class="label c\d+" x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">([^<]*)<', picture)
    boxes = []
    for x, y, anchor, label in names:
        left = float(x) - (7 * len(label) if anchor == "end" else 0)  # letters of 12 px are about 7 wide
        boxes.append((left, float(y) - 9, left + 7 * len(label), float(y) + 2))
        assert 0 <= left and left + 7 * len(label) <= axes.WIDTH
    dots = [(float(x), float(y)) for x, y in re.findall(r'<circle class="c\d+" cx="([\d.]+)" cy="([\d.]+)"', picture)]
    assert len(boxes) == len(dots) == 11
    for one, other in itertools.combinations(boxes, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    assert not [1 for x, y in dots for left, top, right, bottom in boxes if left < x < right and top < y < bottom]


def test_entries_are_counted_by_how_often_they_occur() -> None:
    counts = np.array([0, 0, 0, 1, 2, 3, 3, 7, 8, 15, 16])
    assert octaves(counts) == [3, 1, 3, 1, 2, 1]
    picture = codebooks.usage_histogram([counts, np.array([5, 0])])
    assert re.findall(r"<title>([^<]*)</title>", picture) == [
        "codebook 0: 3 entries, 0 times",
        "codebook 0: 1 entries, 1 times",
        "codebook 0: 3 entries, 2-3 times",
        "codebook 0: 1 entries, 4-7 times",
        "codebook 0: 2 entries, 8-15 times",
        "codebook 0: 1 entries, 16-31 times",
        "codebook 1: 1 entries, 0 times",
        "codebook 1: 1 entries, 4-7 times",
    ]
    assert codebooks.usage_histogram([np.zeros(4, np.int64)]) == ""
