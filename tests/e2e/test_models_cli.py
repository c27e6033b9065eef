"""The model that made a token file is found by its fingerprint; `models` names what there is; help shows an example."""

from __future__ import annotations

import json
import shlex
import shutil
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile

import audiocodec
from audiocodec.cli.main import VERBS, main
from audiocodec.model_file import describe

SHIPPED = ("speech_24k", "speech_24k_residual")


def noise(path: Path) -> Path:
    soundfile.write(path, np.random.default_rng(1).normal(0, 0.1, 8_000), 24_000)
    return path


def ac(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_path: Path, other_model_path: Path) -> Path:
    """A user's folder with two models, and `tokens/` of both."""
    folder = tmp_path / "models"
    (folder / "second").mkdir(parents=True)
    shutil.copy(tiny_model_path, folder / "first.safetensors")
    shutil.copy(other_model_path, folder / "second" / "model.safetensors")
    monkeypatch.setenv("AUDIOCODEC_MODELS", str(folder))
    (tmp_path / "tokens").mkdir()
    for name in ("first", "second"):
        assert ac("encode", noise(tmp_path / "a.wav"), "-o", tmp_path / "tokens" / f"{name}.act", "-m", name) == 0
    return folder


def test_a_mixed_folder_decodes_each_file_by_its_own_model(models: Path, tmp_path: Path) -> None:
    tokens, out = tmp_path / "tokens", tmp_path / "out"
    assert ac("decode", tokens, "-d", out) == 0
    for name, path in (("first", models / "first.safetensors"), ("second", models / "second")):
        codec = audiocodec.load(path, runtime="torch")
        held = audiocodec.TokenFile.read(tokens / f"{name}.act")
        wanted, _ = audiocodec.decompress(codec, held.to_bytes())
        found, _ = soundfile.read(out / f"{name}.wav", dtype="float32")
        assert np.abs(found - wanted).max() < 1e-4  # 16 bits
        audiocodec.decode_file(None, tokens / f"{name}.act", tmp_path / "python.wav")
        assert (tmp_path / "python.wav").read_bytes() == (out / f"{name}.wav").read_bytes()
        assert np.array_equal(audiocodec.decompress(None, held.to_bytes())[0], wanted)
        with audiocodec.load(held, runtime="torch").stream_decoder() as stream:
            assert len(np.concatenate([stream.push(held.codes), stream.finish()])) == held.codes.shape[1] * 320


def test_given_models_are_looked_at_too(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = models / "first.safetensors", models / "second"
    monkeypatch.setenv("AUDIOCODEC_MODELS", str(tmp_path / "none"))
    assert ac("decode", tmp_path / "tokens", "-d", tmp_path / "x", "-m", paths[0], "-m", paths[1]) == 0
    assert ac("decode", tmp_path / "tokens", "-d", tmp_path / "y", "-m", paths[0]) == 1
    error, shipped = capsys.readouterr().err, describe("speech_24k_residual").fingerprint
    assert "second.act: was encoded by model" in error and f"speech_24k_residual {shipped}" in error
    assert sorted(path.name for path in (tmp_path / "y").iterdir()) == ["first.wav"]


def test_the_other_shipped_model_is_found(tmp_path: Path) -> None:
    source = noise(tmp_path / "a.wav")
    assert ac("encode", source, "-o", tmp_path / "r.act", "-m", "speech_24k_residual", "--num-codebooks", 2) == 0
    assert ac("decode", tmp_path / "r.act", "-o", tmp_path / "out.wav") == 0
    assert soundfile.info(tmp_path / "out.wav").frames == 8_000


def test_models_lists_names_that_m_takes(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "broken.safetensors").write_bytes(b"text")
    capsys.readouterr()
    assert ac("models", "--json") == 1
    captured = capsys.readouterr()
    found = [json.loads(line) for line in captured.out.splitlines()]
    assert [row["name"] for row in found] == [*SHIPPED, "first", "second"] and "broken.safetensors" in captured.err
    assert {key: found[1][key] for key in ("sample_rate", "kbps", "num_codebooks", "codebook_size")} == {
        "sample_rate": 24_000, "kbps": 6.0, "num_codebooks": 8, "codebook_size": 1024,
    }  # fmt: skip
    assert found[2]["bytes"] == (models / "first.safetensors").stat().st_size
    assert [row["fingerprint"] for row in found] == [_fingerprint(row["name"], capsys) for row in found]
    (models / "broken.safetensors").unlink()
    assert ac("models") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["name", *SHIPPED, "first", "second"]


def _fingerprint(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert ac("info", name, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == name
    return str(found["fingerprint"])


@pytest.mark.parametrize("verb", ["encode x -o y", "stream --encode", "tokenize x -d y", "evaluate --reference x -d y"])
def test_two_models_where_one_makes_sense_are_refused(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ac(*verb.split(), "-m", "speech_24k", "-m", "speech_24k_residual") == 2
    assert "given twice, speech_24k and speech_24k_residual" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example_that_parses(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ac(verb, "--help") == 0
    text = capsys.readouterr().out
    module = import_module(f"audiocodec.cli.verbs.{verb.replace('-', '_')}")
    program, named, *words = shlex.split(module.EXAMPLE.partition(" < ")[0], comments=False)
    assert f"Example:\n  {module.EXAMPLE}\n" in text and (program, named) == ("audiocodec", verb)
    assert all(name in text.rpartition("Models in the package")[2] for name in SHIPPED)
    parser = ArgumentParser()
    module.add_arguments(parser)
    parser.parse_args(words)  # exits where an option is unknown
