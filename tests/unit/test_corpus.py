"""Data folders made of a tree of audio: a rerun changes nothing, ids cannot collide, what is bad is left out and listed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.data_folders import save

from audiocodec.data.corpus import find_files, make_folder, split
from audiocodec.data.manifest import FILES, Utterance, read_folder, write_folder
from audiocodec.data.validation import validate
from audiocodec.errors import ManifestError


def tables(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in FILES}


def test_make_folder(tmp_path: Path) -> None:
    root = tmp_path / "my audio"
    for name in ("s1/a b.wav", "s1/x/c.FLAC", "s2/a b.ogg", "S3/é.opus", "top.mp3"):
        save(root / name, 4_000)
    (root / "s1" / "notes.txt").write_text("no audio")
    save(root / ".hidden" / "a.wav")
    save(root / "s1" / "._a b.wav")
    made, left_out = make_folder(root, tmp_path / "data")
    assert left_out == []
    assert [(u.id, u.speaker) for u in made] == [
        ("S3-é", "S3"),
        ("s1-a_b", "s1"),
        ("s1-x-c", "s1"),
        ("s2-a_b", "s2"),
        ("top", "top"),
    ]
    assert tables(tmp_path / "data")["wav.scp"].splitlines()[1] == f"s1-a_b {root}/s1/a b.wav"
    assert read_folder(tmp_path / "data") == made
    assert validate(tmp_path / "data", deep=True) == []


def test_making_a_folder_again_touches_nothing(tmp_path: Path) -> None:
    save(tmp_path / "audio" / "a.wav")
    save(tmp_path / "audio" / "b.wav")
    out = tmp_path / "data"
    make_folder(tmp_path / "audio", out)
    for name in FILES:
        os.utime(out / name, (1, 1))
    before = tables(out)
    made, _ = make_folder(tmp_path / "audio", out)
    assert not write_folder(made, out)
    assert tables(out) == before and all((out / name).stat().st_mtime == 1 for name in FILES)
    assert sorted(os.listdir(out)) == sorted(FILES)
    save(tmp_path / "audio" / "c.wav")
    make_folder(tmp_path / "audio", out)
    assert len((out / "wav.scp").read_text().splitlines()) == 3


def test_ids_cannot_collide(tmp_path: Path) -> None:
    for name in ("a/b.wav", "a-b.wav", "a/b.flac", "c/b.wav"):
        save(tmp_path / "audio" / name)
    made, _ = make_folder(tmp_path / "audio", tmp_path / "data")
    ids = [u.id for u in made]
    assert len(set(ids)) == 4 and "c-b" in ids and sum(i.startswith("a-b-") for i in ids) == 3


def test_sorted_by_bytes(tmp_path: Path) -> None:
    for name in ("b", "B", "a_", "aB", "é", "z"):
        save(tmp_path / "audio" / f"{name}.wav")
    made, _ = make_folder(tmp_path / "audio", tmp_path / "data")
    assert [u.id for u in made] == ["B", "aB", "a_", "b", "z", "é"]  # as `LC_ALL=C sort` does


def test_bad_audio_is_left_out_and_listed(tmp_path: Path) -> None:
    save(tmp_path / "audio" / "good.wav")
    save(tmp_path / "audio" / "short.wav", 10)
    (tmp_path / "audio" / "bad.wav").write_text("text")
    made, left_out = make_folder(tmp_path / "audio", tmp_path / "data", min_seconds=0.01)
    assert [u.id for u in made] == ["good"]
    assert [(os.path.basename(p.where), p.message[:9]) for p in left_out] == [
        ("bad.wav", "not audio"),
        ("short.wav", "shorter t"),
    ]


def test_folders_without_audio(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="empty: holds no .wav"):
        make_folder(tmp_path / "empty", tmp_path / "data")
    with pytest.raises(ManifestError, match="no such folder"):
        make_folder(tmp_path / "none", tmp_path / "data")
    (tmp_path / "empty" / "a.wav").write_text("text")
    with pytest.raises(ManifestError, match=r"none of its 1 audio files is usable(?s:.*)a\.wav: not audio"):
        make_folder(tmp_path / "empty", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "a.wav")
    (tmp_path / "audio").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "audio" / "s1")
    os.symlink(tmp_path / "audio", tmp_path / "elsewhere" / "loop")
    assert find_files(tmp_path / "audio", (".wav",)) == ["s1/a.wav"]


def many(count: int) -> list[Utterance]:
    return [Utterance(f"u{i:04}", f"/{i}.wav", f"s{i % 50}", 1) for i in range(count)]


def test_split_is_stable_and_complete() -> None:
    parts = split(many(2_000), dev=0.1, test=0.05)
    ids = {side: {u.id for u in part} for side, part in parts.items()}
    assert sum(map(len, ids.values())) == len(set().union(*ids.values())) == 2_000
    assert 150 < len(ids["dev"]) < 250 and 60 < len(ids["test"]) < 140  # binomial: 200 +- 13, 100 +- 10
    fewer = split(many(1_000)[::-1], dev=0.1, test=0.05)
    assert all({u.id for u in fewer[side]} <= ids[side] for side in ids)  # additions move nothing
    assert [u.id for u in split(many(20))["test"]] == [u.id for u in split(many(20))["test"]]


def test_split_by_speaker() -> None:
    parts = split(many(500), dev=0.2, test=0.2, by_speaker=True)
    speakers = [{u.speaker for u in part} for part in parts.values()]
    assert all(speakers) and sum(map(len, speakers)) == 50


@pytest.mark.parametrize(("count", "sizes"), [(1, (1, 0, 0)), (3, (1, 1, 1)), (5, None)])
def test_split_of_a_few(count: int, sizes: tuple[int, int, int] | None) -> None:
    parts = split(many(count), dev=0.01, test=0.01)
    found = tuple(len(parts[side]) for side in ("train", "dev", "test"))
    assert found == (sizes or (3, 1, 1))
    assert not split(many(10), dev=0.0, test=0.1)["dev"]
