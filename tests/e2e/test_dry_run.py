"""`audiocodec train --dry-run`: figures worked out by hand."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from pathlib import Path
from typing import Any

import pytest
from support.workspace import CHECKOUT

from audiocodec.cli.main import main

CONFIGS = sorted((CHECKOUT / "audiocodec" / "configs").glob("*.yaml"))

# hop = product of strides; kbps = codebooks * log2(codebook size) * rate / hop / 1000
EXPECTED = {
    "mini": {"hop_length_samples": 320, "frame_rate_hz": 75.0, "bits_per_frame": 8, "bitrate_kbps": 0.6},
    "simvq_24k_65k": {"hop_length_samples": 320, "bits_per_frame": 16, "bitrate_kbps": 1.2},
    "simvq_24k_causal": {"hop_length_samples": 320, "bits_per_frame": 12, "bitrate_kbps": 0.9},
    "simvq_24k_residual": {"num_codebooks": 8, "bits_per_frame": 80, "bitrate_kbps": 6.0},
    "speech_24k": {"hop_length_samples": 320, "bits_per_frame": 16, "bitrate_kbps": 1.2},
    "speech_24k_residual": {"hop_length_samples": 320, "bits_per_frame": 80, "bitrate_kbps": 6.0},
    "speech_24k_gpu": {"hop_length_samples": 320, "bits_per_frame": 16, "bitrate_kbps": 1.2},
    "speech_24k_residual_gpu": {"hop_length_samples": 320, "bits_per_frame": 80, "bitrate_kbps": 6.0},
}


@functools.cache
def figures(config: Path) -> dict[str, Any]:
    """What a dry run says of a configuration; once for each, because it codes some audio to measure memory."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        # A CPU that has no bfloat16 would take minutes over it, and the figures compared here do not depend on it.
        words = ["train", "--config", str(config), "--dry-run", "--json", "--set", "train.precision=float32"]
        assert main(words) == 0
    return dict(json.loads(said.getvalue()))


def test_figures() -> None:
    values = figures(CHECKOUT / "audiocodec" / "configs" / "simvq_24k.yaml")
    expected = {
        "name": "simvq_24k",
        "sample_rate_hz": 24000,
        "hop_length_samples": 320,  # 2 * 4 * 5 * 8
        "frame_rate_hz": 75.0,  # 24000 / 320
        "num_codebooks": 1,
        "codebook_size": 4096,
        "bits_per_frame": 12,  # 2 ** 12 = 4096
        "bitrate_kbps": 0.9,  # 75 * 12 / 1000
        "segment_samples": 24000,  # 1 s, 75 whole frames
        "batch_seconds": 32.0,
        "hours_seen_per_process": 3555.56,  # 400000 * 32 / 3600
        "quantizer_parameters": 4096 * 128 + 128 * 128 + 128,  # frozen codebook, map, bias
    }
    assert {name: values[name] for name in expected} == expected
    weights = values["encoder_parameters"] + values["decoder_parameters"]
    assert values["training_memory_estimate_mb"] > values["training_state_mb"] > 4 * weights / 1e6


def test_text_is_for_reading(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(CHECKOUT / "audiocodec" / "configs" / "mini.yaml")
    assert main(["train", "--config", path, "--set", "train.batch_size=5", "--dry-run"]) == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["hop_length_samples"] == "320" and rows["batch_seconds"] == "2.533"  # 5 * 12160 / 24000


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_can_be_built(config: Path) -> None:
    values = figures(config)
    expected = EXPECTED.get(config.stem, {})
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize("name", ["speech_24k", "speech_24k_residual"])
def test_a_model_for_the_package_stays_below_40_mb(name: str) -> None:
    values = figures(CHECKOUT / "audiocodec" / "configs" / f"{name}.yaml")
    weights = sum(values[f"{part}_parameters"] for part in ("encoder", "decoder", "quantizer"))
    assert 2 * weights < 40e6  # float16


def test_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exp = str(tmp_path / "exp")
    path = str(CHECKOUT / "audiocodec" / "configs" / "mini.yaml")
    assert main(["train", "--config", path, "--exp", exp, "--dry-run"]) == 0
    assert main(["train", "--config", path]) == 2
    assert "--exp" in capsys.readouterr().err
    assert main(["train", "--config", path, "--exp", exp]) == 2
    assert "data.train" in capsys.readouterr().err
    assert not Path(exp).exists()
