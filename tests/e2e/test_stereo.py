"""A stereo codec from training to audio: both channels through files, memory, both runtimes and every verb that meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import training_run

import audiocodec
from audiocodec import model_file
from audiocodec.cli.main import main
from audiocodec.codec.interface import BlockCodec
from audiocodec.data.corpus import make_folder
from audiocodec.errors import AudioError, FingerprintMismatch, TokenFileError
from audiocodec.metrics.mel_distance import mel_distance
from audiocodec.tokens.token_file import TokenFile, row_sizes

RATE = 8_000
FAR = 20.0  # dB between the two channels
# Enough training for loud and soft to come out as such, by far not for good sound.
TRAINED = (
    "channels=2 quantizer.codebook_size=256 loss.level=3 train.steps=300 train.warmup_autoencoder_steps=150 "
    "train.learning_rate=3e-3 train.ema_decay=0.9 train.valid_utterances=2 discriminator.start_step=100000"
)

Run = Callable[..., int]


def voice(hertz: float, samples: int = 8_000, seed: int = 0) -> np.ndarray:
    """Something like a vowel, RMS about -21 dB full scale."""
    time = np.arange(samples) / RATE
    harmonics = sum(np.sin(2 * np.pi * hertz * k * time + k) / k for k in range(1, 8))
    noise = np.random.default_rng(seed).standard_normal(samples)
    return np.asarray(0.1 * harmonics + 0.005 * noise, np.float32)


def stereo(hertz: float = 150.0, samples: int = 8_000) -> np.ndarray:
    """`[2, S]`, the left channel `FAR` louder than the right."""
    wav = voice(hertz, samples)
    return np.stack([wav, wav * np.float32(10 ** (-FAR / 20))])


def db(wav: np.ndarray) -> np.ndarray:
    """Level of each channel of `wav [C, S]`."""
    return np.asarray(20 * np.log10(np.sqrt(np.mean(np.square(wav, dtype=np.float64), -1)) + 1e-9))


def save(path: Path, wav: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, wav.T, rate, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny stereo codec, trained for a few seconds on sounds that lie left and right in turn."""
    root = tmp_path_factory.mktemp("stereo")
    (root / "audio").mkdir()
    for number in range(5):
        wav = stereo(110 + 30 * number)
        save(root / "audio" / f"u{number}.wav", wav if number % 2 else wav[::-1])
    make_folder(str(root / "audio"), root / "data", speaker_level=0)
    config = training_run.config(f"{TRAINED} data.train={root / 'data'} data.valid={root / 'data'}")
    return audiocodec.train(config, root / "exp", device="cpu").folder


@pytest.fixture(scope="module")
def codec(experiment: Path) -> BlockCodec:
    return audiocodec.load(experiment, runtime="torch")


@pytest.fixture
def run(experiment: Path) -> Run:
    """A command with the stereo model."""
    return lambda verb, *args: main([verb, *map(str, args), "-m", str(experiment)])


# --- two channels there and back


def test_files_keep_left_and_right_and_their_levels(tmp_path: Path, run: Run) -> None:
    wav = stereo(samples=10_001)
    for name, sides in (("left", wav), ("right", wav[::-1])):
        assert run("encode", save(tmp_path / f"{name}.wav", sides), "--verify") == 0
        assert run("decode", tmp_path / f"{name}.act", "-o", tmp_path / f"{name}.flac") == 0
        back, rate = soundfile.read(tmp_path / f"{name}.flac")
        assert rate == RATE and back.shape == (10_001, 2)
        left, right = db(back.T)
        difference = left - right if name == "left" else right - left
        assert FAR - 8 < difference < FAR + 8
        assert max(left, right) == pytest.approx(db(wav)[0], abs=6)


def test_each_channel_is_coded_as_it_would_be_alone_at_the_level_of_both(
    tmp_path: Path, run: Run, codec: BlockCodec
) -> None:
    wav = stereo()
    assert run("encode", save(tmp_path / "in.wav", wav)) == 0
    tokens = TokenFile.read(tmp_path / "in.act")
    together = np.sqrt(np.mean(np.square(wav, dtype=np.float64)))
    assert tokens.gain == pytest.approx(10 ** (codec.level_db / 20) / together, rel=1e-5)
    assert tokens.codes.shape[0] == 2 and tokens.coded_channels == 2
    for side, codes in zip(wav, tokens.channel_codes, strict=True):
        alone = np.concatenate(list(codec.encode_blocks([side * np.float32(tokens.gain)])), 1)
        np.testing.assert_array_equal(codes, alone)


def test_memory_gives_what_files_give(tmp_path: Path, run: Run, codec: BlockCodec) -> None:
    wav = stereo(samples=9_000)
    data = audiocodec.compress(codec, wav)
    assert run("encode", save(tmp_path / "in.wav", wav)) == 0
    assert data == (tmp_path / "in.act").read_bytes()
    back, rate = audiocodec.decompress(codec, data)
    assert rate == RATE and back.shape == (2, 9_000)
    assert run("decode", tmp_path / "in.act", "-o", tmp_path / "out.wav", "--subtype", "float") == 0
    np.testing.assert_array_equal(soundfile.read(tmp_path / "out.wav", dtype="float32")[0].T, back)
    decoded = audiocodec.Codec.decode(codec, TokenFile.from_bytes(data))  # type: ignore[arg-type]
    assert decoded.shape == (1, 2, 9_000)
    np.testing.assert_allclose(decoded[0].numpy(), back, atol=1e-5)


def test_other_rates_and_formats(tmp_path: Path, run: Run) -> None:
    wav = np.repeat(stereo(samples=20_000), 2, -1)
    assert run("encode", save(tmp_path / "in.wav", wav, 16_000)) == 0
    assert run("decode", tmp_path / "in.act", "-o", tmp_path / "out.ogg") == 0
    found = soundfile.info(tmp_path / "out.ogg")
    assert (found.samplerate, found.channels, found.frames) == (16_000, 2, 40_000)


def test_fewer_codebooks_are_fewer_of_both_channels() -> None:
    codes = np.array([[0], [10], [1], [11], [2], [12]])  # left 0 1 2, right 10 11 12
    sizes = (16, 16, 32, 32, 64, 64)
    tokens = TokenFile(codes, sizes, RATE, 20, 20, RATE, 2, 20, 1.0, bytes(8), {"coded_channels": 2})
    assert (tokens.num_codebooks, tokens.channel_sizes) == (3, (16, 32, 64))
    assert row_sizes((16, 32, 64), 2) == sizes
    assert (tokens.truncate(2).num_codebooks, tokens.truncate(2).channel_sizes) == (2, (16, 32))
    assert [rows[:, 0].tolist() for rows in tokens.truncate(2).channel_codes] == [[0, 1], [10, 11]]
    with pytest.raises(TokenFileError, match="cannot keep 4 codebooks of 3"):
        tokens.truncate(4)


def test_both_runtimes_give_the_same_tokens(tmp_path: Path, run: Run, experiment: Path, codec: BlockCodec) -> None:
    assert main(["export", str(experiment), "--onnx", str(tmp_path / "exported")]) == 0
    light = audiocodec.load(tmp_path / "exported", runtime="onnx")
    assert (light.channels, light.fingerprint) == (2, codec.fingerprint)
    data = audiocodec.compress(light, stereo())
    assert data == audiocodec.compress(codec, stereo())
    ours, theirs = (audiocodec.decompress(one, data)[0] for one in (codec, light))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert light.decode(TokenFile.from_bytes(data)).shape == (1, 2, 8_000)
    direct = audiocodec.load(experiment, runtime="onnx")
    assert audiocodec.compress(direct, stereo()) == data


def test_info_says_so(tmp_path: Path, run: Run, experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode", save(tmp_path / "in.wav", stereo())) == 0
    capsys.readouterr()
    assert main(["info", "--json", str(tmp_path / "in.act"), str(experiment)]) == 0
    tokens, model = map(json.loads, capsys.readouterr().out.splitlines())
    assert (tokens["coded_channels"], tokens["num_codebooks"], tokens["codebook_sizes"]) == (2, 1, [256, 256])
    assert (model["channels"], model["num_codebooks"]) == (2, 1)
    assert tokens["kbps_payload"] == pytest.approx(model["kbps_payload"]) == pytest.approx(2 * 8 * 400 / 1000)


def test_recode_and_resume_keep_both(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(tmp_path / "in.wav", stereo())
    assert run("encode", source) == 0
    assert main(["recode", str(tmp_path / "in.act"), "--plain", "-o", str(tmp_path / "again.act")]) == 0
    assert (tmp_path / "again.act").read_bytes() == (tmp_path / "in.act").read_bytes()
    assert run("decode", tmp_path / "in.act", "-o", tmp_path / "out.wav") == 0
    capsys.readouterr()
    assert run("encode", source, "--resume") == 0
    assert run("decode", tmp_path / "in.act", "-o", tmp_path / "out.wav", "--resume") == 0
    assert capsys.readouterr().err.count("1 were finished before") == 2


# --- what is not stereo


def test_a_mono_file_is_coded_once_and_stays_mono(tmp_path: Path, run: Run, codec: BlockCodec) -> None:
    wav = voice(150)
    assert run("encode", save(tmp_path / "in.wav", wav[None])) == 0
    tokens = TokenFile.read(tmp_path / "in.act")
    assert tokens.coded_channels == 1 and tokens.codes.shape[0] == 1 and "coded_channels" not in tokens.notes
    assert run("decode", tmp_path / "in.act", "-o", tmp_path / "out.wav") == 0
    assert soundfile.info(tmp_path / "out.wav").channels == 1
    assert audiocodec.decompress(codec, audiocodec.compress(codec, wav))[0].shape == (8_000,)


def test_one_channel_of_a_stereo_file(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(tmp_path / "in.wav", stereo())
    assert run("encode", source, "--channel", 2) == 0
    tokens = TokenFile.read(tmp_path / "in.act")
    assert tokens.coded_channels == 1 and tokens.notes == {"channel": 2}
    assert "mixed" not in capsys.readouterr().err


def test_more_channels_than_two_are_refused(
    tmp_path: Path, run: Run, codec: BlockCodec, capsys: pytest.CaptureFixture[str]
) -> None:
    wav = np.concatenate([stereo()] * 3)
    assert run("encode", save(tmp_path / "in.wav", wav)) == 1
    assert "in.wav: has 6 channels, this model codes 2; mix it to 2 first" in capsys.readouterr().err
    assert not (tmp_path / "in.act").exists()
    with pytest.raises(AudioError, match="has 6 channels"):
        audiocodec.compress(codec, wav)


def test_tokens_of_two_channels_are_refused_by_another_model(
    tmp_path: Path, run: Run, experiment: Path, tiny_model_path: Path
) -> None:
    assert run("encode", save(tmp_path / "in.wav", stereo())) == 0
    tokens = TokenFile.read(tmp_path / "in.act")
    same_weights = replace(model_file.describe(experiment).config, channels=1)
    codec = model_file.load(experiment)
    model_file.save(codec, same_weights, tmp_path / "mono.safetensors")
    mono = model_file.load(tmp_path / "mono.safetensors")
    assert mono.fingerprint != codec.fingerprint
    with pytest.raises(FingerprintMismatch):
        audiocodec.decompress(mono, tokens.to_bytes())
    forged = replace(tokens, fingerprint=mono.fingerprint)
    with pytest.raises(TokenFileError, match="coded_channels 2, its model has 1"):
        audiocodec.decompress(mono, forged.to_bytes())
    with pytest.raises(TokenFileError, match="codebook_sizes"):  # both channels' codes for one channel
        audiocodec.decompress(codec, replace(tokens, notes={}).to_bytes())
    assert main(["decode", str(tmp_path / "in.act"), "-m", str(tiny_model_path), "-o", str(tmp_path / "x.wav")]) == 2
    assert not (tmp_path / "x.wav").exists()


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        ("encode", ("--batch-size", 4, "-d", "OUT"), "--batch-size mixes channels"),
        ("encode", ("--compress", "-d", "OUT"), "--compress is for the codes of one channel"),
        ("tokenize", ("-d", "OUT"), "codes 2 channels, and data sets of tokens hold one"),
    ],
)
def test_what_is_for_one_channel_says_so(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str], verb: str, options: tuple[object, ...], message: str
) -> None:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "a.wav", stereo())
    words = [tmp_path / "out" if word == "OUT" else word for word in options]
    assert run(verb, tmp_path / "in", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_data_sets_refuse_tokens_of_two_channels(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode", save(tmp_path / "in.wav", stereo())) == 0
    out = tmp_path / "set.bin"
    assert main(["export-tokens", str(tmp_path / "in.act"), "--format", "bin", "-o", str(out)]) != 0
    assert "the codes of 2 channels" in capsys.readouterr().err
    assert not out.exists()


# --- measured


def test_evaluation_is_on_the_mix_and_keeps_stereo_audio(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "a.wav", stereo())
    options = ("--reference", tmp_path / "in", "-d", tmp_path / "eval", "--metrics", "mel_distance", "--quiet")
    assert run("evaluate", *options) == 0
    assert soundfile.info(tmp_path / "eval" / "wav" / "a.wav").channels == 2
    reference, estimate = (soundfile.read(tmp_path / at / "a.wav")[0].mean(1) for at in ("in", "eval/wav"))
    (row,) = map(json.loads, (tmp_path / "eval" / "rows.jsonl").read_text().splitlines())
    expected = mel_distance(reference=reference, estimate=estimate, sample_rate=RATE)
    assert row["mel_distance"] == pytest.approx(expected, rel=1e-3)


def test_training_looks_at_each_channel(experiment: Path) -> None:
    log = (experiment / "train.log").read_text()
    assert " 100 segments" in log  # 5 files of 1 s, two channels each, segments of 0.1 s
