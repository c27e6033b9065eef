"""Fixtures of the tests that train, and of those that look at a model's tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread: sums are then rounded as in the processes of a test, which get one thread each."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fresh_process(one_thread: None) -> Iterator[None]:
    """What a process of its own would have: no accelerator set up before, no log file open afterwards."""
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    yield
    log = logging.getLogger("audiocodec.train")
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    log.propagate = True


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder to train on."""
    from support.training_run import make_data

    return make_data(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def command(tmp_path: Path, data: Path) -> list[str]:
    """`train ...` on the tiny configuration, into `tmp_path / "exp"`."""
    from support.training_run import CONFIG

    (tmp_path / "tiny.yaml").write_text(CONFIG)
    words = ["train", "--config", str(tmp_path / "tiny.yaml"), "--exp", str(tmp_path / "exp"), "--device", "cpu"]
    return [*words, "--set", f"data.train={data}", "--set", f"data.valid={data}"]


@pytest.fixture
def tokens(audio: Path, tiny_model_path: Path) -> Path:
    """Token files of the audio that a module's fixture `audio` gives."""
    from audiocodec.cli.main import main

    folder = audio.parent / "tokens"
    assert main(["encode", str(audio), "-m", str(tiny_model_path), "-d", str(folder), "--quiet"]) == 0
    return folder
