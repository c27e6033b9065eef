"""Data folders put in order, and joined."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.data_folders import edit, save

from audiocodec.data.manifest import read_folder
from audiocodec.data.repair import combine, fix
from audiocodec.data.validation import validate
from audiocodec.errors import ManifestError


def table(folder: Path, name: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in (folder / name).read_text().splitlines())


def test_a_folder_in_order_is_left_alone(data_folder: Path) -> None:
    before = {path: path.read_bytes() for path in data_folder.iterdir()}
    done = fix(data_folder, check_audio=True, deep=True)
    assert (done.utterances, done.dropped, done.changed) == (3, [], [])
    assert {path: path.read_bytes() for path in data_folder.iterdir()} == before


def test_what_is_not_everywhere_goes_and_the_rest_is_sorted(data_folder: Path) -> None:
    edit("wav.scp", "a /", "é /")(data_folder)  # é sorts behind z in bytes
    (data_folder / "utt2spk").write_bytes(b"\xef\xbb\xbf\xc3\xa9 s1\r\nc s2\r\nb s1\r\nd s2\r\n")
    (data_folder / "text").write_text("é hallo\nb\nc zwei  Wörter\nx nobody\n")
    (data_folder / "spk2utt").write_text("s1 a b\ns2 c d\ns3 x\n")
    (data_folder / "utt2dur").write_text("c 0.0125\n")
    (data_folder / "spk2gender").write_text("s1 f\ns2 m\ns3 f\n")
    old = (data_folder / "utt2spk").read_bytes()
    done = fix(data_folder)
    assert {str(p).partition(": ")[2] for p in done.dropped} == {
        "d is not in text, wav.scp",
        "x is not in utt2spk, wav.scp",
    }
    assert (data_folder / "utt2spk").read_text() == "b s1\nc s2\né s1\n"
    assert (data_folder / "text").read_text() == "b\nc zwei  Wörter\né hallo\n"
    assert (data_folder / "spk2utt").read_text() == "s1 b é\ns2 c\n"
    assert table(data_folder, "utt2num_samples") == {"b": "100", "c": "100", "é": "100"}
    assert table(data_folder, "utt2dur") == {"b": "0.013", "c": "0.0125", "é": "0.013"}
    assert table(data_folder, "spk2gender") == {"s1": "f", "s2": "m"}
    assert (data_folder / ".backup" / "utt2spk").read_bytes() == old and validate(data_folder, deep=True) == []
    assert fix(data_folder).changed == []
    assert (data_folder / ".backup" / "utt2spk").read_bytes() == old


def test_bad_audio_goes_when_asked(data_folder: Path) -> None:
    path = data_folder.parent / "audio" / "b b.wav"
    path.write_bytes(path.read_bytes()[:-10])
    assert fix(data_folder).utterances == 3
    done = fix(data_folder, check_audio=True)
    assert done.utterances == 2 and "truncated" in str(done.dropped[0])
    assert [u.id for u in read_folder(data_folder)] == ["a", "c"]


def test_segments_and_their_recordings(data_folder: Path) -> None:
    (data_folder / "segments").write_text("v b 0 0.01\nu a 0 0.01\nw q 0 1\n")
    (data_folder / "utt2spk").write_text("u s\nv s\nw s\n")
    (data_folder / "utt2num_samples").unlink()
    done = fix(data_folder)
    assert len(done.dropped) == 2 and "recording q is not in wav.scp" in str(done.dropped[0])
    assert (data_folder / "segments").read_text() == "u a 0 0.01\nv b 0 0.01\n"
    assert table(data_folder, "wav.scp").keys() == {"a", "b"}
    assert table(data_folder, "utt2num_samples") == {"u": "80", "v": "80"} and validate(data_folder, deep=True) == []


def test_what_cannot_be_put_in_order_stays_as_it_is(data_folder: Path) -> None:
    edit("utt2spk", "b s1\n", "b s1\nb s2\n")(data_folder)
    before = {path: path.read_bytes() for path in data_folder.iterdir()}
    with pytest.raises(ManifestError, match=r"utt2spk:3: b has another value further up"):
        fix(data_folder)
    (data_folder / "text").write_text("x y\n")
    edit("utt2spk", "b s2\n", "")(data_folder)
    with pytest.raises(ManifestError, match="nothing would be left of it"):
        fix(data_folder)
    edit("utt2spk", "b s1\n", "b s1\nb s2\n")(data_folder)
    (data_folder / "text").unlink()
    assert {path: path.read_bytes() for path in data_folder.iterdir()} == before


def test_folders_are_joined(data_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "wav.scp").write_text(f"r {save(tmp_path / 'r.wav', 800)}\n")
    (other / "segments").write_text("d r 0.05 0.1\n")
    (other / "utt2spk").write_text("d s3\n")
    (other / "text").write_text("d vier\n")
    (data_folder / "text").write_text("a eins\nb zwei\nc drei\n")
    (data_folder / "utt2lang").write_text("a de\nb de\nc de\n")
    joined, left_out = combine([other, data_folder], tmp_path / "out")
    assert [(u.id, u.num_samples) for u in read_folder(tmp_path / "out")] == [
        *(("a", 100), ("b", 100), ("c", 100), ("d", 400))
    ]
    assert len(joined) == 4 and left_out == ["utt2lang"] and validate(tmp_path / "out", deep=True) == []
    assert (tmp_path / "out" / "text").read_text() == "a eins\nb zwei\nc drei\nd vier\n"
    combine([data_folder], tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"wav.scp", "utt2spk", "utt2num_samples", "text", "utt2lang"}
    with pytest.raises(ManifestError, match="a is in .*data, too; ids must differ"):
        combine([data_folder, tmp_path / "out"], tmp_path / "twice")
    assert not (tmp_path / "twice").exists()
