"""`audiocodec tokenize`: every source gives the codes that `audiocodec encode` gives its files, and its columns."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support import corpora

from audiocodec.cli.main import main
from audiocodec.tokens.token_file import TokenFile

pq = pytest.importorskip("pyarrow.parquet")

Tokenize = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpora.write_corpus(tmp_path_factory.mktemp("corpus") / "audio")


@pytest.fixture(scope="module")
def expected(audio: Path, tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TokenFile]:
    return corpora.encoded(audio, tiny_model_path, tmp_path_factory.mktemp("encoded"))


@pytest.fixture
def tokenize(tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tokenize:
    """Rows by id of a source, made in this process."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")

    def run(*words: str | Path, status: int = 0) -> dict[str, dict[str, Any]]:
        out = tmp_path / "out"
        common = ["-m", tiny_model_path, "-d", out, "--engine", "torchrun", "--quiet"]
        assert main([str(word) for word in ["tokenize", *words, *common]]) == status
        tables = [pq.read_table(path) for path in sorted(out.glob("tokens-*.parquet"))]
        return {row["id"]: row for table in tables for row in table.to_pylist()}

    return run


def check(rows: dict[str, dict[str, Any]], expected: dict[str, TokenFile]) -> None:
    assert sorted(rows) == sorted(expected)
    for key, tokens in expected.items():
        assert corpora.same_codes(rows[key], tokens), key
        assert rows[key]["num_frames"] == tokens.codes.shape[1]
        assert rows[key]["duration"] == tokens.num_samples / tokens.sample_rate


def failures(folder: Path) -> dict[str, str]:
    return {row["id"]: row["error"] for row in pq.read_table(folder / "out/failures.parquet").to_pylist()}


def test_folder(audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile]) -> None:
    check(tokenize(audio), expected)


def test_batches_change_nothing(audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile]) -> None:
    check(tokenize(audio, "--batch-seconds", "1.5"), expected)


def test_onnxruntime(audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile]) -> None:
    check(tokenize(audio, "--runtime", "onnx"), expected)


def test_first_codebook_alone(audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile]) -> None:
    rows = tokenize(audio, "--num-codebooks", "1")
    for key, tokens in expected.items():
        assert rows[key]["codes"] == tokens.codes[0].tolist()


def test_equal_stems_keep_their_extension(tmp_path: Path, tokenize: Tokenize) -> None:
    for name in ("x.wav", "x.flac", "y/x.wav"):
        (tmp_path / "in/y").mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, 0.1 * np.ones(2_000), 24_000)
    assert sorted(tokenize(tmp_path / "in")) == ["x.flac", "x.wav", "y/x"]


def test_kaldi_folder(audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile], tmp_path: Path) -> None:
    rows = tokenize(corpora.write_kaldi(audio, tmp_path / "data"))
    check(rows, {key.replace("/", "-"): tokens for key, tokens in expected.items()})
    assert (rows["s1-b"]["speaker"], rows["s1-b"]["text"], rows["a"]["text"]) == ("spk-s1", "words of s1-b", None)


def test_kaldi_segments_are_files_cut_out(tmp_path: Path, tokenize: Tokenize, tiny_model_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(3).standard_normal(32_000)
    soundfile.write(tmp_path / "long.wav", noise, 16_000, subtype="FLOAT")
    stored, _ = soundfile.read(tmp_path / "long.wav")
    (tmp_path / "cut").mkdir()
    for key, first, last in (("u1", 0, 8_000), ("u2", 4_000, 20_000), ("u3", 24_000, 32_000)):
        soundfile.write(tmp_path / f"cut/{key}.wav", stored[first:last], 16_000, subtype="FLOAT")
    data = tmp_path / "data"
    data.mkdir()
    (data / "wav.scp").write_text(f"rec {tmp_path}/long.wav\n")
    (data / "segments").write_text("u1 rec 0.0 0.5\nu2 rec 0.25 1.25\nu3 rec 1.5 -1\nu4 rec 7 8\n")
    check(tokenize(data, status=1), corpora.encoded(tmp_path / "cut", tiny_model_path, tmp_path / "encoded"))
    assert "the recording has 2.000 s" in failures(tmp_path)["u4"]


def test_commands_in_wav_scp(audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile], tmp_path: Path) -> None:
    (tmp_path / "list.scp").write_text(f"a cat {audio}/a.wav |\nbad false |\n")
    tokenize(tmp_path / "list.scp", status=2)
    rows = tokenize(tmp_path / "list.scp", "--allow-pipes", status=1)
    check(rows, {"a": expected["a"]})
    assert failures(tmp_path)["bad"] == "the command ended with status 1"


def test_manifest(audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile]) -> None:
    rows = tokenize(corpora.write_manifest(audio, audio.parent / "m.jsonl"))
    check(rows, {f"audio/{key}": tokens for key, tokens in expected.items()})
    row = rows["audio/s1/b"]
    assert (row["language"], row["text"], row["snr"], row["tags"]) == ("cs", "words of s1/b", 1.5, '["s1/b", 1]')
    assert row["source_duration"] == 12_345 / 16_000


def test_lhotse_cuts(tmp_path: Path, tokenize: Tokenize, tiny_model_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(3).standard_normal(16_000)
    soundfile.write(tmp_path / "r.wav", noise, 16_000, subtype="FLOAT")
    (tmp_path / "cut").mkdir()
    soundfile.write(
        tmp_path / "cut/c.wav", soundfile.read(tmp_path / "r.wav")[0][4_000:12_000], 16_000, subtype="FLOAT"
    )
    recording = {"id": "r", "sources": [{"type": "file", "channels": [0], "source": str(tmp_path / "r.wav")}]}
    recording |= {"sampling_rate": 16_000, "num_samples": 16_000, "duration": 1.0}
    supervision = {"id": "c", "recording_id": "r", "start": 0, "duration": 0.5, "text": "hello", "speaker": "x"}
    cut = {"id": "c", "start": 0.25, "duration": 0.5, "channel": 0, "type": "MonoCut", "recording": recording}
    (tmp_path / "cuts.jsonl").write_text(json.dumps({**cut, "supervisions": [supervision]}) + "\n")
    rows = tokenize(tmp_path / "cuts.jsonl")
    check(rows, corpora.encoded(tmp_path / "cut", tiny_model_path, tmp_path / "encoded"))
    assert (rows["c"]["text"], rows["c"]["speaker"]) == ("hello", "x")


def test_tars(audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile], tmp_path: Path) -> None:
    folder = corpora.write_tars(audio, tmp_path / "tars")
    rows = tokenize(f"{folder}/part-{{0..1}}.tar")
    check(rows, expected)
    assert (rows["s2/d"]["text"], rows["s2/d"]["n"], rows["s2/d"]["speaker"]) == ("words of s2/d", 1, "s2")
    assert len(list((tmp_path / "out").glob("tokens-*"))) == 2


def test_what_fits_no_column_of_a_tar_is_kept(tmp_path: Path, tokenize: Tokenize, audio: Path) -> None:
    sound = (audio / "a.wav").read_bytes()
    members = {f"{n:03d}.wav": sound for n in range(102)}
    members |= {f"{n:03d}.json": json.dumps({"n": n}).encode() for n in range(100)}
    members |= {"100.json": b'{"n": "many"}', "101.json": b'{"n": 101, "new": [1]}'}
    rows = tokenize(corpora.write_tar(tmp_path / "x.tar", dict(sorted(members.items()))))
    assert (rows["099"]["n"], rows["099"]["other"]) == (99, None)
    assert (rows["100"]["n"], rows["100"]["other"]) == (None, '{"n": "many"}')
    assert (rows["101"]["n"], rows["101"]["other"]) == (101, '{"new": [1]}')


def test_hostile_tar(tmp_path: Path, tokenize: Tokenize, audio: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(tmp_path / "exploded").touch, ())

    sound = (audio / "a.wav").read_bytes()
    members = {"../../up.wav": sound, "/etc/x.wav": sound, "p.wav": sound, "p.pyd": pickle.dumps(Bomb())}
    members |= {"q.wav": sound, "q.meta.pickle": pickle.dumps(Bomb()), "r.json": b"{}", "s.wav": sound, "s.json": b"{"}
    before = {path for path in tmp_path.rglob("*")}
    rows = tokenize(corpora.write_tar(tmp_path / "x.tar", members), status=1)
    assert sorted(rows) == ["../../up", "/etc/x"]
    assert {key: error.split()[0:3] for key, error in failures(tmp_path).items()} == {
        "p": ["has", "a", "pickled"],
        "q": ["has", "a", "pickled"],
        "r": ["has", "no", "audio,"],
        "s": ["its", ".json", "or"],
    }
    new = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")} - {p.name for p in before}
    assert new == {"out", "x.tar"} and not (tmp_path.parent / "up.wav").exists()


def test_truncated_tar(tmp_path: Path, tokenize: Tokenize, audio: Path) -> None:
    folder = corpora.write_tars(audio, tmp_path / "tars")
    data = (folder / "part-0.tar").read_bytes()
    (folder / "part-0.tar").write_bytes(data[: len(data) // 2])
    rows = tokenize(folder / "part-0.tar", folder / "part-1.tar", status=1)
    assert {"a", "s2/d", "s2/e"} <= set(rows)
    assert "cannot be read after sample" in failures(tmp_path)[""]


def test_parquet_with_bytes(audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile], tmp_path: Path) -> None:
    rows = tokenize(corpora.write_parquet(audio, tmp_path / "x.parquet"))
    check(rows, expected)
    assert (rows["s1/b"]["text"], rows["s1/b"]["age"]) == ("words of s1/b", 30)


def test_parquet_with_paths(audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile]) -> None:
    pa = pytest.importorskip("pyarrow")
    names = list(corpora.files_of(audio))
    table = {"file": [str(p.relative_to(audio)) for p in corpora.files_of(audio).values()] + [None, "no.wav"]}
    pq.write_table(pa.table(table), audio / "list.parquet")
    try:
        rows = tokenize(audio / "list.parquet", status=1)
    finally:
        (audio / "list.parquet").unlink()
    check(rows, {f"list-{n:07d}": expected[name] for n, name in enumerate(names)})


def test_written_by_datasets(audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile], tmp_path: Path) -> None:
    pa, datasets = pytest.importorskip("pyarrow"), pytest.importorskip("datasets")
    files = corpora.files_of(audio)
    features = datasets.Features({"id": datasets.Value("string"), "audio": datasets.Audio()})
    rows = {"id": list(files), "audio": [{"bytes": p.read_bytes(), "path": p.name} for p in files.values()]}
    table = datasets.table.InMemoryTable(pa.table(rows, schema=features.arrow_schema))  # no torchcodec
    datasets.Dataset(table, fingerprint="given").to_parquet(tmp_path / "hf.parquet")
    check(tokenize(tmp_path / "hf.parquet"), expected)


@pytest.mark.parametrize("protocol", ["memory", "file"])
def test_addresses(
    audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile], tmp_path: Path, protocol: str
) -> None:
    fsspec = pytest.importorskip("fsspec")
    root = f"memory://corpus-{tmp_path.name}" if protocol == "memory" else f"file://{tmp_path}/remote"
    system, path = fsspec.core.url_to_fs(root)
    for name, file in corpora.files_of(audio).items():
        system.makedirs(f"{path}/{name}".rpartition("/")[0], exist_ok=True)
        system.pipe(f"{path}/{name}{file.suffix}", file.read_bytes())
    check(tokenize(root), expected)


def test_tars_at_an_address(audio: Path, tokenize: Tokenize, expected: dict[str, TokenFile], tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    folder = corpora.write_tars(audio, tmp_path / "tars")
    for tar in folder.glob("*.tar"):
        fsspec.filesystem("memory").pipe(f"/tars-{tmp_path.name}/{tar.name}", tar.read_bytes())
    check(tokenize(f"memory://tars-{tmp_path.name}/part-*.tar"), expected)


def test_bad_audio_is_listed_and_the_rest_done(tmp_path: Path, tokenize: Tokenize, audio: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    data = (audio / "a.wav").read_bytes()
    (folder / "good.wav").write_bytes(data)
    (folder / "cut.wav").write_bytes(data[:1000])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.flac").write_text("no audio")
    assert list(tokenize(folder, status=1)) == ["good"]
    found = pq.read_table(tmp_path / "out/failures.parquet").to_pylist()
    assert [(row["id"], row["file"]) for row in found] == [
        (name, str(folder / file)) for name, file in (("cut", "cut.wav"), ("empty", "empty.wav"), ("text", "text.flac"))
    ]
    assert "truncated" in found[0]["error"] and "is empty" in found[1]["error"]


def test_long_audio_is_not_held_whole(tmp_path: Path, tokenize: Tokenize, tiny_model_path: Path) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/long.flac", 0.1 * np.random.default_rng(0).standard_normal(8_000 * 61), 8_000)
    check(tokenize(tmp_path / "in"), corpora.encoded(tmp_path / "in", tiny_model_path, tmp_path / "encoded"))
