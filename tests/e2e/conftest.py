"""Fixtures of the tests that train."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def fresh_process() -> Iterator[None]:
    """What a process of its own would have: no accelerator set up before, no log file open afterwards."""
    import torch
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    log = logging.getLogger("audiocodec.train")
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    log.propagate = True


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder to train on."""
    from training_run import make_data

    return make_data(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def command(tmp_path: Path, data: Path) -> list[str]:
    """`train ...` on the tiny configuration, into `tmp_path / "exp"`."""
    from training_run import CONFIG

    (tmp_path / "tiny.yaml").write_text(CONFIG)
    words = ["train", "--config", str(tmp_path / "tiny.yaml"), "--exp", str(tmp_path / "exp"), "--device", "cpu"]
    return [*words, "--set", f"data.train={data}", "--set", f"data.valid={data}"]
