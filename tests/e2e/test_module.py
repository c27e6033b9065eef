"""`python -m audiocodec`, `accelerate launch -m audiocodec train`, and `audiocodec.train` from Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.training_run import config, tensors

import audiocodec
from audiocodec.training.run import Watch


def test_the_module_is_the_command() -> None:
    words = [sys.executable, "-m", "audiocodec"]
    version = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"audiocodec {audiocodec.__version__}\n"
    wrong = subprocess.run([*words, "encode", "none.wav", "-o", "a.act"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1 and wrong.stderr.startswith("audiocodec: error: none.wav: No such file")
    usage = subprocess.run([*words, "nonsense"], capture_output=True, text=True, check=False)
    assert usage.returncode == 2 and "invalid choice: 'nonsense'" in usage.stderr


@pytest.mark.slow
def test_accelerate_launches_it(tmp_path: Path, command: list[str]) -> None:
    words = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "1"]
    words += ["--num_machines", "1", "--dynamo_backend", "no", "--mixed_precision", "no", "-m", "audiocodec", *command]
    environment = {**os.environ, "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "at step 4 of 4" in done.stderr
    assert audiocodec.load(tmp_path / "exp", runtime="torch").sample_rate == 8000


class Seen(Watch):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.read: list[tuple[str, int, int]] = []

    def reading(self, what: str) -> object:  # type: ignore[override]
        return lambda done, total: self.read.append((what, done, total))


def test_training_from_python_is_that_of_the_command_line(
    tmp_path: Path, data: Path, command: list[str], fresh_process: None
) -> None:
    made, seen = config(f"data.train={data} data.valid={data}"), Seen()
    found = audiocodec.train(made, tmp_path / "python", device="cpu", watch=seen)
    assert (found.folder, found.config, found.step, found.signal) == (tmp_path / "python", made, 4, None)
    assert seen.read[-1] == ("reading audio", 5, 5)
    subprocess.run([sys.executable, "-m", "audiocodec", *command], capture_output=True, check=True)
    ours, theirs = tensors(tmp_path / "python", 4), tensors(tmp_path / "exp", 4)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()] == []
    again = audiocodec.train(
        str(tmp_path / "python" / "config.yaml"),
        tmp_path / "python",
        overrides=["train.steps=5"],
        resume=True,
        device="cpu",
    )
    assert again.step == 5 and len((tmp_path / "python" / "train.log").read_text().split("training on")) == 3


def test_what_cannot_be_trained_is_refused_before_audio_is_read(tmp_path: Path, data: Path) -> None:
    with pytest.raises(audiocodec.UsageError, match="data.train is not set"):
        audiocodec.train(config(), tmp_path / "exp")
    with pytest.raises(audiocodec.CheckpointError, match="nowhere: no such model"):
        audiocodec.train(config(f"data.train={data}"), tmp_path / "exp", init_from="nowhere")
    with pytest.raises(audiocodec.ConfigError, match="no such configuration"):
        audiocodec.train("nowhere.yaml", tmp_path / "exp")
    with pytest.raises(audiocodec.UsageError, match="overrides are for a file or a name"):
        audiocodec.train(config(), tmp_path / "exp", overrides=["seed=1"])
    assert not (tmp_path / "exp").exists()
