"""The packaged configurations of other rates and channels: what they come to, and a narrow copy of each trained and used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import audiocodec
from audiocodec import model_file
from audiocodec.build import build_codec
from audiocodec.cli.main import main
from audiocodec.codec.files import decode_file, encode_file
from audiocodec.config.load import load_config
from audiocodec.data.corpus import make_folder
from audiocodec.errors import ConfigError

# name -> (Hz, channels, frames a second, kbps of a file, codes a second)
FACTS = {
    "codec48k_stereo": (48_000, 2, 75.0, 12.0, 1200.0),
    "codec44k_stereo": (44_100, 2, 75.0, 12.0, 1200.0),
    "speech_16k": (16_000, 1, 50.0, 0.8, 50.0),
    "speech_24k_25hz": (24_000, 1, 25.0, 1.2, 100.0),
    "speech_24k_12hz": (24_000, 1, 12.5, 1.2, 100.0),
}
# The same strides, decoder, rates and number of codebooks, a few channels wide.
NARROW = (
    "model.encoder.base_channels=2 model.encoder.convnext_layers=0 model.decoder.base_channels=2 model.decoder.dim=8 "
    "model.decoder.layers=1 quantizer.codebook_size=16 quantizer.codebook_dim=4 discriminator.channels=1 "
    "discriminator.start_step=1 data.on_device=false data.memory_gb=1 data.segment_seconds=0.5 train.steps=3 "
    "train.warmup_autoencoder_steps=1 train.batch_size=2 train.lr_warmup_steps=1 train.valid_scores=[] train.compile=false"
)


@pytest.mark.parametrize("name", FACTS)
def test_what_a_configuration_comes_to(name: str) -> None:
    config = load_config(name)
    codes = config.frame_rate * config.quantizer.num_codebooks * config.channels
    found = (config.sample_rate, config.channels, config.frame_rate, config.bitrate_bps / 1000, codes)
    assert found == pytest.approx(FACTS[name])


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize("name", FACTS)
def test_a_narrow_copy_trains_encodes_and_decodes(name: str, tmp_path: Path) -> None:
    rate, channels, frame_rate, *_ = FACTS[name]
    (tmp_path / "audio").mkdir()
    for number in range(2):
        wav = np.random.default_rng(number).normal(0, 0.1, (rate, 2))
        soundfile.write(tmp_path / "audio" / f"{number}.wav", wav, rate)
    make_folder(str(tmp_path / "audio"), tmp_path / "data", speaker_level=0)
    overrides = [*NARROW.split(), f"data.train={tmp_path / 'data'}"]
    done = audiocodec.train(name, tmp_path / "exp", overrides=overrides, device="cpu")
    assert done.step == 3
    codec = audiocodec.load(done.folder, runtime="torch")
    tokens = encode_file(codec, tmp_path / "audio" / "0.wav")
    assert (tokens.coded_channels, tokens.codes.shape[1]) == (channels, np.ceil(frame_rate))
    assert len(tokens.codes) == channels * load_config(name).quantizer.num_codebooks
    decode_file(codec, tokens, tmp_path / "out.wav")
    found = soundfile.info(tmp_path / "out.wav")
    assert (found.samplerate, found.channels, found.frames) == (rate, channels, rate)


def test_channels_that_make_no_sense() -> None:
    for overrides, message in (
        (["channels=3"], "channels: got 3, need at most 2"),
        (["channels=0"], "channels: got 0, need at least 1"),
        (["channels=2", "quantizer.num_codebooks=128"], "got 128 for channels 2, need at most 127"),
        (["channels=2", "model.decoder.kind=voiced"], "voiced, which takes one voice"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config("mini", overrides)


def test_channels_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    mono, stereo = (load_config("mini", [f"channels={n}"]) for n in (1, 2))
    codec = build_codec(mono)
    for name, config in (("mono", mono), ("stereo", stereo)):
        model_file.save(codec, config, tmp_path / f"{name}.safetensors")
    named = {name: model_file.describe(tmp_path / f"{name}.safetensors").fingerprint for name in ("mono", "stereo")}
    assert named["mono"] != named["stereo"]


@pytest.mark.usefixtures("fresh_process")
def test_a_stereo_run_begins_with_a_mono_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a.wav", np.random.default_rng(0).normal(0, 0.1, (16_000, 2)), 24_000)
    make_folder(str(tmp_path / "audio"), tmp_path / "data", speaker_level=0)
    words = ["train", "--device", "cpu", "--config", "mini", "--set", f"data.train={tmp_path / 'data'}"]
    for override in NARROW.split():
        words += ["--set", override]
    assert main([*words, "--exp", str(tmp_path / "mono")]) == 0
    begun = [*words, "--set", "channels=2", "--exp", str(tmp_path / "stereo"), "--init-from", str(tmp_path / "mono")]
    assert main(begun) == 0
    log = (tmp_path / "stereo" / "train.log").read_text()
    assert "loaded" in log and "resized" not in log
    resumed = [*words, "--set", "channels=1", "--set", "train.steps=4", "--exp", str(tmp_path / "stereo"), "--resume"]
    assert main(resumed) == 2  # a run stays one of two channels
    assert "channels was 2, is 1" in capsys.readouterr().err
