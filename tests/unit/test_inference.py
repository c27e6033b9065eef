"""Whole files through a codec: what counts as finished, and what happens when memory runs out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.checkpoint import load
from audiocodec.evaluation.reconstruct import reconstruct
from audiocodec.inference import is_stale

RATE = 24_000


def noise(path: Path, seed: int = 0) -> Path:
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, RATE // 4), RATE)
    return path


def test_an_output_is_stale_when_its_source_is_newer(tmp_path: Path) -> None:
    source, output = tmp_path / "source", tmp_path / "output"
    for path in (source, output):
        path.touch()
    for seconds, stale in ((99, False), (100, False), (101, True)):
        os.utime(output, (100, 100))
        os.utime(source, (seconds, seconds))
        assert is_stale(output, str(source)) is stale
    assert not is_stale(output, "sox a.wav |")


@pytest.mark.parametrize("newer", ["a.wav", "out/tokens/a.act"])
def test_resumed_reconstruction_makes_again_what_is_stale(tmp_path: Path, tiny_model_path: Path, newer: str) -> None:
    codec = load(tiny_model_path)
    references = {"a": [str(noise(tmp_path / "a.wav"))]}
    reconstruct(codec, references, tmp_path / "out")
    estimate = tmp_path / "out" / "wav" / "a.wav"
    for path in (tmp_path / "a.wav", tmp_path / "out" / "tokens" / "a.act", estimate):
        os.utime(path, (100, 100))
    reconstruct(codec, references, tmp_path / "out", resume=True)
    assert estimate.stat().st_mtime == 100
    os.utime(tmp_path / newer, (101, 101))
    reconstruct(codec, references, tmp_path / "out", resume=True)
    assert estimate.stat().st_mtime > 101
