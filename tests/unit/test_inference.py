"""Whole files through a codec: what counts as finished, and what happens when memory runs out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec.cli.main import main
from audiocodec.codec.files import encode_file
from audiocodec.codec.finished import is_stale
from audiocodec.codec.torch import Codec
from audiocodec.evaluation.systems.model import reconstruct
from audiocodec.model_file import load

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


# --- memory


def allocate_on_cpu() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def allocate_in_numpy() -> None:
    np.empty(1 << 60, np.uint8)


def as_cuda_would() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


FAILURES = [allocate_on_cpu, allocate_in_numpy, as_cuda_would]


def end_memory_at_two_seconds(monkeypatch: pytest.MonkeyPatch, failure: Callable[[], None]) -> None:
    """In the encoder and in the decoder."""
    encode, decode = Codec._encode_piece, Codec._check_codes

    def encode_piece(self: Codec, piece: np.ndarray, *rest: object) -> object:
        return failure() if len(piece) > 2 * RATE else encode(self, piece, *rest)  # type: ignore[arg-type]

    def check_codes(self: Codec, codes: np.ndarray) -> object:
        return failure() if codes.shape[-1] > 150 else decode(self, codes)

    monkeypatch.setattr(Codec, "_encode_piece", encode_piece)
    monkeypatch.setattr(Codec, "_check_codes", check_codes)


def lengths(folder: Path) -> Path:
    folder.mkdir()
    for name, seconds in (("a", 0.5), ("long", 3), ("z", 0.5)):
        soundfile.write(folder / f"{name}.wav", np.full(int(seconds * RATE), 0.1), RATE)
    return folder


@pytest.mark.parametrize("failure", FAILURES)
def test_out_of_memory_costs_one_file_of_a_batch(
    tmp_path: Path, tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    failure: Callable[[], None],
) -> None:  # fmt: skip
    source, model = lengths(tmp_path / "in"), ["-m", str(tiny_model_path)]
    assert main(["encode", str(source), "-d", str(tmp_path / "whole"), *model]) == 0
    end_memory_at_two_seconds(monkeypatch, failure)
    for verb, folder in (("encode", source), ("decode", tmp_path / "whole")):
        out = tmp_path / verb
        assert main([verb, str(folder), "-d", str(out), *model]) == 1
        message = capsys.readouterr().err
        assert "not enough memory for 3.0 seconds" in message and str(folder / "long") in message
        assert "2 of 3 done, 1 failed" in message
        assert sorted(path.stem for path in out.iterdir()) == ["a", "z"]


def test_out_of_memory_is_the_problem_of_one_reference(
    tmp_path: Path, tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_memory_at_two_seconds(monkeypatch, allocate_on_cpu)
    source = lengths(tmp_path / "in")
    references = {name: [str(source / f"{name}.wav")] for name in ("a", "long", "z")}
    entries = reconstruct(load(tiny_model_path), references, tmp_path / "out")
    assert [entry.problem for entry in entries] == [
        "",
        "encoding failed: not enough memory for 3.0 seconds of audio",
        "",
    ]


def test_other_errors_of_torch_are_not_about_memory(tmp_path: Path, tiny_model_path: Path) -> None:
    codec = load(tiny_model_path)
    codec.encoder.layers = torch.nn.Sequential(torch.nn.Linear(3, 4))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        encode_file(codec, noise(tmp_path / "a.wav"))
