"""A folder for one process at a time, whatever became of the one before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audiocodec.errors import UsageError
from audiocodec.locks import alone

HOLD = "import sys, time\nfrom audiocodec.locks import alone\nwith alone(sys.argv[1], 'trained'):\n print('held', flush=True)\n time.sleep(60)"


def holding(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_the_second_is_refused_by_name_and_a_killed_one_leaves_nothing_closed(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        with (
            pytest.raises(UsageError, match=f"is being trained by process {process.pid} on "),
            alone(tmp_path, "trained"),
        ):
            pass
        process.send_signal(signal.SIGKILL)
    assert os.listdir(tmp_path) == [".lock"]
    with alone(tmp_path, "trained"):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()
    assert os.listdir(tmp_path) == []


def test_a_lock_that_its_holder_removed_is_not_taken_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the opening and the locking, the holder leaves: the file we have locked has no name any more."""
    from audiocodec import locks

    plain, opened = locks._lock, []

    def removed_meanwhile(descriptor: int) -> bool:
        if not opened:
            (tmp_path / ".lock").unlink()
        opened.append(descriptor)
        return plain(descriptor)

    monkeypatch.setattr(locks, "_lock", removed_meanwhile)
    with alone(tmp_path, "written"):
        assert len(opened) == 2 and (tmp_path / ".lock").exists()


def test_a_folder_that_stays_empty_goes_again(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone(tmp_path / "a" / "b", "written"):
        raise KeyError
    assert not (tmp_path / "a" / "b").exists()
    with alone(tmp_path / "c", "written"):
        (tmp_path / "c" / "d").write_text("")
    assert os.listdir(tmp_path / "c") == ["d"]
