"""What a launcher's environment asks of a training is obeyed, or refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.training_run import config

from audiocodec.errors import UsageError
from audiocodec.training.launcher import check, check_processes, on_cpu

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*NAMES, *(name for name in os.environ if name.startswith("ACCELERATE_"))]:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variable", "settings", "device", "message"),
    [
        ("ACCELERATE_USE_DEEPSPEED=true", "", "auto", "DeepSpeed is not supported"),
        ("ACCELERATE_USE_FSDP=True", "", "auto", "FSDP is not supported"),
        ("ACCELERATE_DYNAMO_BACKEND=INDUCTOR", "", "auto", "it is train.compile=true that compiles"),
        ("ACCELERATE_MIXED_PRECISION=fp16", "", "auto", "contradicts train.precision=float32"),
        ("ACCELERATE_MIXED_PRECISION=bf16", "", "auto", "contradicts train.precision=float32"),
        ("ACCELERATE_MIXED_PRECISION=bf16", "train.precision=bf16", "auto", ""),
        ("ACCELERATE_MIXED_PRECISION=no", "train.precision=bf16", "auto", ""),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4", "", "auto", "contradicts train.gradient_accumulation=1"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS=1", "train.gradient_accumulation=4", "auto", "=4; change one of them"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4", "train.gradient_accumulation=4", "auto", ""),
        ("ACCELERATE_TORCH_DEVICE=cuda:1", "", "cpu", "contradicts --device cpu"),
        ("ACCELERATE_TORCH_DEVICE=cpu", "", "cpu", ""),
        ("ACCELERATE_USE_CPU=true", "", "cuda", "contradicts --device cuda"),
        ("WORLD_SIZE=2", "", "auto", "RANK and LOCAL_RANK are not set"),
        ("WORLD_SIZE=1", "", "auto", ""),
        ("ACCELERATE_DYNAMO_BACKEND=no", "", "auto", ""),
    ],
)
def test_each_variable(
    variable: str, settings: str, device: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, value = variable.partition("=")
    monkeypatch.setenv(name, value)
    if not message:
        return check(config(settings), device)
    with pytest.raises(UsageError, match=message) as caught:
        check(config(settings), device)
    assert variable in str(caught.value)


def test_cuda_is_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--device cuda: no CUDA device is available"):
        check(config(), "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check(config(), "cuda")
    assert not on_cpu("cuda") and not on_cpu("auto")


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    check_processes(3)
    with pytest.raises(UsageError, match=r"WORLD_SIZE=3, but 1 process\(es\) train together"):
        check_processes(1)


@pytest.mark.parametrize("variable", ["ACCELERATE_USE_CPU=true", "LOCAL_RANK=0"])
def test_the_cpu_is_what_a_launcher_asks_for(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not on_cpu("auto") and on_cpu("cpu")
    monkeypatch.setenv(*variable.split("="))
    assert on_cpu("auto")


@pytest.mark.slow
def test_two_processes_of_a_launcher_are_one_trainer_without_a_word_on_the_device(tmp_path: Path) -> None:
    """On a machine without a GPU, each would train alone, in the folder of the other."""
    from support.training_run import CONFIG, make_data

    data = make_data(tmp_path)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "audiocodec"]
    words += ["train", "--config", str(tmp_path / "tiny.yaml"), "--exp", str(tmp_path / "exp")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*words, "--set", f"data.train={data}"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 process(es)" in (tmp_path / "exp" / "train.log").read_text()
    assert not (tmp_path / "exp" / ".lock").exists()
