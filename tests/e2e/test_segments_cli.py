"""`segments` on the command line: a part of a recording is coded as a file of its own would be."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.cli.main import main
from audiocodec.tokens.token_file import TokenFile

SPANS = {"r-1": (0.0, 0.5), "r-2": (0.25, 1.0)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of two parts of a recording, and in `files/` the parts as files."""
    root = tmp_path_factory.mktemp("cut")
    wav = (0.1 * np.random.default_rng(0).standard_normal(48_000)).astype(np.float32)
    soundfile.write(root / "r.wav", wav, 48_000, subtype="FLOAT")
    (root / "files").mkdir()
    for key, (start, end) in SPANS.items():
        part = wav[int(start * 48_000) : int(end * 48_000)]
        soundfile.write(root / "files" / f"{key}.wav", part, 48_000, subtype="FLOAT")
    (root / "wav.scp").write_text(f"r {root}/r.wav\n")
    (root / "segments").write_text("".join(f"{key} r {start} {end}\n" for key, (start, end) in SPANS.items()))
    (root / "utt2spk").write_text("r-1 s\nr-2 s\n")
    return root


@pytest.mark.parametrize("name", ["", "wav.scp"])
def test_encode(name: str, folder: Path, tiny_model_path: Path, tmp_path: Path) -> None:
    words = ["encode", "-m", str(tiny_model_path), "--quiet"]
    assert main([*words, str(folder / name), "-d", str(tmp_path / "cut")]) == 0
    assert main([*words, str(folder / "files"), "-d", str(tmp_path / "files")]) == 0
    assert sorted(os.listdir(tmp_path / "cut")) == ["r-1.act", "r-2.act"]
    for key in SPANS:
        cut, whole = (TokenFile.read(tmp_path / place / f"{key}.act") for place in ("cut", "files"))
        assert cut.to_bytes() == whole.to_bytes()


def test_resume_sees_other_times(folder: Path, tiny_model_path: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "wav.scp").write_text((folder / "wav.scp").read_text())
    (own / "segments").write_text((folder / "segments").read_text())
    words = ["encode", str(own), "-m", str(tiny_model_path), "-d", str(tmp_path / "out"), "--quiet", "--resume"]
    assert main(words) == 0
    (own / "segments").write_text("r-1 r 0 0.75\n")
    later = (tmp_path / "out" / "r-1.act").stat().st_mtime + 10
    os.utime(own / "segments", (later, later))
    assert main(words) == 0
    assert TokenFile.read(tmp_path / "out" / "r-1.act").original_num_samples == 36_000


def test_evaluate(folder: Path, tmp_path: Path) -> None:
    """Against its own parts there is no difference."""
    words = ["evaluate", "--reference", str(folder), "--estimate", str(folder / "files"), "-d", str(tmp_path / "eval")]
    assert main([*words, "--metrics", "si_sdr", "--jobs", "1", "--quiet"]) == 0


def test_tokenize(folder: Path, tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    words = ["-m", str(tiny_model_path), "--engine", "torchrun", "--quiet"]
    (folder / "segments").write_bytes(b"\xef\xbb\xbf" + (folder / "segments").read_bytes().replace(b"\n", b"\r\n"))
    codes = {}
    for place in (".", "files"):
        out = tmp_path / place.strip(".") / "out"
        assert main(["tokenize", str(folder / place), "-d", str(out), *words]) == 0
        codes[place] = [
            row["codes"] for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
        ]
    assert codes["."] == codes["files"] and len(codes["."]) == 2
    (folder / "segments").write_text("r-1 r 0 0.5\nr-2 r 0.25 1.6\n")
    assert main(["tokenize", str(folder), "-d", str(tmp_path / "beyond"), *words]) == 1
    (failure,) = pq.read_table(tmp_path / "beyond" / "failures.parquet").to_pylist()
    assert failure["id"] == "r-2" and "ends at 1.6 s; the recording has 1.000 s" in failure["error"]


def test_a_segment_that_is_not_there_is_one_failure(
    folder: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "segments").write_text("r-1 r 0 0.5\nr-2 r 2 3\n")
    assert main(["encode", str(folder), "-m", str(tiny_model_path), "-d", str(tmp_path / "out"), "--quiet"]) == 1
    assert "r.wav[2.0:3.0]: the segment at 2 s is empty; the recording has 1.000 s" in capsys.readouterr().err
    assert os.listdir(tmp_path / "out") == ["r-1.act"]
