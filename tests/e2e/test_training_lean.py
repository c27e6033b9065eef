"""Lean states of a run: when they are written, and that a run may begin with what a killed one left."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.training_run import config, tensors, trainer

from audiocodec.cli.main import main
from audiocodec.model_file import describe, load
from audiocodec.training import schedule
from audiocodec.training.checkpoints import keeper, lean
from audiocodec.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("fresh_process")


def test_the_last_lean_state_is_the_final_model_in_float16(tmp_path: Path, data: Path) -> None:
    trainer(config("train.lean_minutes=1000"), tmp_path, data).run()
    final = tensors(tmp_path, 4)
    ours = load(tmp_path / "lean")
    assert describe(tmp_path / "lean").notes == {"step": 4, "quantizer_started": True}
    for name, tensor in ours.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), final[f"model/{name}"].astype(np.float16).astype(np.float32))
    trainer(config(), tmp_path / "none", data).run()
    assert not (tmp_path / "none" / "lean").exists()


def test_lean_states_are_written_every_so_many_minutes(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, written, take, save = [0.0], [], Trainer._take_step, lean.save

    def slowly(run: Trainer) -> object:
        now[0] += 40
        return take(run)

    monkeypatch.setattr(Trainer, "_take_step", slowly)
    monkeypatch.setattr(keeper, "monotonic", lambda: now[0])
    monkeypatch.setattr(schedule, "monotonic", lambda: now[0])
    monkeypatch.setattr(lean, "save", lambda *args: written.append(args[-1]["step"]) or save(*args))
    trainer(config("train.lean_minutes=1.5 train.steps=8"), tmp_path, data).run()
    assert written == [3, 6, 8]  # at 120 s, 240 s, and the end; 90 s are between two steps


def test_a_run_begins_with_what_a_killed_one_left(tmp_path: Path, command: list[str]) -> None:
    options = ["train.steps=1000000", "train.lean_minutes=1e-6", "train.log_interval=1"]
    words = [sys.executable, "-m", "audiocodec", *command, *(w for o in options for w in ("--set", o))]
    log, folder = tmp_path / "exp" / "train.log", tmp_path / "exp" / "lean"
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (log.exists() and " step 5 " in log.read_text()):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
    assert describe(folder).notes["step"] >= 4
    other = [*command, "--init-from", str(folder)]
    other[other.index("--exp") + 1] = str(tmp_path / "other")
    assert main(other) == 0
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "other" / "train.log").read_text().splitlines()]
    assert f"begins with the weights of {folder / 'model.safetensors'}" in lines
    (line,) = [line for line in lines if line.startswith("discriminators: ")]
    assert line.startswith("discriminators: loaded ") and "quantizer: goes on as it is" in lines
    begun, left = tensors(tmp_path / "other", 0), load(folder).state_dict()
    for name in (name for name in left if not name.startswith("scale.")):  # which is measured
        np.testing.assert_allclose(begun[f"model/{name}"], left[name].numpy(), rtol=1e-5, atol=1e-6)
