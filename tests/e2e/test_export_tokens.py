"""`audiocodec export-tokens`: what other programs read is what is in the token files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from audiocodec.cli.main import main
from audiocodec.tokens.token_file import TokenFile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three token files of two codebooks: a, spk/b, spk/c."""
    for number, name in enumerate(("a", "spk/b", "spk/c")):
        path = tmp_path / "tok" / f"{name}.act"
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = 3 + number
        TokenFile(
            codes=np.arange(2 * frames).reshape(2, frames),
            codebook_sizes=(64, 64),
            sample_rate=24_000,
            hop_length=320,
            num_samples=320 * frames,
            original_sample_rate=24_000,
            original_channels=1,
            original_num_samples=320 * frames,
            gain=1.0,
            fingerprint=bytes(8),
        ).write(path)
    return tmp_path / "tok"


def test_arrays(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "npy"
    assert main(["export-tokens", str(folder), "--format", "npy", "-d", str(out)]) == 0
    for name, frames in (("a", 3), ("spk/b", 4), ("spk/c", 5)):
        codes = np.load(out / f"{name}.npy", allow_pickle=False)
        assert codes.dtype == np.int32
        np.testing.assert_array_equal(codes, np.arange(2 * frames).reshape(2, frames))
    capsys.readouterr()
    assert main(["export-tokens", str(folder / "a.act"), "--format", "npy", "--num-codebooks", "1"]) == 0
    assert " of work" not in capsys.readouterr().err  # which is always 0.00 s
    np.testing.assert_array_equal(np.load(folder / "a.npy"), [[0, 1, 2]])


def test_json_lines(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl"
    assert main(["export-tokens", str(folder), "--format", "jsonl", "-o", str(out)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["a", "spk/b", "spk/c"]
    assert lines[0]["codes"] == [[0, 1, 2], [3, 4, 5]] and lines[0]["sample_rate"] == 24_000


def test_kaldi_archive_of_a_list_on_stdout(folder: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture) -> None:
    scp = tmp_path / "tokens.scp"
    scp.write_text(f"utt2 {folder}/a.act\nutt1 cat {folder}/spk/b.act |\n")
    words = ["export-tokens", str(scp), "--format", "kaldi", "--quiet"]
    assert main([*words, "--num-codebooks", "1", "--allow-pipes"]) == 0
    assert capfdbinary.readouterr().out == b"utt2 0 1 2\nutt1 0 1 2 3\n"
    assert main([*words, "--allow-pipes"]) == 0
    assert capfdbinary.readouterr().out == b"utt2 0 3 ; 1 4 ; 2 5 ;\nutt1 0 4 ; 1 5 ; 2 6 ; 3 7 ;\n"
    assert main(words) == 1
    assert b"--allow-pipes" in capfdbinary.readouterr().err


def test_stdin_to_an_array_on_stdout(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO((folder / "a.act").read_bytes()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(["export-tokens", "-", "-o", "-", "--format", "npy"]) == 0
    np.testing.assert_array_equal(np.load(io.BytesIO(capfdbinary.readouterr().out)), [[0, 1, 2], [3, 4, 5]])


def test_bad_inputs_fail_alone(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = (folder / "a.act").read_bytes()
    (folder / "cut.act").write_bytes(data[:-1])
    (folder / "two words.act").write_bytes(data)
    (tmp_path / "a.act").write_bytes(data)
    out = tmp_path / "t.jsonl"
    inputs = [str(folder), str(tmp_path / "a.act"), str(tmp_path / "none.act")]
    assert main(["export-tokens", *inputs, "--format", "jsonl", "-o", str(out)]) == 1
    message = capsys.readouterr().err
    for cause in ("cut.act: ", "its id 'two words' is not one", "would all become", "none.act: No such file"):
        assert cause in message
    assert "2 of 7 done, 5 failed" in message
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == ["spk/b", "spk/c"]


def test_no_archive_without_a_single_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cut.act").write_bytes(b"\x89ACT")
    out = tmp_path / "t.ark"
    assert main(["export-tokens", str(folder / "cut.act"), "--format", "kaldi", "-o", str(out)]) == 1
    assert "none of the inputs could be used" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tok"]


def test_usage(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "t.jsonl"
    out.write_text("precious")
    before = (folder / "a.act").read_bytes()
    for words, cause in (
        (["--format", "jsonl", "-o", str(out)], "already exists; --force overwrites it"),
        (["--format", "jsonl", "-o", str(folder / "a.act"), "--force"], "is an input as well as an output"),
        (["--format", "kaldi", "-d", str(tmp_path / "x")], "makes one file of all inputs"),
        (["--format", "npy"], "say with -d where the outputs go"),
        ([], "--format"),
    ):
        assert main(["export-tokens", str(folder), *words]) == 2
        assert cause in capsys.readouterr().err
    assert main(["export-tokens", "-", "--format", "jsonl"]) == 2
    assert "stdin has no id" in capsys.readouterr().err
    assert out.read_text() == "precious" and (folder / "a.act").read_bytes() == before
    assert main(["export-tokens", str(folder), "--format", "jsonl", "-o", str(out), "--force"]) == 0
    assert len(out.read_text().splitlines()) == 3
