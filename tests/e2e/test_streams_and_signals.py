"""Commands whose terminal hangs up, whose standard streams are closed, or that are stopped while they start."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.training.checkpoints import state

COMMAND = f"exec {sys.executable} -m audiocodec"


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "a.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(24_000), 24_000)
    return path


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("info {wav} >&-", 1, "audiocodec: stdout is closed\n"),
        ("info {wav} <&- >&-", 1, "audiocodec: stdout is closed\n"),
        ("info {wav} <&-", 0, ""),
        ("info {wav} >/dev/full", 1, "audiocodec: [Errno 28] No space left on device\n"),
        ("--help >&-", 1, "audiocodec: stdout is closed\n"),
        ("encode - -m {model} --quiet -o a.act <&-", 1, "audiocodec: error: stdin is closed\n"),
        ("encode {wav} -m {model} --quiet -o - >&-", 1, "stdout is closed\n"),
        ("encode {wav} -m {model} --quiet -o b.act <&- >&- 2>&-", 0, ""),
        ("nonsense 2>&-", 2, ""),
    ],
)
def test_closed_streams(
    words: str, status: int, message: str, wav: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    line = f"{COMMAND} {words.format(wav=wav, model=tiny_model_path)}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == status and done.stderr.endswith(message), done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert os.listdir(tmp_path) == (["b.act"] if "b.act" in words else [])


def wait_for(text: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while not (log.exists() and text in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def on_a_terminal(words: list[str]) -> tuple[int, int]:
    """Start a command in a session of its own, whose terminal the returned descriptor is."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-m", "audiocodec", *words])
    return process, terminal


def test_training_saves_when_its_terminal_goes(tmp_path: Path, command: list[str]) -> None:
    process, terminal = on_a_terminal([*command, "--set", "train.steps=100000", "--set", "train.log_interval=1"])
    wait_for(" step 2 ", tmp_path / "exp" / "train.log")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 129
    newest = state.latest(tmp_path / "exp" / "checkpoints")
    assert newest is not None and newest.name >= "step_00000002"


def test_a_batch_ends_in_order_when_its_terminal_goes(tmp_path: Path, wav: Path, tiny_model_path: Path) -> None:
    (tmp_path / "l.scp").write_text("".join(f"{n} {wav}\n" for n in range(100_000)))
    process, terminal = on_a_terminal(
        ["encode", str(tmp_path / "l.scp"), "-m", str(tiny_model_path), "-d", str(tmp_path / "out")]
    )
    while not (tmp_path / "out").exists() or len(os.listdir(tmp_path / "out")) < 3:
        os.read(terminal, 1 << 16)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 129
    assert [name for name in os.listdir(tmp_path / "out") if not name.endswith(".act")] == []


def test_an_ignored_hang_up_stays_ignored(tmp_path: Path, command: list[str]) -> None:
    """As under nohup."""
    words = ["nohup", sys.executable, "-m", "audiocodec", *command, "--set", "train.log_interval=1"]
    ignoring = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(" step 1 ", tmp_path / "exp" / "train.log")
    ignoring.send_signal(signal.SIGHUP)
    assert ignoring.wait() == 0 and (tmp_path / "exp" / "checkpoints" / "step_00000004").exists()


# A library whose start-up, in C++, calls Python and ends the process at any exception.
ABORTS = """
import os, time
try:
    os.kill(os.getpid(), int(os.environ["SENT"]))
    for _ in range(100):
        time.sleep(0.001)
except BaseException:
    os.abort()
"""
IMPORTS_IT = """
import importlib, sys, time
from audiocodec.cli.main import main
from audiocodec.cli.verbs import info
info.run = lambda args: (importlib.import_module("aborts"), time.sleep(60))
sys.exit(main(["info"]))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_waits_until_an_import_is_over(number: int, status: int, tmp_path: Path) -> None:
    (tmp_path / "aborts.py").write_text(ABORTS)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SENT": str(int(number))}
    words = [sys.executable, "-c", IMPORTS_IT]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == status and "Traceback" not in done.stderr, done.stderr
