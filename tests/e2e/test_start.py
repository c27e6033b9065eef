"""What the long runs of egs/speech24k begin with: models of their configurations that speak, and discriminators that are their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file

import audiocodec
from audiocodec import model_file, model_places
from audiocodec.audio.resampling import resample
from audiocodec.config.load import load_config
from audiocodec.metrics.stoi import stoi
from audiocodec.training.checkpoints.lean import discriminators_beside

CHECKOUT = Path(__file__).parents[2]
RECIPE = CHECKOUT / "egs" / "speech24k" / "codec"
STARTS = {"start": "speech_24k", "start_residual": "speech_24k_residual"}
SPEECH = CHECKOUT / "egs" / "mini" / "codec" / "local" / "audio"


@pytest.mark.parametrize("folder", STARTS)
def test_it_is_a_model_of_its_configuration(folder: str) -> None:
    model = RECIPE / folder / model_places.MODEL_FILE
    ours, wanted = model_file.describe(model).config, load_config(STARTS[folder])
    assert (ours.model, ours.quantizer) == (wanted.model, wanted.quantizer)
    discriminators = discriminators_beside(model)
    assert discriminators is not None
    assert all(np.isfinite(array).all() for array in load_file(discriminators).values())


@pytest.mark.parametrize("folder", STARTS)
def test_it_speaks(folder: str) -> None:
    """A model with random weights reaches about 0.2."""
    codec = audiocodec.load(RECIPE / folder / model_places.MODEL_FILE)
    wav, rate = soundfile.read(min(SPEECH.rglob("*.flac")), dtype="float32")
    wav = resample(wav, rate, codec.sample_rate)
    wav = wav * (10 ** (-24 / 20) / np.sqrt(np.mean(wav**2)))
    heard = codec.decode(codec.encode(wav))[0, 0].numpy()
    assert stoi(reference=wav, estimate=heard[: len(wav)], sample_rate=codec.sample_rate) > 0.75
