"""`audiocodec export`: the same codec, smaller, without the traces of the machine that trained it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.training_run import config, trainer

from audiocodec.cli.main import main
from audiocodec.model_file import describe, load

pytestmark = pytest.mark.usefixtures("fresh_process")


@pytest.fixture
def run(tmp_path: Path, data: Path) -> Path:
    trainer(config(f"train.steps=2 data.train={data}"), tmp_path / "exp", data).run()
    return tmp_path / "exp"


def test_an_exported_run_is_its_newest_checkpoint(run: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    assert main(["export", str(run), "-o", str(out)]) == 0
    wav = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (1, 1, 4000)).astype(np.float32))
    ours, theirs = load(out), load(run / "checkpoints" / "step_00000002")
    assert torch.equal(ours.encode(wav), theirs.encode(wav))
    assert ours.fingerprint == theirs.fingerprint
    assert describe(out).notes == {"step": 2, "quantizer_started": True}
    assert str(data) in describe(run).config_text and str(data) not in describe(out).config_text


def test_half_the_size(run: Path, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    assert main(["export", str(run), "-o", str(whole)]) == 0
    assert main(["export", str(run), "-o", str(half), "--half"]) == 0
    parameters = describe(whole).parameters
    saved = whole.stat().st_size - half.stat().st_size
    assert abs(saved - 2 * parameters) < 64  # the headers differ by some digits
    for name, tensor in load(half).state_dict().items():
        assert torch.equal(tensor, load(whole).state_dict()[name].half().float())


def test_nothing_is_overwritten_unasked(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.safetensors"
    out.write_text("mine")
    assert main(["export", str(run), "-o", str(out)]) == 2
    assert "already exists" in capsys.readouterr().err and out.read_text() == "mine"
    assert main(["export", str(run), "-o", str(out), "--force"]) == 0
    assert main(["export", str(tmp_path / "none"), "-o", str(tmp_path / "x")]) == 2
    assert not (tmp_path / "x").exists()
