"""Data folders as Kaldi and editors leave them: text of any system, segments, what is not supported."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.data_folders import edit, save

from audiocodec.audio import io
from audiocodec.data.corpus import make_folder
from audiocodec.data.dataset import SegmentDataset
from audiocodec.data.excerpt import Excerpt
from audiocodec.data.manifest import Utterance, read_folder, read_scp, write_folder
from audiocodec.data.pipes import audio_file, info
from audiocodec.data.validation import BadAudio, validate
from audiocodec.errors import AudioError, ManifestError

TABLES = ("wav.scp", "utt2spk", "utt2num_samples")
EDITORS = {
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "Windows": lambda text: text.replace(b"\n", b"\r\n"),
    "old Mac": lambda text: text.replace(b"\n", b"\r"),
    "no final newline": lambda text: text.rstrip(b"\n"),
    "blanks at the ends": lambda text: text.replace(b"\n", b" \t \n"),
    "tabs": lambda text: b"\n".join(line.replace(b" ", b"\t", 1) for line in text.split(b"\n")),
    "columns": lambda text: b"\n".join(line.replace(b" ", b" \t  ", 1) for line in text.split(b"\n")),
    "empty lines": lambda text: b"\n\r\n" + text.replace(b"\n", b"\n\n"),
}


@pytest.mark.parametrize("editor", EDITORS)
def test_text_of_any_editor(editor: str, data_folder: Path) -> None:
    before = read_folder(data_folder)
    for name in TABLES:
        path = data_folder / name
        path.write_bytes(EDITORS[editor](path.read_bytes()))
    assert read_folder(data_folder) == before and validate(data_folder, deep=True) == []


def test_utf_16_is_refused_by_name(data_folder: Path) -> None:
    path = data_folder / "utt2spk"
    path.write_text(path.read_text(), encoding="utf-16")
    with pytest.raises(ManifestError, match="utt2spk: is UTF-16 text; save it as UTF-8"):
        read_folder(data_folder)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("/x/raw.ark:17", r"b is a place in an archive \(/x/raw.ark:17\)"),
        ("/x/raw.ark:17[0:99]", "b is a place in an archive"),
        ("-", "b is the standard input"),
        ("| sox - /x/b.wav", "b is a command that audio is written to"),
        ("sox /x/b.wav -t wav - |", "commands run only with --allow-pipes"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(value: str, message: str, data_folder: Path, tmp_path: Path) -> None:
    edit("wav.scp", f"{tmp_path}/audio/b b.wav", value)(data_folder)
    for read in (read_folder, lambda folder: read_scp(folder / "wav.scp")):
        with pytest.raises(ManifestError, match=message):
            read(data_folder)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A folder of two recordings, one of two channels, with four segments."""
    save(tmp_path / "r.wav", 8_000)
    rng = np.random.default_rng(1)
    soundfile.write(tmp_path / "s.flac", rng.normal(0, 0.1, (8_000, 2)), 8_000)
    folder = tmp_path / "cut"
    folder.mkdir()
    (folder / "wav.scp").write_text(f"r {tmp_path}/r.wav\ns {tmp_path}/s.flac\n")
    (folder / "segments").write_text("a r 0.25 0.75\nb r 0.5 1.2\nc s 0.125 -1\nd s 0 1\n")
    (folder / "utt2spk").write_text("a x\nb x\nc y\nd y\n")
    return folder


def test_segments_are_the_samples_between_their_times(recordings: Path, tmp_path: Path) -> None:
    spans = {"a": ("r.wav", 2_000, 6_000), "b": ("r.wav", 4_000, 8_000), "c": ("s.flac", 1_000, 8_000)}
    read = {u.id: u for u in read_folder(recordings)}
    assert list(read) == ["a", "b", "c", "d"] and read["c"].speaker == "y"
    assert validate(recordings, deep=True) == []
    for key, (name, first, last) in spans.items():
        whole = soundfile.read(tmp_path / name, dtype="float32", always_2d=True)[0]
        with audio_file(read[key].path) as path:
            samples, rate = soundfile.read(path, dtype="float32")
            assert io.info(path) == info(read[key].path) == io.AudioInfo(8_000, 1, last - first)
        assert rate == 8_000
        np.testing.assert_allclose(samples, whole[first:last].mean(1), atol=1e-7)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b q 0 1", "segments:2: recording q is not in wav.scp"),
        ("b r 0.5", "segments:2: expected 'id recording start end'"),
        ("b r 0.5 0.5", "segments:2: expected 'id recording start end' in seconds"),
        ("b r 0.5 nan", "segments:2: expected 'id recording start end' in seconds"),
        ("b r 0 1 1", "segments:2: channel 1 of a recording is not supported"),
        ("a r 0 1", "segments:2: duplicate id a"),
        ("b r 0.5 1.6", "ends at 1.6 s; the recording has 1.000 s"),
        ("b r 1 1.4", "the segment at 1 s is empty; the recording has 1.000 s"),
    ],
)
def test_wrong_segments(line: str, message: str, recordings: Path) -> None:
    edit("segments", "b r 0.5 1.2", line)(recordings)
    assert any(message in str(problem) for problem in validate(recordings)), validate(recordings)


def test_an_excerpt_travels_to_other_processes() -> None:
    part = pickle.loads(pickle.dumps(Excerpt("/x/r.wav", "r", 0.5, None, "/x/segments")))
    assert (part, part.recording, part.end, part.listed) == ("/x/r.wav[0.5:]", "/x/r.wav", None, "/x/segments")


def test_lengths_come_from_headers_where_no_table_has_them(data_folder: Path) -> None:
    (data_folder / "utt2num_samples").unlink()
    (data_folder / "spk2utt").write_text("s1 a b\ns2 c\n")
    (data_folder / "utt2dur").write_text("a 0.0125\nb 0.01\nc 0.0125\n")
    assert validate(data_folder) == []
    dataset = SegmentDataset(read_folder(data_folder), 8_000, 50, seed=0)
    assert [u.num_samples for u in dataset.utterances()] == [100, 100, 100]
    edit("utt2dur", "b 0.01", "b 0.5")(data_folder)
    (problem,) = validate(data_folder)
    assert str(problem).endswith("b b.wav: has 0.013 s, utt2dur says 0.5")


def test_segments_are_written_as_they_are_read(recordings: Path, tmp_path: Path) -> None:
    read = [Utterance(u.id, u.path, u.speaker, info(u.path).num_samples) for u in read_folder(recordings)]
    whole = Utterance("e", str(tmp_path / "r.wav"), "z", 8_000)
    write_folder([*read, whole], tmp_path / "out")
    assert read_folder(tmp_path / "out")[:4] == read
    assert (tmp_path / "out" / "segments").read_text().endswith("\ne e 0.0 -1\n")
    assert validate(tmp_path / "out", deep=True) == []
    write_folder([whole], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(TABLES)


def test_a_folder_from_a_list(recordings: Path, tmp_path: Path) -> None:
    made, left_out = make_folder(recordings / "wav.scp", tmp_path / "out", min_seconds=0.6)
    assert [(u.id, u.speaker, u.num_samples) for u in made] == [("c", "y", 7_000), ("d", "y", 8_000)]
    assert len(left_out) == 2 and made == read_folder(tmp_path / "out") and validate(tmp_path / "out") == []


def test_bad_audio_is_left_out_and_named(data_folder: Path) -> None:
    path = data_folder.parent / "audio" / "b b.wav"
    path.write_bytes(path.read_bytes()[:-10])
    assert [type(problem) for problem in validate(data_folder)] == [BadAudio]
    utterances = read_folder(data_folder)
    with pytest.raises(ManifestError, match="b: .*truncated"):
        SegmentDataset(utterances, 8_000, 50, seed=0).preload()
    dataset = SegmentDataset(utterances, 8_000, 50, seed=0, skip_bad=True)
    assert [u.id for u in dataset.utterances()] == ["a", "c"]
    assert len(dataset.left_out) == 1 and dataset.left_out[0].startswith("b: ") and "truncated" in dataset.left_out[0]
    with pytest.raises(ManifestError, match=r"no audio to train on: 0 utterances, 0 of them silent, 1 left out\nb: "):
        SegmentDataset(utterances[1:2], 8_000, 50, seed=0, skip_bad=True).preload()


def test_a_part_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="No such file"), audio_file(Excerpt(f"{tmp_path}/x.wav", "x", 0, 1)):
        pass
