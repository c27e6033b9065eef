"""Fixtures that several kinds of tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# As in the Makefile. Read when torch and numpy are first imported, so set here, before any test module is: threads that spin
# while they wait starve the other test processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ["AUDIOCODEC_MODELS"] = os.devnull  # no test finds what somebody keeps in a folder of models
os.environ["HF_HUB_CACHE"] = os.path.join(os.devnull, "hub")  # nor in the cache of a hub, nor asks the hub itself
os.environ["HF_HUB_OFFLINE"] = "1"

# A shell's background jobs, such as a continuous integration's, inherit an ignored Ctrl-C, and so would every command run here.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The same of a closed terminal's signal, under nohup.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def tiny_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a very small codec with random weights: 24 kHz, hop 320, 2 codebooks of 64."""
    return _save_tiny_model(tmp_path_factory.mktemp("tiny"), seed=1)


@pytest.fixture(scope="session")
def other_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another codec of the same shape: its tokens must not be decoded by the first."""
    return _save_tiny_model(tmp_path_factory.mktemp("other"), seed=2)


def _save_tiny_model(folder: Path, seed: int) -> Path:
    import torch

    from audiocodec.build import build_codec
    from audiocodec.config.schema import Config, DecoderConfig, EncoderConfig, ModelConfig, QuantizerConfig
    from audiocodec.model_file import save

    config = Config(
        name="tiny",
        model=ModelConfig(encoder=EncoderConfig(base_channels=4), decoder=DecoderConfig(dim=16, layers=1)),
        quantizer=QuantizerConfig(num_codebooks=2, codebook_size=64, codebook_dim=16),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        codec = build_codec(config)
        with torch.no_grad():  # random biases would drown the input; then scale and codebooks are fitted to noise
            for name, parameter in codec.encoder.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
            latents = codec.encoder(0.1 * torch.randn(4, 1, 32_000))
            codec.scale.calibrate([latents])
            codec.eval().quantizer.initialize(codec.scale(latents).transpose(1, 2).flatten(0, 1))
    path = folder / "model.safetensors"
    save(codec, config, path)
    return path
