"""The error that a model file carries: by the level of a frame, measured, written and read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.tiny_models import HOP, NETWORKS, config, noise, save

from audiocodec import model_file
from audiocodec.codec.latent_error import LEVELS, SAFETY, LatentError, largest_by_level, levels_of
from audiocodec.codec.measure import latent_errors, measure
from audiocodec.constants import LATENT_ERROR
from audiocodec.errors import CheckpointError
from audiocodec.onnx import folder
from audiocodec.onnx.load import load, read

SEEN = LatentError((0.0, 1e-6, 2e-6, *([5e-6] * 13), 1e-5))


def tone(level: float) -> np.ndarray:
    """A frame of constant samples, whose RMS is their value."""
    return np.full(HOP, 10 ** (level / 20), np.float32)


def test_levels_are_those_of_the_frames_own_samples() -> None:
    wav = np.concatenate([tone(-100), tone(-93), tone(-91), tone(-7), tone(3), tone(-50)[: HOP // 4]])
    expected = [0, 1, 1, len(LEVELS) - 1, len(LEVELS)]  # up to -96, -90, ..., -6; above
    np.testing.assert_array_equal(levels_of(wav, np.arange(5), HOP), np.array(expected))
    short = np.flatnonzero(np.array(LEVELS) == -60)[0] + 1  # a quarter of the energy: -56 dB
    np.testing.assert_array_equal(levels_of(wav, np.array([5, 2]), HOP), [short, 1])


def test_a_bound_is_that_of_the_level_and_its_neighbours() -> None:
    wav = np.concatenate([tone(-99), tone(-93), tone(-87), tone(-81), tone(0)])
    bounds = SEEN.bounds(wav, np.arange(5), HOP)
    np.testing.assert_allclose(bounds, [LATENT_ERROR, SAFETY * 2e-6, SAFETY * 5e-6, SAFETY * 5e-6, SAFETY * 1e-5])
    assert SEEN.largest == np.float32(LATENT_ERROR)
    np.testing.assert_allclose(LatentError().bounds(wav, np.arange(5), HOP), LATENT_ERROR)


def test_the_largest_of_each_level_is_kept() -> None:
    found = largest_by_level(np.array([1e-6, 3e-6, 2e-6], np.float32), np.array([4, 4, 0]))
    assert found.seen[:6] == (2e-6, 0, 0, 0, 3e-6, 0) and len(found.seen) == len(LEVELS) + 1
    assert LatentError.from_json(found.to_json()) == found


@pytest.mark.parametrize("text", ["{}", "[1e-6]", json.dumps(["x"] * 17), json.dumps([2] * 17), json.dumps([-1] * 17)])
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="need|must"):
        LatentError.from_json(text)


def test_a_model_file_carries_it_and_stays_the_same_model(tmp_path: Path) -> None:
    path = save(config(NETWORKS["istft"]), tmp_path / "m.safetensors")
    before = model_file.describe(path)
    weights = {name: array.tobytes() for name, array in model_file.read_weights(path).items()}
    assert before.latent_error == LatentError()
    model_file.state_latent_error(path, SEEN)
    after = model_file.describe(path)
    same = {"latent_error_text": "", "bytes": 0}
    assert replace(after, **same) == replace(before, **same)
    assert {name: array.tobytes() for name, array in model_file.read_weights(path).items()} == weights
    codec = model_file.load(path)
    assert codec.near_ties.error == read(path).latent_error == SEEN
    again, half, made = tmp_path / "again.safetensors", tmp_path / "half.safetensors", tmp_path / "exported"
    model_file.save(codec, config(NETWORKS["istft"]), again)
    assert model_file.load(again).near_ties.error == SEEN
    model_file.save(codec, config(NETWORKS["istft"]), half, half=True)
    assert model_file.load(half).near_ties.error == LatentError()  # rounded weights are those of another encoder
    folder.write(read(path), config(NETWORKS["istft"]), made, {})
    assert load(made).near_ties.error == SEEN


def test_the_header_covers_it_by_its_checksum(tmp_path: Path) -> None:
    path = save(config(NETWORKS["istft"]), tmp_path / "m.safetensors")
    model_file.state_latent_error(path, SEEN)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"2e-06", b"1e-06", 1))
    with pytest.raises(CheckpointError, match="contradicts its own checksum"):
        model_file.load(path)


def test_folders_of_before_have_the_general_bound(tmp_path: Path) -> None:
    path, made = save(config(NETWORKS["istft"]), tmp_path / "m.safetensors"), tmp_path / "exported"
    folder.write(read(path), config(NETWORKS["istft"]), made, {})
    text = made / folder.DESCRIPTION
    said = json.loads(text.read_text())
    del said["latent_error"]
    text.write_text(json.dumps({**said, "digest": folder._digest(said)}))
    assert load(made).near_ties.error == LatentError()


def test_what_is_measured_is_the_distance_from_float64(tmp_path: Path) -> None:
    """With latents that are wrong by a known distance."""
    path = save(config(NETWORKS["istft"]), tmp_path / "m.safetensors")
    torch, onnx = model_file.load(path), load(path, threads=1)
    wav = noise(50 * HOP - 3)
    ((filled, errors),) = latent_errors([torch, onnx], torch.near_ties.exact(), [wav])
    assert len(filled) == 50 * HOP and errors.shape == (4, 50) and 0 < errors.max() < LATENT_ERROR / 20
    right = onnx.float_latents
    onnx.float_latents = lambda wav: right(wav) + np.float32(0.01)  # type: ignore[method-assign]
    ((_, errors),) = latent_errors([torch, onnx], torch.near_ties.exact(), [wav])
    assert errors[:2].max() < LATENT_ERROR / 20
    np.testing.assert_allclose(errors[2:], 0.01 * 6**0.5, rtol=0.01)  # of six dimensions
    found = measure([torch], torch.near_ties.exact(), [wav])
    assert all(0 < value < LATENT_ERROR for value in found.seen)  # noise of every level is part of it
