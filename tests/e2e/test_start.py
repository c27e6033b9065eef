"""What the long run of egs/speech24k begins with: a model of its configuration that speaks, and discriminators that are its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from safetensors.numpy import load_file

import audiocodec
from audiocodec import model_file, model_places
from audiocodec.audio.resampling import resample
from audiocodec.config.load import load_config
from audiocodec.metrics.stoi import stoi
from audiocodec.training.checkpoints.lean import discriminators_beside

CHECKOUT = Path(__file__).parents[2]
START = CHECKOUT / "egs" / "speech24k" / "codec" / "start"
SPEECH = CHECKOUT / "egs" / "mini" / "codec" / "local" / "audio"


def test_it_is_a_model_of_its_configuration() -> None:
    model = START / model_places.MODEL_FILE
    ours = model_file.describe(model).config
    assert ours.model == load_config(CHECKOUT / "audiocodec" / "configs" / "speech_24k_voiced.yaml").model
    discriminators = discriminators_beside(model)
    assert discriminators is not None
    assert all(np.isfinite(array).all() for array in load_file(discriminators).values())


def test_it_speaks() -> None:
    """A model with random weights reaches about 0.2."""
    codec = audiocodec.load(START / model_places.MODEL_FILE)
    wav, rate = soundfile.read(min(SPEECH.rglob("*.flac")), dtype="float32")
    wav = resample(wav, rate, codec.sample_rate)
    wav = wav * (10 ** (-24 / 20) / np.sqrt(np.mean(wav**2)))
    heard = codec.decode(codec.encode(wav))[0, 0].numpy()
    assert stoi(reference=wav, estimate=heard[: len(wav)], sample_rate=codec.sample_rate) > 0.75
