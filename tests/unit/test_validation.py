"""Every kind of damage to a data folder is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.data_folders import damage_flac, edit

from audiocodec.data.validation import validate


def test_a_sound_folder_has_no_problems(data_folder: Path) -> None:
    assert validate(data_folder, deep=True) == []


def cut_audio(folder: Path) -> None:
    path = folder.parent / "audio" / "b b.wav"
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("damage", "where", "message"),
    [
        (lambda f: (f / "wav.scp").unlink(), "wav.scp", "No such file"),
        (lambda f: (f / "wav.scp").write_text(""), "wav.scp", "has no utterances"),
        (lambda f: (f / "utt2spk").unlink(), "utt2spk", "No such file"),
        (edit("wav.scp", "b b.wav", "x.wav"), "b", "x.wav: No such file"),
        (edit("wav.scp", "c /", "a /"), "wav.scp:3", "duplicate id a"),
        (edit("utt2spk", "b s1\n", ""), "utt2spk", "no entry for b"),
        (edit("utt2spk", "c s2\n", "c s2\nd s3\n"), "utt2spk", "d is not in wav.scp"),
        (edit("utt2spk", "b s1\n", "b\n"), "utt2spk:2", "expected 'id value'"),
        (edit("utt2spk", "b s1\nc s2\n", "c s2\nb s1\n"), "utt2spk", "not sorted"),
        (edit("utt2num_samples", "b 100", "b 101"), "b", "has 100 samples, utt2num_samples says 101"),
        (edit("utt2num_samples", "b 100", "b ten"), "utt2num_samples", "b: expected a positive number, got 'ten'"),
        (edit("utt2num_samples", "b 100", "b 0"), "utt2num_samples", "b: expected a positive number"),
        (edit("wav.scp", "b b.wav", "b b.wav |"), "wav.scp", "--allow-pipes"),
        (lambda f: (f.parent / "audio" / "b b.wav").write_text("text"), "b", "not audio"),
        (lambda f: (f.parent / "audio" / "b b.wav").write_bytes(b""), "b", "empty"),
        (cut_audio, "b", "truncated"),
        (damage_flac, "b", "damaged"),
    ],
)
def test_validate_finds(data_folder: Path, damage: Callable[[Path], None], where: str, message: str) -> None:
    damage(data_folder)
    problems = validate(data_folder, deep=True)
    assert any(p.where.endswith(where) and message in p.message for p in problems), problems


def test_shallow_validation_reads_headers_only(data_folder: Path) -> None:
    damage_flac(data_folder)
    assert validate(data_folder) == []


def test_validate_without_folder(tmp_path: Path) -> None:
    assert [str(p) for p in validate(tmp_path / "none")] == [f"{tmp_path}/none: no such folder"]
