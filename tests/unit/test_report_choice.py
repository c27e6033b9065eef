"""The report: which systems it marks, and which utterances it lets one listen to."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from support.report_folders import KBPS, MEL, STOI, system

from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary import summarize
from audiocodec.evaluation.summary_file import CodingSummary
from audiocodec.evaluation.systems.resampling import Resampling
from audiocodec.reporting import ranking
from audiocodec.reporting.listening import choice
from audiocodec.reporting.plots import scatter
from audiocodec.reporting.systems import System, read_systems

# What it marks and chooses


def test_best_and_tie() -> None:
    low = {f"u{i}": 0.5 + 0.01 * (i % 3) for i in range(12)}
    high = {key: value + 0.3 for key, value in low.items()}
    near = {key: value + (0.002, -0.001)[i % 2] for i, (key, value) in enumerate(high.items())}
    truth = system("truth", dict.fromkeys(low, 1.0), ground_truth=True)
    assert ranking.rank([system("low", low), system("high", high), truth], STOI).marks == {"high": "best"}
    tied = ranking.rank([system("low", low), system("high", high), system("near", near)], STOI)
    assert tied.marks == {"high": "tie", "near": "tie"}
    assert ranking.rank([system("high", high), truth], STOI).marks == {}


def test_a_small_gain_on_every_utterance_is_told_from_none() -> None:
    random = np.random.default_rng(0)
    plain = {f"u{i}": float(value) for i, value in enumerate(random.normal(0.7, 0.1, 200))}  # means move by 0.014
    better = {key: value + float(random.normal(0.015, 0.02)) for key, value in plain.items()}
    assert ranking.rank([system("plain", plain), system("better", better)], STOI).marks == {"better": "best"}


def test_samples_that_were_only_resampled_neither_win_nor_stretch_the_axis_of_bitrates() -> None:
    def coded(label: str, stoi: float, kbps: float, by: str) -> System:
        rows = [Row(f"u{i}", values={"stoi": stoi + i / 100, "kbps_payload": kbps}) for i in range(6)]
        summary = summarize(rows, ["stoi", "kbps_payload"], CodingSummary(coded_by=by))
        return System(label, {row.id: row for row in rows}, summary)

    pcm = coded("resample-24k", 0.9, 384.0, Resampling(24_000).describe())
    opus, codec2 = coded("opus", 0.7, 6.0, "opusenc"), coded("codec2", 0.5, 3.2, "codec2")
    assert ranking.rank([pcm, opus, codec2], STOI).marks == {"opus": "front", "codec2": "front"}
    picture = scatter.scatter([pcm, opus, codec2], STOI)
    assert re.findall(r">(\d+)</text>", picture) == ["5", "10"]  # kbps; a label in whole numbers
    assert "resample-24k, not coded" in picture
    assert scatter.scatter([pcm], STOI) == ""


def test_a_system_does_not_win_by_failing_on_hard_utterances() -> None:
    hard = {"u0": 0.1, "u1": 0.1} | {f"v{i}": 0.90 + 0.001 * i for i in range(8)}
    lucky = {f"v{i}": 0.80 + 0.001 * i for i in range(8)}  # its mean is 0.80, the other's 0.74
    found = ranking.rank([system("honest", hard), system("lucky", lucky)], STOI)
    assert (found.marks, found.common) == ({"honest": "best"}, 8)


def test_lower_is_better_where_it_is() -> None:
    def mel(label: str, level: float) -> System:
        rows = {
            f"u{i}": Row(f"u{i}", values={"mel_distance": level + i / 100, "kbps_payload": level}) for i in range(6)
        }
        return System(label, rows, summarize(list(rows.values()), []))

    assert ranking.rank([mel("near", 3.0), mel("far", 6.0)], MEL).marks == {"near": "best"}
    assert ranking.rank([mel("near", 3.0), mel("far", 6.0)], KBPS).marks == {}


@pytest.mark.parametrize(
    ("total", "count", "places"),
    [
        (12, 1, [0]),
        (12, 2, [0, 11]),
        (11, 3, [0, 5, 10]),
        (9, 5, [0, 2, 4, 6, 8]),
        (2, 6, [0, 1]),
        (0, 6, []),
        (5, 0, []),
    ],
)
def test_places_that_are_listened_to(total: int, count: int, places: list[int]) -> None:
    assert sorted(choice.spread(total, count)) == places


def test_worst_median_and_best_by_the_mean_of_systems(evaluations: Path) -> None:
    systems = read_systems([evaluations / "eval/good", evaluations / "eval/bad"])
    assert choice.choose(systems, 3) == [
        ("u0", "worst of 3 by STOI"),
        ("u1", "median of 3 by STOI"),
        ("u2", "best of 3 by STOI"),
    ]
