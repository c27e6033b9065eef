"""`audiocodec codebook`: text, JSON and picture of a model's codebooks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from support.workspace import write_noise

from audiocodec.cli.main import main
from audiocodec.tokens.token_file import TokenFile


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """Two files of noise, 20 and 30 frames."""
    for frames in (20, 30):
        write_noise(tmp_path / "audio" / f"{frames}.wav", frames)
    return tmp_path / "audio"


def test_tokens_and_audio_give_the_same_counts(
    audio: Path, tokens: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for source in (["--tokens", str(tokens)], ["--audio", str(audio)]):
        assert main(["codebook", str(tiny_model_path), *source, "--json"]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]
    codes = np.concatenate([TokenFile.read(path).codes for path in sorted(tokens.glob("*.act"))], 1)
    assert len(said[0]["codebooks"]) == 2
    for row, codebook in zip(codes, said[0]["codebooks"]):
        uses = np.unique(row, return_counts=True)[1]
        assert codebook["use"]["dead_codes"] == 64 - len(uses) and codebook["use"]["frames"] == 50
        assert codebook["codes_by_uses"]["0"] == 64 - len(uses)
        assert codebook["codes_by_uses"]["1"] == (uses == 1).sum()
        assert codebook["neighbour_sample"] == 64 and len(codebook["map_singular_values"]) == 16


def test_text_and_picture(tokens: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tokens.parent / "codes.png"
    words = ["codebook", str(tiny_model_path), "-o", str(picture)]
    assert main(words) == 0
    assert "not measured; --tokens DIR" in capsys.readouterr().out
    first = picture.read_bytes()
    assert main(words) == 2
    assert "already exists; --force overwrites it" in capsys.readouterr().err
    assert main([*words, "--tokens", str(tokens), "--force"]) == 0
    text = capsys.readouterr().out
    for part in ("codebook 1", "dead", "in 50 frames", "nearest code, all codes", "singular values of W"):
        assert part in text
    assert picture.read_bytes() != first


def test_refusals(
    tokens: Path,
    tiny_model_path: Path,
    other_model_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, folder = str(tiny_model_path), tokens.parent
    (folder / "empty").mkdir()
    (folder / "bad").mkdir()
    (folder / "bad" / "cut.act").write_bytes((tokens / "20.act").read_bytes()[:-1])
    for words, status, cause in (
        ([model, "--tokens", str(folder / "none")], 2, "none: No such file"),
        ([model, "--tokens", str(folder / "empty")], 1, "holds no .act files"),
        ([model, "--audio", str(folder / "empty")], 1, "holds no .wav"),
        ([model, "--tokens", str(folder / "bad")], 1, "cut.act"),
        ([model, "--tokens", str(tokens), "--audio", str(tokens)], 2, "not allowed with"),
        ([str(other_model_path), "--tokens", str(tokens)], 2, "20.act: was encoded by model"),
        ([str(folder / "none.safetensors")], 2, "no such model"),
        ([model, "-o", str(folder / "a.jpg")], 2, "ends in .png"),
        ([model, "-o", str(folder / "none" / "a.png")], 2, "its folder does not exist"),
    ):
        assert main(["codebook", *words]) == status, words
        assert cause in capsys.readouterr().err
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    assert main(["codebook", model, "-o", str(folder / "a.png")]) == 2
    assert '[train]"' in capsys.readouterr().err
    assert main(["codebook", model]) == 0
