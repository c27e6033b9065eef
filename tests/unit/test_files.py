"""A file appears whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audiocodec.files import new_folder, remove_leftovers, replacing, temporary_beside


def test_what_was_there_stays_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)  # names may have 255 bytes: the temporary one's must not be longer
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path and path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("written", [True, False])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException], written: bool) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        if written:
            temporary.write_text("new")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "a").read_text() == "1"


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b") as temporary:
        (temporary / "c").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "c").read_text() == "1"
    with pytest.raises(KeyError), new_folder(tmp_path / "d") as temporary:
        (temporary / "c").write_text("1")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


KILLED = """
import os, sys
from audiocodec.files import new_folder, replacing
with replacing(sys.argv[1] + "/file") as file, new_folder(sys.argv[1] + "/folder") as folder:
    file.write_text("half")
    (folder / "half").write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_goes_with_the_next_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False).returncode == -9
    assert len(list(tmp_path.glob(".*.tmp"))) == 2
    (tmp_path / ".mine.tmp").write_text("of another program")
    (tmp_path / f".early.{2**22 + 1}-7f00c0ffee.tmp").write_text("of a version that named no machine; no such process")
    with replacing(tmp_path / "of us") as ours:
        ours.write_text("")
        done = subprocess.run(
            [sys.executable, "-c", KILLED.replace("os.kill(os.getpid(), 9)", ""), str(tmp_path)], check=False
        )
        assert done.returncode == 0 and ours.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder", "of us", ".mine.tmp"}


def test_temporary_names_of_another_machine_stay_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiocodec.files._machine", lambda: "0000")
    there = temporary_beside(tmp_path / "a")
    there.write_text("half")
    monkeypatch.setattr("audiocodec.files._machine", lambda: "ffff")
    remove_leftovers(tmp_path)
    assert there.exists()
    yesterday = time.time() - 90_000
    os.utime(there, (yesterday, yesterday))
    remove_leftovers(tmp_path)
    assert not there.exists()
