"""`audiocodec lm`, `prior` and `recode` as a user runs them, on a tiny model's tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import corpora
from support.workspace import CHECKOUT

from audiocodec.cli.main import main
from audiocodec.tokens import priors
from audiocodec.tokens.token_file import TokenFile


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = corpora.write_corpus(tmp_path_factory.mktemp("corpus") / "audio")
    random = np.random.default_rng(0)
    for name in ("long1", "long2"):  # long enough to be worth compressing
        soundfile.write(folder / f"{name}.wav", 0.3 * random.normal(size=4 * 320).repeat(90).clip(-3, 3) / 3, 24_000)
    return folder


@pytest.fixture(scope="module")
def encoded(audio: Path, tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("encoded") / "tokens"
    assert main(["encode", str(audio), "-m", str(tiny_model_path), "-d", str(out), "--quiet"]) == 0
    return out


@pytest.fixture(scope="module")
def tokens(audio: Path, tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokens") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANK", "0")
        patch.setenv("WORLD_SIZE", "1")
        words = ["-m", str(tiny_model_path), "-d", str(out), "--engine", "torchrun", "--quiet"]
        assert main(["tokenize", str(audio), *words]) == 0
    return out


@pytest.fixture(scope="module")
def lm(tokens: Path, tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lm") / "out"
    small = ["--dim", "32", "--layers", "1", "--heads", "2", "--context", "16", "--minutes", "0.05"]
    assert main(["lm", "train", str(tokens), "-m", str(tiny_model_path), "-d", str(out), *small]) == 0
    return out


@pytest.fixture(scope="module")
def prior(tokens: Path, tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prior") / "prior.safetensors"
    small = ["--channels", "24", "--hidden", "32", "--minutes", "0.1"]
    assert main(["prior", str(tokens), "-m", str(tiny_model_path), "-o", str(out), "--valid", str(tokens), *small]) == 0
    return out


def test_score(lm: Path, tokens: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lm", "score", str(lm), str(tokens), "-m", str(tiny_model_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bits_per_token"] < found["raw_bits_per_token"] == 6
    assert found["bits_per_second"] == pytest.approx(75 * sum(found["by_codebook"]))


def test_continue(
    lm: Path, audio: Path, tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = str(audio / "long1.wav")
    common = [
        "lm",
        "continue",
        str(lm),
        prompt,
        "-m",
        str(tiny_model_path),
        "--seconds",
        "0.4",
        "--prompt-seconds",
        "0.2",
    ]
    reports = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main([*common, "--seed", seed, "-o", str(tmp_path / f"{name}.wav")]) == 0
        reports.append(json.loads(capsys.readouterr().out))
    assert [report["prompt_frames"] for report in reports] == [15] * 3 and reports[0]["frames"] == 30
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes() != (tmp_path / "c.wav").read_bytes()
    assert soundfile.info(tmp_path / "a.wav").frames == 45 * 320
    assert main([*common, "--only-new", "-o", str(tmp_path / "new.wav"), "--seed", "1"]) == 0
    whole, new = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in ("a", "new"))
    assert np.allclose(whole[15 * 320 :], new, atol=2 / 32768)


def test_what_cannot_be_continued(
    lm: Path,
    audio: Path,
    tiny_model_path: Path,
    other_model_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prompt = str(audio / "long1.wav")
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(24_000), 24_000)
    for words, status, message in (
        ([prompt, "-m", str(other_model_path)], 2, "is of codec"),
        ([prompt, "-m", str(tiny_model_path), "--prompt-seconds", "1000"], 1, "fewer than the 1000.0 s asked for"),
        ([str(silence), "-m", str(tiny_model_path)], 1, "silence has no continuation|is silent"),
        ([str(tmp_path / "none.wav"), "-m", str(tiny_model_path)], 1, "No such file"),
        ([prompt, "-m", str(tiny_model_path), "--top-p", "0"], 1, "top-p above 0"),
        ([prompt, "-m", str(tiny_model_path), "--device", "nonsense"], 1, "--device nonsense"),
    ):
        assert main(["lm", "continue", str(lm), *words, "-o", str(tmp_path / "x.wav")]) == status
        said = capsys.readouterr().err
        assert any(part in said for part in message.split("|")), said
        assert not (tmp_path / "x.wav").exists()


def test_folders_that_are_taken_or_missing(
    lm: Path, tokens: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (lm / "model.safetensors").read_bytes()
    assert main(["lm", "train", str(tokens), "-d", str(lm)]) == 2
    assert "is not empty; --force" in capsys.readouterr().err
    assert main(["lm", "score", str(lm / "none"), str(tokens)]) == 2
    assert main(["lm", "train", str(tokens), "-d", str(lm) + "2"]) == 2  # the shipped model did not make these tokens
    assert "was made by model" in capsys.readouterr().err
    assert (lm / "model.safetensors").read_bytes() == before
    assert main(["lm", "export", str(lm), "-m", str(tiny_model_path), "-d", str(lm) + "3"]) == 1
    assert "a plain Llama needs one codebook" in capsys.readouterr().err


def test_recode_and_back(prior: Path, encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv(priors.ENVIRONMENT, str(prior))
    assert main(["recode", str(encoded), "--compress", "-d", str(tmp_path / "small"), "--quiet"]) == 0
    assert main(["recode", str(tmp_path / "small"), "--plain", "-d", str(tmp_path / "plain"), "--quiet"]) == 0
    names = sorted(path.relative_to(encoded) for path in encoded.rglob("*.act"))
    assert names
    for name in names:
        assert (tmp_path / "plain" / name).read_bytes() == (encoded / name).read_bytes()
        assert TokenFile.read(tmp_path / "small" / name) == TokenFile.read(encoded / name)
    sizes = [sum((folder / name).stat().st_size for name in names) for folder in (tmp_path / "small", encoded)]
    assert sizes[0] < sizes[1]
    assert (
        main(["recode", str(encoded / names[0]), "--compress", "--num-codebooks", "1", "-o", str(tmp_path / "one.act")])
        == 0
    )
    assert TokenFile.read(tmp_path / "one.act") == TokenFile.read(encoded / names[0]).truncate(1)


def test_without_a_prior(encoded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recode", str(encoded), "--compress", "-d", str(tmp_path / "small"), "--quiet"]) == 1
    assert "no prior of model" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.act"))


def test_prior_of_another_codec(tokens: Path, other_model_path: Path, tmp_path: Path, capsys) -> None:
    assert main(["prior", str(tokens), "-m", str(other_model_path), "-o", str(tmp_path / "p.safetensors")]) == 2
    assert "was made by model" in capsys.readouterr().err
    assert main(["prior", str(tokens), "-o", str(tmp_path / "p.bin")]) == 2
    assert not list(tmp_path.iterdir())


def test_prior_that_goes_on(prior: Path, tokens: Path, tiny_model_path: Path, tmp_path: Path, capsys) -> None:
    """After a step or two it is as good as what it began with; from random weights it is not."""
    small = ["--channels", "24", "--hidden", "32", "--minutes", "0.0001", "--valid", str(tokens)]
    common = ["prior", str(tokens), "-m", str(tiny_model_path), *small]
    shares = []
    for name, begins in (("new", []), ("on", ["--init-from", str(prior)])):
        capsys.readouterr()
        assert main([*common, "-o", str(tmp_path / f"{name}.safetensors"), *begins]) == 0
        shares.append(json.loads(capsys.readouterr().out)["share"])
    assert shares[1] < 0.9 * shares[0]
    failed = str(tmp_path / "failed.safetensors")
    assert main([*common, "-o", failed, "--init-from", str(tmp_path / "none.safetensors")]) == 1
    assert "none.safetensors: " in capsys.readouterr().err
    assert main(["prior", str(tokens), "-m", str(tiny_model_path), "-o", failed, "--init-from", str(prior)]) == 1
    assert "a prior of other sizes: its channels is 24, not 192" in capsys.readouterr().err
    assert not Path(failed).exists()


def test_encode_compressed_and_salvage(
    prior: Path, audio: Path, tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    source, model = str(audio / "long1.wav"), str(tiny_model_path)
    small, plain, info = tmp_path / "a.act", tmp_path / "b.act", ["info", "--json", str(tmp_path / "a.act")]
    assert main(["encode", source, "-m", model, "-o", str(small), "--compress"]) == 1
    capsys.readouterr()
    monkeypatch.setenv(priors.ENVIRONMENT, str(prior))
    monkeypatch.setattr(priors, "_loaded", priors._loaded.__wrapped__)
    assert main(["encode", source, "-m", model, "-o", str(small), "--compress", "--quiet"]) == 0
    assert main(["encode", source, "-m", model, "-o", str(plain), "--quiet"]) == 0
    assert TokenFile.read(small) == TokenFile.read(plain)
    monkeypatch.delenv(priors.ENVIRONMENT)
    assert main(info) == 0  # needs no prior
    described = json.loads(capsys.readouterr().out)
    assert (described["version"], described["coding"]) == (2, "range")
    assert described["kbps_file"] == pytest.approx(8 * small.stat().st_size / described["seconds"] / 1000)
    assert described["kbps_file"] < described["kbps_payload"]
    assert main(["decode", str(small), "-m", model, "-o", str(tmp_path / "x.wav")]) == 1
    assert "which is not at hand" in capsys.readouterr().err
    monkeypatch.setenv(priors.ENVIRONMENT, str(prior))
    data = bytearray(small.read_bytes())
    data[-12] ^= 0x55
    small.write_bytes(data)
    assert main(["decode", str(small), "-m", model, "-o", str(tmp_path / "x.wav")]) == 1
    assert "segment 1 of 1" in capsys.readouterr().err
    assert main(["decode", str(small), "-m", model, "-o", str(tmp_path / "x.wav"), "--salvage"]) == 0
    assert "silence in place of segment 1 of 1" in capsys.readouterr().err
    wav, _ = soundfile.read(tmp_path / "x.wav")
    assert len(wav) == TokenFile.read(plain).original_num_samples and not wav.any()


def test_the_prior_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the packaged model: real speech takes at most 0.85 of the plain file."""
    monkeypatch.delenv(priors.ENVIRONMENT, raising=False)
    speech = min((CHECKOUT / "egs/mini/codec/local/audio/ru-nsh").glob("*.flac"))
    for name, words in (("small", ["--compress"]), ("plain", [])):
        assert main(["encode", str(speech), "-o", str(tmp_path / f"{name}.act"), "--quiet", *words]) == 0
    assert TokenFile.read(tmp_path / "small.act") == TokenFile.read(tmp_path / "plain.act")
    sizes = [(tmp_path / f"{name}.act").stat().st_size for name in ("small", "plain")]
    assert sizes[0] < 0.85 * sizes[1]
    assert (CHECKOUT / "audiocodec/pretrained/speech_24k/prior.safetensors").stat().st_size < 4e6
