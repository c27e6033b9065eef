"""`audiocodec probe`: stability and bits per token of a model's tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.workspace import write_noise

from audiocodec.cli.main import main


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """Two files of noise in folders of their own, 20 and 30 frames."""
    for name, frames in (("a", 20), ("b", 30)):
        write_noise(tmp_path / "audio" / name / "n.wav", frames)
    return tmp_path / "audio"


def test_both_halves(audio: Path, tokens: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["probe", str(tiny_model_path), "--audio", str(audio)]
    words += ["--train-tokens", str(tokens / "a"), "--test-tokens", str(tokens / "b"), "--steps", "2"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files_left_out"] == 0 and len(found["stability"]) == 7
    assert {row["frames"] for row in found["stability"]} == {50}
    assert all(0 <= share <= 1 for row in found["stability"] for share in row["changed"])
    bits = found["predictability"]
    assert (bits["train_frames"], bits["test_frames"], bits["codebook_size"]) == (20, 30, 64)
    assert np.shape(bits["ngram"]) == (2, 3) and len(bits["transformer"]) == 2
    assert main(words) == 0
    text = capsys.readouterr().out
    for part in ("shift 0.25 hop", "noise at 20 dB", "64 codes: 6.000 bits", "transformer"):
        assert part in text


def test_without_a_transformer(tokens: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--train-tokens", str(tokens / "a"), "--test-tokens", str(tokens / "b"), "--steps", "0"]
    assert main(["probe", str(tiny_model_path), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("codebook ")] == ["-", "-"]


def test_refusals(
    audio: Path, tokens: Path, tiny_model_path: Path, other_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, a, b = str(tiny_model_path), str(tokens / "a"), str(tokens / "b")
    (audio / "bad").mkdir()
    (audio / "bad" / "x.wav").write_bytes(b"RIFFnothing")
    for words, status, cause in (
        ([model], 2, "say --audio PATH"),
        ([model, "--train-tokens", a], 2, "go together"),
        ([model, "--train-tokens", a, "--test-tokens", a], 2, "are one folder"),
        ([model, "--train-tokens", a, "--test-tokens", str(tokens / "none")], 2, "none: No such file"),
        ([model, "--train-tokens", a, "--test-tokens", b, "--steps", "-1"], 2, "whole number of 0 or more"),
        ([model, "--train-tokens", a, "--test-tokens", str(audio)], 1, "holds no .act files"),
        ([model, "--audio", str(audio / "bad")], 1, "x.wav"),
        ([model, "--audio", str(tokens)], 1, "holds no .wav"),
        ([str(other_model_path), "--train-tokens", a, "--test-tokens", b], 2, "was encoded by model"),
    ):
        assert main(["probe", *words]) == status, words
        assert cause in capsys.readouterr().err
