"""The collapse study as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.workspace import CHECKOUT, copy_of, fingerprint, run

pytestmark = pytest.mark.recipe

RECIPE = CHECKOUT / "egs" / "collapse" / "codec"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_options(shell: str) -> None:
    help_text = run([shell, "run.sh", "--help"], RECIPE).stdout
    assert all(f"--{name} " in help_text for name in ("profile", "rows", "sizes", "train-data", "jobs"))
    for options, message in (
        (["--profile", "tpu"], "--profile is smoke, cpu or gpu, got 'tpu'"),
        (["--profile", "cpu"], "say where the data is: --train-data DIR --dev-data DIR --test-data DIR"),
        (["--train-data", "nowhere"], "nowhere: no data folder; audiocodec make-data makes one"),
        (["--jobs", "0"], "--jobs is a number from 1 on, got '0'"),
        (["x"], "unexpected argument: x"),
    ):
        assert message in run([shell, RECIPE / "run.sh", *options], CHECKOUT, status=2).stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_smoke_profile_becomes_tables_once(tmp_path: Path) -> None:
    root = copy_of(tmp_path, "recipes", "egs", "audiocodec/configs")
    recipe = root / "egs" / "collapse" / "codec"
    command = ["sh", "run.sh"]
    done = run(command, recipe)
    exp = recipe / "exp" / "smoke"
    page = (exp / "RESULTS.md").read_text()
    assert page == done.stdout
    assert page.startswith("# Results\n\n```\n./run.sh\n```\n")
    assert (
        "- rows of tables 1 to 4: 20 steps of 4 x 0.5 s with the quantizer, from one autoencoder trained for 20;"
        in page
    )
    table_1 = page.partition("## Table 1")[2].partition("## Table 2")[0]
    assert [line.split(" | ")[:3] for line in table_1.splitlines() if " | 1,0" in line] == [
        ["| VQ", "32", "1,024"],
        ["| FSQ", "4", "1,000"],
        ["| SimVQ", "32", "1,024"],
    ]
    assert "| both trained | Gaussian | trained | trained | 1,024 | " in page
    assert "| SimVQ | Gaussian | frozen | trained | 1,024 | " in page
    changes = (
        "shift 0.25 hop | shift 0.5 hop | gain -6 dB | gain +6 dB | noise at 40 dB | noise at 30 dB | noise at 20 dB"
    )
    assert f"| method | codebook size | {changes} | bits if unknown | n-gram | transformer |" in page
    for name in ("vq-1024", "simvq-1024"):  # both began with the same encoder
        log = (exp / name / "train.log").read_text()
        assert "begins with the weights of exp/smoke/autoencoder/" in log and "quantizer: is started anew" in log
    assert all((exp / name).read_bytes().startswith(b"\x89PNG") for name in ("usage.png", "loss.png"))

    before = {name: fingerprint(exp / name) for name in ("autoencoder", "vq-1024", "simvq-1024")}
    run(command, recipe)
    assert {name: fingerprint(exp / name) for name in before} == before
    assert (exp / "RESULTS.md").read_text() == page

    done = run(["sh", "run.sh", "--rows", "fsq", "--sizes", "777"], recipe, status=1)
    assert "| FSQ |  | 777 | could not run: --set quantizer.codebook_size=777: " in done.stdout
    assert "| VQ | 32 | 1,024 | " in done.stdout  # what was there before is still shown
    assert "no row 'x'; there are vq, " in run(["sh", "run.sh", "--rows", "x"], recipe, status=2).stderr
