"""The tables of a data folder: what is written is read back, what cannot be is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.data_folders import edit

from audiocodec.data.manifest import Utterance, read_folder, write_folder
from audiocodec.errors import ManifestError


def test_read_folder(data_folder: Path, tmp_path: Path) -> None:
    assert read_folder(data_folder) == [
        Utterance("a", f"{tmp_path}/audio/a a.wav", "s1", 100),
        Utterance("b", f"{tmp_path}/audio/b b.wav", "s1", 100),
        Utterance("c", f"{tmp_path}/audio/c c.wav", "s2", 100),
    ]


def test_read_folder_reports_all_problems_at_once(data_folder: Path) -> None:
    edit("wav.scp", "c /", "a /")(data_folder)
    edit("utt2spk", "b s1\n", "")(data_folder)
    with pytest.raises(ManifestError, match="duplicate id a(?s:.*)no entry for b"):
        read_folder(data_folder)


@pytest.mark.parametrize("path", ["/x/line\nbreak.wav", "/x/blank at its end.wav "])
def test_paths_that_no_table_can_hold(tmp_path: Path, path: str) -> None:
    with pytest.raises(ManifestError, match="does not fit wav.scp"):
        write_folder([Utterance("a", path, "s", 1)], tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_equal_ids_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="duplicate id a"):
        write_folder([Utterance("a", "/1", "s", 1), Utterance("a", "/2", "s", 1)], tmp_path / "data")
