"""The study of language models as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.workspace import CHECKOUT, copy_of, fingerprint, run

pytestmark = pytest.mark.recipe

RECIPE = CHECKOUT / "egs" / "lm"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_options(shell: str) -> None:
    help_text = run([shell, "run.sh", "--help"], RECIPE).stdout
    assert all(f"--{name} " in help_text for name in ("profile", "rows", "models", "train-data", "minutes", "prompts"))
    for options, message in (
        (["--profile", "tpu"], "--profile is smoke, cpu or gpu, got 'tpu'"),
        (["--profile", "cpu"], "say where the data is: --train-data DIR --dev-data DIR --test-data DIR"),
        (["--train-data", "nowhere"], "nowhere: no data folder; audiocodec make-data makes one"),
        (["x"], "unexpected argument: x"),
    ):
        assert message in run([shell, RECIPE / "run.sh", *options], CHECKOUT, status=2).stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_smoke_profile_becomes_a_table_once(tmp_path: Path) -> None:
    root = copy_of(tmp_path, "recipes", "egs", "audiocodec/configs")
    recipe = root / "egs" / "lm"
    command = ["bash", "run.sh", "--rows", "kmeans,simvq", "--minutes", "0.1"]
    done = run(command, recipe)
    exp = recipe / "exp" / "smoke"
    page = (exp / "RESULTS.md").read_text()
    assert page == done.stdout
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["tokens of", "kmeans", "simvq"]
    assert all(len(row) == len(rows[0]) and row[1] == "750" for row in rows[1:])  # 10 bits, 75 times a second
    score = json.loads((exp / "simvq" / "score.json").read_text())
    assert rows[2][7] == f"{score['bits_per_second']:.0f}"
    assert "Content-Security-Policy" in (exp / "report.html").read_text()
    before = fingerprint(exp / "kmeans" / "lm")
    assert run([*command, "--stage", "5"], recipe).stdout.splitlines()[6:] == page.splitlines()[6:]
    assert fingerprint(exp / "kmeans" / "lm") == before
