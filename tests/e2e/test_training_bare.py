"""Training on a machine that has torch, numpy, accelerate, safetensors, tensorboard, tqdm and PyYAML, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.training_run import tensors

from audiocodec.cli.main import main
from audiocodec.model_file import describe

LACKING = (
    "soundfile",
    "soxr",
    "librosa",
    "scipy",
    "pesq",
    "pystoi",
    "matplotlib",
    "numba",
    "sklearn",
    "onnxruntime",
    "swift_f0",
    "pyworld",
)
# Nothing of LACKING can be imported: neither by this package nor by those that training needs.
BARE = f"""\
import sys
sys.modules.update({{name: None for name in {LACKING!r}}})
from audiocodec.model_file import describe
from audiocodec.cli.main import main
status = main(sys.argv[1:])
loaded = [name for name in {LACKING!r} if sys.modules[name] is not None]
assert not loaded, loaded
sys.exit(status)
"""


def bare(words: list[str], status: int = 0) -> str:
    done = subprocess.run([sys.executable, "-c", BARE, *words], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.slow
def test_training_needs_no_library_of_audio(tmp_path: Path, command: list[str]) -> None:
    """All phases, validation and states, from WAV files; the numbers are those of a run that has everything."""
    options = ["--set", "train.valid_interval=2", "--set", "train.lean_minutes=100", "--set", "loss.loudness=1"]
    bare([*command, *options])
    other = [*command, *options]
    other[other.index("--exp") + 1] = str(tmp_path / "whole")
    done = subprocess.run([sys.executable, "-m", "audiocodec", *other], capture_output=True, check=False)
    assert done.returncode == 0
    ours, theirs = tensors(tmp_path / "exp", 4), tensors(tmp_path / "whole", 4)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()] == []
    bare([*command, "--resume", "--set", "train.steps=5"])
    other[other.index("--exp") + 1] = str(tmp_path / "more")
    bare([*other, "--init-from", str(tmp_path / "exp" / "lean")])


def test_what_lacks_is_said(tmp_path: Path, command: list[str]) -> None:
    said = bare([*command, "--set", "sample_rate=16000", "--set", "train.valid_scores=[pesq]"], status=1)
    assert "resampling needs soxr" in said
    rate = [*command, "--set", "train.valid_scores=[stoi]"]
    assert "train.valid_scores: stoi needs pystoi" in bare(rate, status=2)
    assert main([*rate, "--dry-run"]) == 0


def test_a_voiced_decoder_trains_on_pitch_that_was_found_before(tmp_path: Path, command: list[str]) -> None:
    voiced = [*command, "--set", "model.decoder.kind=voiced", "--set", "train.steps=2"]
    assert main(voiced) == 0  # keeps the pitch with the data
    voiced[voiced.index("--exp") + 1] = str(tmp_path / "bare")
    bare(voiced)
    assert describe(tmp_path / "bare").config.model.decoder.kind == "voiced"
