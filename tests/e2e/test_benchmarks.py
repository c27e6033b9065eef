"""Every benchmark runs, and its table holds what it promises; how fast anything is, no test says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from workspace import CHECKOUT, benchmark_table, run


def test_inference(tiny_model_path: Path, tmp_path: Path) -> None:
    rows = benchmark_table(
        "inference", tmp_path, "--model", tiny_model_path, "--seconds", "0.5", "--threads", "1", "--no-peer"
    )
    assert [(row["codec"], row["direction"]) for row in rows] == [("audiocodec", "encode"), ("audiocodec", "decode")]
    for row in rows:
        assert float(row["CPU s per s"]) > 0
        assert float(row["peak MB"]) >= float(row["loaded MB"]) > 50  # torch alone is more


def test_near_ties(tiny_model_path: Path, tmp_path: Path) -> None:
    rows = benchmark_table("near_ties", tmp_path, "--model", tiny_model_path, "--seconds", "2")
    assert [(row["runtime"], row["rule"]) for row in rows] == [
        (runtime, rule) for runtime in ("torch", "onnx") for rule in ("neither", "margins", "decided")
    ]
    decided = [row["decided again"] for row in rows]
    assert decided[:2] == decided[3:5] == ["0", "0"] and decided[2] == decided[5] != "0"


def test_inference_without_model(tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "benchmarks.inference", "--model", tmp_path / "none"], CHECKOUT, status=2)
    assert "no such model" in done.stderr


@pytest.mark.slow
def test_quantizer(tmp_path: Path) -> None:
    """Peak memory is measured: the direct form's matrix of distances is in it, and the lean form has none."""
    frames, size = 512, 65_536
    rows = benchmark_table("quantizer", tmp_path, "--sizes", str(size), "--frames", str(frames), "--dim", "8")
    beyond = {(row["form"], row["work"]): float(row["MB beyond"]) for row in rows}
    matrix = 4 * frames * size / 1e6
    assert len(rows) == len(beyond) == 4
    for work in ("search", "step"):
        assert beyond["direct", work] > matrix > beyond["lean", work]


@pytest.mark.slow
def test_soak(tiny_model_path: Path) -> None:
    done = run([sys.executable, "-m", "benchmarks.soak", "--seconds", "60", "--model", tiny_model_path], CHECKOUT)
    found = json.loads(done.stdout)
    assert found["equal_codes"] and found["equal_audio"] and found["grown_mb"] <= 8
    assert found["frames"] == 60 * 75 and found["chunks"] > 500


@pytest.mark.slow
def test_training(tmp_path: Path) -> None:
    small = ["--set", "data.segment_seconds=0.1", "--set", "train.batch_size=1", "--steps", "1"]
    rows = benchmark_table("training", tmp_path, "--config", "recipes/conf/mini.yaml", *small, "--sizes", "64", "1024")
    assert [row["codebook"] for row in rows] == ["64", "1,024"]
    parameters = [int(row["parameters"].replace(",", "")) for row in rows]
    assert parameters[1] - parameters[0] == (1024 - 64) * 32
    assert all(float(row["wall s"]) >= 0 and float(row["peak MB"]) > 50 for row in rows)


@pytest.mark.slow
def test_scoring(tmp_path: Path) -> None:
    audio = CHECKOUT / "egs/mini/codec/local/audio"
    rows = benchmark_table(
        "scoring", tmp_path, "--reference", audio, "--estimate", audio, "--count", "3", "--jobs", "2"
    )
    assert [(row["form"], row["utterances"], row["processes"]) for row in rows] == [
        ("bare", "3", "2"),
        ("evaluate", "3", "2"),
    ]
    bare, command = rows
    assert bare["CPU beside bare"] == "1.00"
    assert float(command["CPU s"]) > float(bare["CPU s"]) > 0  # starting and reading cost something
    shown = float(command["CPU s"]) / float(bare["CPU s"])  # of figures rounded to 0.1 s
    assert float(command["CPU beside bare"]) == pytest.approx(shown, rel=0.3)


def test_scoring_without_pairs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.scoring", "--reference", tmp_path, "--estimate", tmp_path]
    assert "no audio of the same names" in run(command, CHECKOUT, status=2).stderr


@pytest.mark.slow
def test_cli(tmp_path: Path) -> None:
    rows = benchmark_table("cli", tmp_path, "--seconds", "0.5")
    runtimes = [f"audiocodec --runtime {runtime}" for runtime in ("onnx", "torch")]
    assert [(r["command"], r["direction"]) for r in rows] == [(n, d) for d in ("encode", "decode") for n in runtimes]
    light, heavy = (float(row["peak MB"]) for row in rows[:2])
    assert 50 < light < heavy  # torch alone is more
    assert all(float(row["CPU s"]) > 0 and row["CPU beside encodec"] == "-" for row in rows)
