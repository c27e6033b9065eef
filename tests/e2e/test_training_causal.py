"""The causal recipe, small: trained for two steps, and what it made streams as it codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.workspace import CHECKOUT

from audiocodec.cli.main import main
from audiocodec.model_file import load

pytestmark = pytest.mark.usefixtures("fresh_process")
SMALL = """model.encoder.base_channels=2 model.decoder.dim=16 model.decoder.layers=1 quantizer.codebook_size=16
quantizer.codebook_dim=4 loss.mel_windows=[256] loss.mel_bands=[20] loss.stft_windows=[128] discriminator.channels=2
discriminator.stft_windows=[128] discriminator.start_step=1 data.segment_seconds=0.1 train.steps=2
train.warmup_autoencoder_steps=1 train.batch_size=2 train.valid_utterances=1"""


def test_a_model_of_the_causal_recipe_streams_as_it_codes(tmp_path: Path, data: Path) -> None:
    recipe = CHECKOUT / "audiocodec" / "configs" / "simvq_24k_causal.yaml"
    settings = [word for setting in [*SMALL.split(), f"data.train={data}"] for word in ("--set", setting)]
    assert main(["train", "--config", str(recipe), "--exp", str(tmp_path / "exp"), "--device", "cpu", *settings]) == 0
    codec = load(tmp_path / "exp")
    assert codec.latency_samples == 800 and codec.encoder_context[1] == 0  # 33.3 ms at 24 kHz
    wav = np.random.default_rng(0).normal(0, 0.1, 9_999).astype(np.float32)
    codes = codec.encode(wav)[0].numpy()
    with codec.stream_encoder() as encoder, codec.stream_decoder() as decoder:
        pieces = [encoder.push(piece) for piece in np.array_split(wav, 77)] + [encoder.finish()]
        sound = [decoder.push(piece) for piece in pieces] + [decoder.finish()]
    np.testing.assert_array_equal(np.concatenate(pieces, 1), codes)
    np.testing.assert_allclose(np.concatenate(sound), codec.decode(codes)[0, 0].numpy(), rtol=0, atol=1e-5)
