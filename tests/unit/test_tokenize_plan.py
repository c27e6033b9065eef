"""Plans: how sources are cut, what is refused, what a plan file holds; no audio is read."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from audiocodec.errors import CorpusError
from audiocodec.tokenize import inputs, plan, planning, storage
from audiocodec.tokenize.columns import renamed, settled, stored, widen
from audiocodec.tokenize.plan import ModelFacts, Plan
from audiocodec.tokenize.sources.detect import source_of

MODEL = ModelFacts("m", "0011223344556677", "float32", 24_000, 320, (64,))


def make(source: Path | str, out: Path, **asked: object) -> Plan:
    names = [str(source)]
    return planning.make(source_of(names), names, planning.Request(MODEL, **asked), out)


def manifest(path: Path, durations: list[float]) -> Path:
    lines = [json.dumps({"audio_filepath": f"{n}.wav", "duration": d}) for n, d in enumerate(durations)]
    path.write_text("\n".join(lines) + "\n")
    return path


def ids(folder: Path) -> list[list[str]]:
    made = plan.read(folder)
    return [[item.id for item in inputs.read(made, folder, shard)] for shard in range(len(made.shards))]


def test_shards_of_at_most_an_hour(tmp_path: Path) -> None:
    made = make(manifest(tmp_path / "m.jsonl", [1800, 1500, 600, 5000, 10]), tmp_path / "out")
    assert ids(tmp_path / "out") == [["0", "1"], ["2"], ["3"], ["4"]]
    assert [shard.rows for shard in made.shards] == [2, 1, 1, 1]
    assert plan.read(tmp_path / "out") == made


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    source = manifest(tmp_path / "m.jsonl", [1.0] * 10)
    for out in ("a", "b"):
        make(source, tmp_path / out)
    for name in ("plan.json", "inputs.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_unknown_lengths_are_cut_by_number_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "HOUR_FILES", 3)
    monkeypatch.setattr(planning, "HOUR_BYTES", 1000)
    (tmp_path / "in").mkdir()
    for name, size in (("a", 10), ("b", 10), ("c", 10), ("d", 1200), ("e", 10)):
        (tmp_path / f"in/{name}.wav").write_bytes(bytes(size))
    make(tmp_path / "in", tmp_path / "out")
    assert ids(tmp_path / "out") == [["a", "b", "c"], ["d"], ["e"]]


def test_folders_in_order_of_bytes(tmp_path: Path) -> None:
    for name in ("b/z.wav", "b/a.flac", "a.wav", "B.ogg", ".hidden/x.wav", "b/.x.wav", "b/c/d.mp3", "b/x.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "in/b/up").symlink_to(tmp_path / "in")
    make(tmp_path / "in", tmp_path / "out")
    assert ids(tmp_path / "out") == [["B", "a", "b/a", "b/z", "b/c/d"]]


def test_tables_in_any_order(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    keys = [f"u{n:03d}" for n in range(50)]
    (data / "wav.scp").write_text("".join(f"{k} /x/{k}.wav\n" for k in keys))
    (data / "utt2dur").write_text("".join(f"{k} 100\n" for k in keys))
    shuffled = random.Random(0).sample(keys, 40)
    (data / "text").write_text("".join(f"{k} text of {k}\n" for k in shuffled))
    made = make(data, tmp_path / "out")
    assert [shard.rows for shard in made.shards] == [36, 14]
    rows = [item for shard in (0, 1) for item in inputs.read(made, tmp_path / "out", shard)]
    assert [(row.id, row.audio) for row in rows] == [(k, f"/x/{k}.wav") for k in keys]
    assert [row.columns["text"] for row in rows] == [f"text of {k}" if k in shuffled else None for k in keys]


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("wav.scp", "a\n", "wav.scp:1: expected 2 fields"),
        ("wav.scp", "\n", "has no utterances"),
        ("wav.scp", "a x.wav\na y.wav\n", "utterance id 'a' comes twice"),
        ("wav.scp", "a sox x.wav - |\n", "commands run only with --allow-pipes"),
        ("segments", "u a 1\n", "segments:1: expected 4 fields"),
        ("segments", "u b 1 2\n", "segments:1: recording b is not in"),
        ("segments", "u a 2 1\n", "segments:1: expected 'id recording start end' in seconds, got 2 1"),
        ("segments", "u a nan 1\n", "segments:1: expected"),
    ],
)
def test_bad_tables(tmp_path: Path, table: str, text: str, message: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/wav.scp").write_text("a x.wav\n")
    (tmp_path / "data" / table).write_text(text)
    with pytest.raises(CorpusError, match=message):
        make(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out/plan.json").exists()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "line", ["[1]", "{", '{"duration": 1}', '{"audio_filepath": "x", "duration": -1}', '{"id": "x", "sources": []}']
)
def test_bad_manifests(tmp_path: Path, line: str) -> None:
    (tmp_path / "m.jsonl").write_text(f'{{"audio_filepath": "a.wav"}}\n{line}\n')
    with pytest.raises(CorpusError, match=r"m.jsonl:2: expected a JSON object with audio_filepath"):
        make(tmp_path / "m.jsonl", tmp_path / "out")


def test_another_model_source_or_option_is_refused(tmp_path: Path) -> None:
    source = manifest(tmp_path / "m.jsonl", [1, 2, 3])
    out = tmp_path / "out"
    before = make(source, out)
    assert make(source, out) == before
    with pytest.raises(CorpusError, match="shard_seconds was 3600.0, now is 60"):
        make(source, out, shard_seconds=60)
    with pytest.raises(CorpusError, match="writer was parquet, now is webdataset"):
        make(source, out, writer="webdataset")
    other = ModelFacts("m", "ff", "float32", 24_000, 320, (64,))
    with pytest.raises(CorpusError, match="model was"):
        planning.make(source_of([str(source)]), [str(source)], planning.Request(other), out)
    manifest(tmp_path / "other.jsonl", [1, 2, 3])
    with pytest.raises(CorpusError, match="source was"):
        make(tmp_path / "other.jsonl", out)
    manifest(source, [1, 2, 4])
    with pytest.raises(CorpusError, match="the source has changed"):
        make(source, out)
    assert plan.read(out) == before


def test_a_file_of_another_content_is_another_source(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.wav").write_bytes(b"1")
    make(tmp_path / "in", tmp_path / "out")
    os.utime(tmp_path / "in/a.wav", ns=(1, 1))
    with pytest.raises(CorpusError, match="the source has changed"):
        make(tmp_path / "in", tmp_path / "out")


def test_tokens_without_a_plan_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/tokens-00000.parquet").write_bytes(b"x")
    with pytest.raises(CorpusError, match="holds tokens-00000.parquet but no plan.json"):
        make(manifest(tmp_path / "m.jsonl", [1]), tmp_path / "out")


@pytest.mark.parametrize("text", ["", "{}", '{"format": "audiocodec-plan-9"}', "[]"])
def test_damaged_plans(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(CorpusError, match=r"plan.json"):
        plan.read(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "nothing-{0..3}.tar", "x.txt", "*.parquet"])
def test_no_source(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(CorpusError, match=r"no such file|not a source of a known kind"):
        source_of([name])


def test_braces_and_globs(tmp_path: Path) -> None:
    for name in ("a-08.tar", "a-09.tar", "a-10.tar", "b-x.tar", "b-y.tar", "b-z.tar"):
        (tmp_path / name).write_bytes(b"")
    found = storage.expand([f"{tmp_path}/a-{{08..10}}.tar", f"{tmp_path}/b-{{y,x}}.tar", f"{tmp_path}/b-*.tar"])
    assert [os.path.basename(path) for path in found] == [
        *("a-08.tar", "a-09.tar", "a-10.tar", "b-y.tar", "b-x.tar", "b-z.tar")
    ]
    with pytest.raises(CorpusError, match=r"a-11.tar: no such file"):
        storage.expand([f"{tmp_path}/a-{{08..11}}.tar"])


def test_columns() -> None:
    assert renamed({"speaker_id": 1, "text": "a", "sentence": "b", "duration": 2, "x": 3}) == {
        "speaker": 1,
        "text": "a",
        "sentence": "b",
        "source_duration": 2,
        "x": 3,
    }
    kinds: dict[str, str | None] = {}
    for row in ({"a": 1, "b": None, "c": True, "text": "x"}, {"a": 1.5, "b": 2, "c": 1, "d": [1]}, {"e": None}):
        widen(kinds, row)
    assert settled(kinds) == {"a": "double", "b": "int64", "c": "string", "d": "string", "e": "string"}
    assert stored([1, {"b": 2}], "string") == '[1, {"b": 2}]'
    assert (stored(3, "double"), stored(True, "string"), stored(None, "int64")) == (3.0, "true", None)
    assert stored("a\udcff", "string") == r"a\xed\xb3\xbf"
