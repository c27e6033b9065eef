"""The table of egs/lm from what its stages leave. Expected text is written by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from support.report_folders import write_evaluation
from support.workspace import CHECKOUT, run

from audiocodec.evaluation.rows import Row

RECIPE = CHECKOUT / "egs" / "lm"


def _continuation(
    f0: float | None, spread: float | None, f0_truth: float | None, spread_truth: float | None
) -> dict[str, Any]:
    pitch = {"f0": f0, "f0_spread": spread, "f0_truth": f0_truth, "f0_spread_truth": spread_truth}
    return {"id": "u", "repeated": 0.25, "copied": 0.5, "speech": 0.75, "speech_truth": 1.0, **pitch}


def _stages(exp: Path, name: str, continuations: list[dict[str, Any]]) -> None:
    """What stages 1 to 4 leave of a model."""
    folder = exp / name
    write_evaluation(folder / "reconstruction", [Row(id="u", values={"pesq": 1.5, "stoi": 0.5})], ["pesq", "stoi"])
    write_evaluation(exp / "page" / name, [Row(id="u", values={"dnsmos_ovrl": 2.5})], ["dnsmos_ovrl"])
    score = {"bits_per_second": 375.0, "by_codebook": [5.0], "raw_bits_per_token": 10.0}
    changes = ("shift 0.25 hop", 0.25), ("noise at 30 dB", 0.5)
    probe = {"stability": [{"name": change, "changed": [share]} for change, share in changes]}
    (folder / "continued").mkdir()
    for path, found in (("score", score), ("probe", probe), ("continued/continuations", continuations)):
        (folder / f"{path}.json").write_text(json.dumps(found))


def _page(exp: Path, *names: str) -> str:
    command = [sys.executable, "-m", "results", "--exp", str(exp), "--command", "./run.sh", *names]
    run(command, RECIPE, env={"PYTHONPATH": "local"})
    return (exp / "RESULTS.md").read_text()


def _cells(page: str, name: str) -> list[str]:
    return next(line for line in page.splitlines() if line.startswith(f"| {name} |")).strip("| ").split(" | ")


def test_what_is_undefined_is_counted_and_in_no_mean(tmp_path: Path) -> None:
    _stages(tmp_path, "one", [_continuation(100, 1.0, 120, 2.0), _continuation(None, None, None, None)])
    _stages(tmp_path, "none", [_continuation(None, None, 120, 2.0), _continuation(None, None, None, None)])
    page = _page(tmp_path, "one", "none")
    counts = "1 of one, 2 of none, 1 of the recordings"
    assert f"2 continuations each. Without a voiced frame, and in no mean of F0: {counts}." in page.splitlines()
    assert "(120 Hz and 2.0\nsemitones" in page and "(100 % of the" in page
    tail = ["75", "25", "50"]
    assert _cells(page, "one")[1:] == [
        *("750", "1.500", "0.500", "-", "25.0", "50.0", "375", "0.500", "2.50", "-", "100", "1.0"),
        *tail,
    ]
    assert _cells(page, "none")[-5:] == ["-", "-", *tail]
    assert "nan" not in page


def test_nothing_is_said_where_all_is_defined(tmp_path: Path) -> None:
    _stages(tmp_path, "one", [_continuation(100, 1.0, 120, 2.0)])
    assert "1 continuations each." in _page(tmp_path, "one").splitlines()
