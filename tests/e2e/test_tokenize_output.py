"""What `audiocodec tokenize` leaves, read by the programs that it is meant for; checked, exported and imported again."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import corpora

from audiocodec.cli.main import main
from audiocodec.errors import CorpusError
from audiocodec.lm_tokens import PackedTokens
from audiocodec.tokens.token_file import TokenFile

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpora.write_corpus(tmp_path_factory.mktemp("corpus") / "audio")


@pytest.fixture(scope="module")
def expected(audio: Path, tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TokenFile]:
    return corpora.encoded(audio, tiny_model_path, tmp_path_factory.mktemp("encoded"))


def tokenize(audio: Path, model: Path, out: Path, *words: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANK", "0")
        patch.setenv("WORLD_SIZE", "1")
        seconds = str(3600 * 2 / 1000)  # two files a shard
        common = ["-m", str(model), "-d", str(out), "--engine", "torchrun", "--quiet", "--shard-seconds", seconds]
        assert main(["tokenize", str(audio), *common, *words]) == 0
    return out


@pytest.fixture(scope="module")
def data(audio: Path, tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two codebooks, three shards; not to be changed."""
    return tokenize(audio, tiny_model_path, tmp_path_factory.mktemp("data") / "out", "--licence", "CC0-1.0")


@pytest.fixture
def own(data: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    out = tmp_path / "own"
    out.mkdir()
    for path in data.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    return out


def test_schema(data: Path, tiny_model_path: Path) -> None:
    schema = pq.read_schema(data / "tokens-00001.parquet")
    assert schema.field("codes").type == pa.list_(pa.list_(pa.uint16()))
    metadata = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    plan = json.loads((data / "plan.json").read_text())
    assert metadata["audiocodec.fingerprint"] == plan["model"]["fingerprint"]
    assert (metadata["audiocodec.hop_length"], metadata["audiocodec.codebook_sizes"]) == ("320", "[64, 64]")
    assert metadata["audiocodec.licence"] == "CC0-1.0" and len(metadata["audiocodec.plan"]) == 16
    mark = json.loads(pq.read_metadata(data / "tokens-00001.parquet").metadata[b"audiocodec.shard"])
    assert (mark["shard"], mark["rows"], mark["failures"]) == (1, 2, [])


def test_one_codebook_is_a_plain_list(audio: Path, tiny_model_path: Path, tmp_path: Path) -> None:
    out = tokenize(audio, tiny_model_path, tmp_path / "out", "--num-codebooks", "1")
    assert pq.read_schema(out / "tokens-00000.parquet").field("codes").type == pa.list_(pa.uint16())


def test_datasets_reads_the_folder(data: Path, expected: dict[str, TokenFile], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(data), split="train", cache_dir=str(tmp_path))
    assert {row["id"]: np.array(row["codes"]).tolist() for row in loaded} == {
        key: tokens.codes.tolist() for key, tokens in expected.items()
    }
    assert loaded.features["codes"] == datasets.List(datasets.List(datasets.Value("uint16")))
    assert loaded.features["duration"] == datasets.Value("float64")
    files = str(data / "tokens-*.parquet")
    streamed = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    assert [row["id"] for row in streamed] == loaded["id"][:]


def test_polars_duckdb_pandas(data: Path, expected: dict[str, TokenFile]) -> None:
    files = str(data / "tokens-*.parquet")
    frames = {key: tokens.codes.shape[1] for key, tokens in expected.items()}
    pandas, polars, duckdb = (pytest.importorskip(name) for name in ("pandas", "polars", "duckdb"))
    table = pandas.concat(map(pandas.read_parquet, sorted(data.glob("tokens-*.parquet"))))
    assert dict(zip(table["id"], table["num_frames"])) == frames
    lengths = polars.scan_parquet(files).select("id", polars.col("codes").list.first().list.len()).collect()
    assert dict(lengths.iter_rows()) == frames
    assert dict(duckdb.sql(f"SELECT id, len(codes[1]) FROM '{files}'").fetchall()) == frames


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset does not close the tars it reads
def test_webdataset(audio: Path, tiny_model_path: Path, expected: dict[str, TokenFile], tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    out = tokenize(audio, tiny_model_path, tmp_path / "out", "--format", "webdataset")
    urls = [str(path) for path in sorted(out.glob("tokens-*.tar"))]
    samples = list(wds.WebDataset(urls, shardshuffle=False).decode())
    gc.collect()  # what it left open, while the filter holds
    assert {sample["json"]["id"]: sample["codes.npy"].tolist() for sample in samples} == {
        key: tokens.codes.tolist() for key, tokens in expected.items()
    }
    assert samples[0]["codes.npy"].dtype == np.uint16
    assert len({sample["__key__"] for sample in samples}) == len(expected)
    assert main(["verify-tokens", str(out), "-m", str(tiny_model_path)]) == 0


def test_packed(data: Path, expected: dict[str, TokenFile]) -> None:
    packed = PackedTokens(data, context=64)
    assert len(packed) == sum(2 * t.codes.shape[1] + 2 for t in expected.values()) // 64
    assert int(max(packed[i].max() for i in range(len(packed)))) == packed.vocabulary.eos


def test_sound_data_is_found_sound(data: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify-tokens", str(data), "-m", str(tiny_model_path)]) == 0
    assert "5 rows in 3 shards, 0 failures listed, 5 encoded again, 0 problems" in capsys.readouterr().err


def rewritten(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """A shard with other rows and the same footer."""
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    rows = table.to_pylist()
    change(rows)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, table.schema))
        writer.add_key_value_metadata({"audiocodec.shard": metadata[b"audiocodec.shard"].decode()})


def _missing_row(rows: list[dict[str, Any]]) -> None:
    rows.pop()


def _doubled_row(rows: list[dict[str, Any]]) -> None:
    rows.append(rows[0])


def _foreign_row(rows: list[dict[str, Any]]) -> None:
    rows[0]["id"] = "stranger"


def _short_row(rows: list[dict[str, Any]]) -> None:
    rows[0]["codes"] = [row[:-1] for row in rows[0]["codes"]]


def _code_too_large(rows: list[dict[str, Any]]) -> None:
    rows[0]["codes"][1][0] = 64


def _one_other_code(rows: list[dict[str, Any]]) -> None:
    rows[0]["codes"][0][0] ^= 1


def _swapped(rows: list[dict[str, Any]]) -> None:
    rows.reverse()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_missing_row, "tokens-00000.parquet: s1/b: missing"),
        (_doubled_row, "tokens-00000.parquet: a: doubled: also in tokens-00000.parquet"),
        (_foreign_row, "tokens-00000.parquet: stranger: foreign"),
        (_short_row, "tokens-00000.parquet: a: damaged: "),
        (_code_too_large, "tokens-00000.parquet: a: damaged: codebook 1 has 64 entries, a code is 64"),
        (_one_other_code, "tokens-00000.parquet: a: 1 of 29 frames differ when encoded again"),
        (_swapped, "tokens-00000.parquet: rows are in another order than the plan's"),
    ],
)
def test_wrong_rows_are_found(
    own: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str], change: Any, message: str
) -> None:
    rewritten(own / "tokens-00000.parquet", change)
    assert main(["verify-tokens", str(own), "-m", str(tiny_model_path)]) == 1
    assert message in capsys.readouterr().err


def test_wrong_files_are_found(own: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "tokens-00001.parquet").rename(own / "tokens-00007.parquet")
    path = own / "tokens-00002.parquet"
    chunk = pq.read_metadata(path).row_group(0).column(1)
    assert chunk.path_in_schema.startswith("codes")
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size - 8] ^= 1  # in the codes: the page's checksum finds it
    path.write_bytes(data)
    assert main(["verify-tokens", str(own), "-m", str(tiny_model_path)]) == 1
    said = capsys.readouterr().err
    for line in ("tokens-00001.parquet: missing", "tokens-00007.parquet: foreign", "tokens-00002.parquet: damaged"):
        assert line in said


def test_another_model_is_refused(own: Path, audio: Path, other_model_path: Path, capsys) -> None:
    words = ["tokenize", str(audio), "-m", str(other_model_path), "-d", str(own), "--shard-seconds", "7.2"]
    assert main([*words, "--licence", "CC0-1.0"]) == 2
    assert "was planned otherwise: model was" in capsys.readouterr().err


def test_import_gives_the_token_files_back(
    data: Path, expected: dict[str, TokenFile], tmp_path: Path, tiny_model_path
) -> None:
    files = [str(path) for path in sorted(data.glob("tokens-*.parquet"))]
    words = ["import-tokens", *files, "-m", str(tiny_model_path), "-d", str(tmp_path / "act")]
    assert main(words) == 0
    for key, tokens in expected.items():
        assert TokenFile.read(tmp_path / f"act/{key}.act") == tokens
    assert main(words) == 1  # they exist
    assert main([*words, "--force"]) == 0


def test_import_refuses_another_model(data: Path, other_model_path: Path, tmp_path: Path, capsys) -> None:
    path = str(data / "tokens-00000.parquet")
    assert main(["import-tokens", path, "-m", str(other_model_path), "-d", str(tmp_path / "act")]) == 2
    assert "was made by model" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["parquet", "webdataset", "jsonl", "kaldi", "npy"])
def test_export_and_import(
    form: str, audio: Path, tiny_model_path: Path, expected: dict[str, TokenFile], tmp_path: Path
) -> None:
    model, act = str(tiny_model_path), tmp_path / "act"
    assert main(["encode", str(audio), "-m", model, "-d", str(act), "--quiet"]) == 0
    name = {"parquet": "x.parquet", "webdataset": "x.tar", "jsonl": "x.jsonl", "kaldi": "x.ark", "npy": "npy"}[form]
    where = "-d" if form == "npy" else "-o"
    assert main(["export-tokens", str(act), "--format", form, where, str(tmp_path / name), "--quiet"]) == 0
    inputs = [str(p) for p in sorted((tmp_path / name).rglob("*.npy"))] if form == "npy" else [str(tmp_path / name)]
    assert main(["import-tokens", *inputs, "-m", model, "-d", str(tmp_path / "again")]) == 0
    for key, tokens in expected.items():
        path = tmp_path / "again" / f"{key.rpartition('/')[2] if form == 'npy' else key}.act"
        found = TokenFile.read(path)
        np.testing.assert_array_equal(found.codes, tokens.codes)
        if form in ("parquet", "webdataset", "jsonl"):
            assert found == tokens
        else:
            assert found.num_samples == 320 * tokens.codes.shape[1]


@pytest.mark.parametrize("form", ["bin", "megatron"])
def test_flat_files(
    form: str, audio: Path, tiny_model_path: Path, expected: dict[str, TokenFile], tmp_path: Path
) -> None:
    act = tmp_path / "act"
    assert main(["encode", str(audio), "-m", str(tiny_model_path), "-d", str(act), "--quiet"]) == 0
    assert main(["export-tokens", str(act), "--format", form, "-o", str(tmp_path / "x.bin"), "--quiet"]) == 0
    ids = np.fromfile(tmp_path / "x.bin", np.uint16)
    parts = [part[1:] for part in np.split(ids, np.flatnonzero(ids == 129))[1:]]
    assert [part[-1] for part in parts] == [130] * len(expected)
    for part, key in zip(parts, sorted(expected), strict=True):
        np.testing.assert_array_equal(part[:-1].reshape(-1, 2).T - [[0], [64]], expected[key].codes)


def test_generated_codes_become_sound(tiny_model_path: Path, tmp_path: Path, capsys) -> None:
    lines = [{"id": "x/good", "codes": [[1, 2, 3], [4, 5, 6]]}, {"id": "first", "codes": [7, 8]}]
    lines += [{"id": "../up", "codes": [[1], [2]]}, {"id": "big", "codes": [[64], [0]]}, {"codes": [1]}]
    lines += [{"id": "empty", "codes": []}, {"id": "ragged", "codes": [[1, 2], [3]]}]
    (tmp_path / "g.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["import-tokens", str(tmp_path / "g.jsonl"), "-m", str(tiny_model_path), "-d", str(tmp_path / "act")]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "id '../up' leads out of the folder" in said and "a code is 64; must be 0 to 63" in said
    assert sorted(str(p.relative_to(tmp_path / "act")) for p in (tmp_path / "act").rglob("*.act")) == [
        *("first.act", "x/good.act")
    ]
    decode = ["decode", str(tmp_path / "act"), "-m", str(tiny_model_path), "-d", str(tmp_path / "wav"), "--quiet"]
    assert main(decode) == 0
    assert (tmp_path / "wav/x/good.wav").stat().st_size == 44 + 2 * 3 * 320


def test_no_pickle_is_loaded(tiny_model_path: Path, tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    words = ["import-tokens", str(tmp_path / "x.npy"), "-m", str(tiny_model_path), "-d", str(tmp_path / "act")]
    assert main(words) == 1
    assert "x.npy: cannot be read" in capsys.readouterr().err


def test_a_missing_package_is_named(audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiocodec.tokenize import library

    for package, call, extra in (
        ("pyarrow", library.pyarrow, "tokenize"),
        ("fsspec", library.fsspec, "tokenize"),
        ("ray", library.ray, "ray"),
    ):
        monkeypatch.setitem(__import__("sys").modules, package, None)
        with pytest.raises(CorpusError, match=rf'pip install .*\[{extra}\]"'):
            call()


def test_decode_takes_codes_as_they_come(
    audio: Path, expected: dict[str, TokenFile], tiny_model_path: Path, tmp_path: Path, capsys
) -> None:
    """Generated codes straight to sound: the same as by way of token files."""
    tokens = next(iter(expected.values()))
    rows = tmp_path / "generated.jsonl"
    rows.write_text(json.dumps({"id": "a", "codes": tokens.codes.tolist()}) + "\n")
    np.save(tmp_path / "b.npy", tokens.codes)
    model = ["-m", str(tiny_model_path), "--quiet"]
    assert main(["import-tokens", str(rows), "-d", str(tmp_path / "acts"), *model]) == 0
    assert main(["decode", str(tmp_path / "acts" / "a.act"), "-o", str(tmp_path / "by.wav"), *model]) == 0
    for source in (rows, tmp_path / "b.npy"):
        out = tmp_path / f"{source.stem}.wav"
        assert main(["decode", str(source), "-o", str(out), *model]) == 0
        assert out.read_bytes() == (tmp_path / "by.wav").read_bytes()
    rows.write_text(
        rows.read_text()
        + json.dumps({"id": "wrong", "codes": [[64], [0]]})
        + "\n"
        + json.dumps({"id": "c", "codes": tokens.codes.tolist()})
        + "\n"
    )
    capsys.readouterr()
    assert main(["decode", str(rows), "-d", str(tmp_path / "out"), *model]) == 1
    assert "wrong: " in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.wav", "c.wav"]
    assert main(["decode", str(rows), "-o", str(tmp_path / "x.wav"), *model]) == 2
    assert "2 utterances; -d DIR takes them all" in capsys.readouterr().err
