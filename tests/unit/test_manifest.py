"""Kaldi folders: what is written is read back, a rerun changes nothing, every kind of damage is found."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.data import manifest
from audiocodec.data.manifest import Utterance
from audiocodec.errors import AudioError, ManifestError


def save(path: Path, samples: int = 100, rate: int = 8_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"format": "OGG", "subtype": "OPUS"} if path.suffix.lower() == ".opus" else {}
    soundfile.write(path, np.random.default_rng(samples).normal(0, 0.1, samples), rate, **kind)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound data folder of three utterances, `data/`, written by hand."""
    for name in ("a", "b", "c"):
        save(tmp_path / "audio" / f"{name} {name}.wav")
    out = tmp_path / "data"
    out.mkdir()
    (out / "wav.scp").write_text("".join(f"{n} {tmp_path}/audio/{n} {n}.wav\n" for n in "abc"))
    (out / "utt2spk").write_text("a s1\nb s1\nc s2\n")
    (out / "utt2num_samples").write_text("a 100\nb 100\nc 100\n")
    return out


def test_read_folder(folder: Path, tmp_path: Path) -> None:
    assert manifest.read_folder(folder) == [
        Utterance("a", f"{tmp_path}/audio/a a.wav", "s1", 100),
        Utterance("b", f"{tmp_path}/audio/b b.wav", "s1", 100),
        Utterance("c", f"{tmp_path}/audio/c c.wav", "s2", 100),
    ]
    assert manifest.validate(folder, deep=True) == []


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return apply


def cut_audio(folder: Path) -> None:
    path = folder.parent / "audio" / "b b.wav"
    path.write_bytes(path.read_bytes()[:-10])


def damage_flac(folder: Path) -> None:
    """Damage that only decoding finds: the header is whole."""
    path = save(folder.parent / "audio" / "b b.flac", 50_000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 500] = bytes(500)
    (folder.parent / "audio" / "b b.wav").write_bytes(data)
    edit("utt2num_samples", "b 100", "b 50000")(folder)


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
def test_validate_finds(folder: Path, damage: Callable[[Path], None], where: str, message: str) -> None:
    damage(folder)
    problems = manifest.validate(folder, deep=True)
    assert any(p.where.endswith(where) and message in p.message for p in problems), problems


def test_shallow_validation_reads_headers_only(folder: Path) -> None:
    damage_flac(folder)
    assert manifest.validate(folder) == []


def test_validate_without_folder(tmp_path: Path) -> None:
    assert [str(p) for p in manifest.validate(tmp_path / "none")] == [f"{tmp_path}/none: no such folder"]


def test_read_folder_reports_all_problems_at_once(folder: Path) -> None:
    edit("wav.scp", "c /", "a /")(folder)
    edit("utt2spk", "b s1\n", "")(folder)
    with pytest.raises(ManifestError, match="duplicate id a(?s:.*)no entry for b"):
        manifest.read_folder(folder)


def test_pipes_run_only_when_allowed(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    edit("wav.scp", f"{tmp_path}/audio/b b.wav", f"touch {ran} && cat '{tmp_path}/audio/b b.wav' |")(folder)
    with pytest.raises(ManifestError, match="b is a command.*--allow-pipes"):
        manifest.read_folder(folder)
    assert manifest.validate(folder, deep=True) and not ran.exists()
    b = manifest.read_folder(folder, allow_pipes=True)[1]
    assert not ran.exists()
    with pytest.raises(ManifestError, match="--allow-pipes"), manifest.audio_file(b.path):
        pass
    assert not ran.exists()
    assert manifest.validate(folder, deep=True, allow_pipes=True) == [] and ran.exists()


def test_a_failing_command_is_an_error() -> None:
    with pytest.raises(AudioError, match=r"status 3 \(oh no\)"), manifest.audio_file("echo oh no >&2; exit 3 |", True):
        pass


# --- making folders


def tables(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in manifest.FILES}


def test_make_folder(tmp_path: Path) -> None:
    root = tmp_path / "my audio"
    for name in ("s1/a b.wav", "s1/x/c.FLAC", "s2/a b.ogg", "S3/é.opus", "top.mp3"):
        save(root / name, 4_000)
    (root / "s1" / "notes.txt").write_text("no audio")
    save(root / ".hidden" / "a.wav")
    save(root / "s1" / "._a b.wav")
    made, left_out = manifest.make_folder(root, tmp_path / "data")
    assert left_out == []
    assert [(u.id, u.speaker) for u in made] == [
        ("S3-é", "S3"),
        ("s1-a_b", "s1"),
        ("s1-x-c", "s1"),
        ("s2-a_b", "s2"),
        ("top", "top"),
    ]
    assert tables(tmp_path / "data")["wav.scp"].splitlines()[1] == f"s1-a_b {root}/s1/a b.wav"
    assert manifest.read_folder(tmp_path / "data") == made
    assert manifest.validate(tmp_path / "data", deep=True) == []


def test_making_a_folder_again_touches_nothing(tmp_path: Path) -> None:
    save(tmp_path / "audio" / "a.wav")
    save(tmp_path / "audio" / "b.wav")
    out = tmp_path / "data"
    manifest.make_folder(tmp_path / "audio", out)
    for name in manifest.FILES:
        os.utime(out / name, (1, 1))
    before = tables(out)
    made, _ = manifest.make_folder(tmp_path / "audio", out)
    assert not manifest.write_folder(made, out)
    assert tables(out) == before and all((out / name).stat().st_mtime == 1 for name in manifest.FILES)
    assert sorted(os.listdir(out)) == sorted(manifest.FILES)
    save(tmp_path / "audio" / "c.wav")
    manifest.make_folder(tmp_path / "audio", out)
    assert len((out / "wav.scp").read_text().splitlines()) == 3


def test_ids_cannot_collide(tmp_path: Path) -> None:
    for name in ("a/b.wav", "a-b.wav", "a/b.flac", "c/b.wav"):
        save(tmp_path / "audio" / name)
    made, _ = manifest.make_folder(tmp_path / "audio", tmp_path / "data")
    ids = [u.id for u in made]
    assert len(set(ids)) == 4 and "c-b" in ids and sum(i.startswith("a-b-") for i in ids) == 3


def test_sorted_by_bytes(tmp_path: Path) -> None:
    for name in ("b", "B", "a_", "aB", "é", "z"):
        save(tmp_path / "audio" / f"{name}.wav")
    made, _ = manifest.make_folder(tmp_path / "audio", tmp_path / "data")
    assert [u.id for u in made] == ["B", "aB", "a_", "b", "z", "é"]  # as `LC_ALL=C sort` does


def test_bad_audio_is_left_out_and_listed(tmp_path: Path) -> None:
    save(tmp_path / "audio" / "good.wav")
    save(tmp_path / "audio" / "short.wav", 10)
    (tmp_path / "audio" / "bad.wav").write_text("text")
    made, left_out = manifest.make_folder(tmp_path / "audio", tmp_path / "data", min_seconds=0.01)
    assert [u.id for u in made] == ["good"]
    assert [(os.path.basename(p.where), p.message[:9]) for p in left_out] == [
        ("bad.wav", "not audio"),
        ("short.wav", "shorter t"),
    ]


def test_folders_without_audio(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="empty: holds no .wav"):
        manifest.make_folder(tmp_path / "empty", tmp_path / "data")
    with pytest.raises(ManifestError, match="no such folder"):
        manifest.make_folder(tmp_path / "none", tmp_path / "data")
    (tmp_path / "empty" / "a.wav").write_text("text")
    with pytest.raises(ManifestError, match=r"none of its 1 audio files is usable(?s:.*)a\.wav: not audio"):
        manifest.make_folder(tmp_path / "empty", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "a.wav")
    (tmp_path / "audio").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "audio" / "s1")
    os.symlink(tmp_path / "audio", tmp_path / "elsewhere" / "loop")
    assert manifest.find_files(tmp_path / "audio", (".wav",)) == ["s1/a.wav"]


@pytest.mark.parametrize("path", ["/x/line\nbreak.wav", "/x/blank at its end.wav "])
def test_paths_that_no_table_can_hold(tmp_path: Path, path: str) -> None:
    with pytest.raises(ManifestError, match="does not fit wav.scp"):
        manifest.write_folder([Utterance("a", path, "s", 1)], tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_equal_ids_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="duplicate id a"):
        manifest.write_folder([Utterance("a", "/1", "s", 1), Utterance("a", "/2", "s", 1)], tmp_path / "data")


# --- splitting


def many(count: int) -> list[Utterance]:
    return [Utterance(f"u{i:04}", f"/{i}.wav", f"s{i % 50}", 1) for i in range(count)]


def test_split_is_stable_and_complete() -> None:
    parts = manifest.split(many(2_000), dev=0.1, test=0.05)
    ids = {side: {u.id for u in part} for side, part in parts.items()}
    assert sum(map(len, ids.values())) == len(set().union(*ids.values())) == 2_000
    assert 150 < len(ids["dev"]) < 250 and 60 < len(ids["test"]) < 140  # binomial: 200 +- 13, 100 +- 10
    fewer = manifest.split(many(1_000)[::-1], dev=0.1, test=0.05)
    assert all({u.id for u in fewer[side]} <= ids[side] for side in ids)  # additions move nothing
    assert [u.id for u in manifest.split(many(20))["test"]] == [u.id for u in manifest.split(many(20))["test"]]


def test_split_by_speaker() -> None:
    parts = manifest.split(many(500), dev=0.2, test=0.2, by_speaker=True)
    speakers = [{u.speaker for u in part} for part in parts.values()]
    assert all(speakers) and sum(map(len, speakers)) == 50


@pytest.mark.parametrize(("count", "sizes"), [(1, (1, 0, 0)), (3, (1, 1, 1)), (5, None)])
def test_split_of_a_few(count: int, sizes: tuple[int, int, int] | None) -> None:
    parts = manifest.split(many(count), dev=0.01, test=0.01)
    found = tuple(len(parts[side]) for side in ("train", "dev", "test"))
    assert found == (sizes or (3, 1, 1))
    assert not manifest.split(many(10), dev=0.0, test=0.1)["dev"]
