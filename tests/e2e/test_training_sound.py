"""Checkpoints hold finite weights, undamaged, or are refused; what a run writes may be read by others."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from support.training_run import config, tensors, trainer, without_checksums

from audiocodec import model_file
from audiocodec.cli.main import main
from audiocodec.errors import CheckpointError, NotFinite
from audiocodec.training.checkpoints import state

pytestmark = pytest.mark.usefixtures("fresh_process")
LAST = "step_00000002"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """An experiment of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    before = os.umask(0o022)
    try:
        trainer(config("train.steps=2"), folder, data).run()
    finally:
        os.umask(before)
    return folder


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def resume(folder: Path, data: Path) -> Any:
    return trainer(config("train.steps=2"), folder, data, resume=True)


def test_others_may_read_what_is_written(trained: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in (trained / "checkpoints" / LAST).iterdir()}
    assert set(modes.values()) == {0o644} and len(modes) == 6, modes


@pytest.mark.parametrize("name", ["model", "codec", "ema", "discriminators", "optimizers"])
def test_a_flipped_bit_is_found(name: str, copy: Path, data: Path) -> None:
    path = copy / "checkpoints" / LAST / f"{name}.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1  # of a weight
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}\.safetensors: .*not the file that was written.*step_00000000"):
        resume(copy, data)
    shutil.rmtree(path.parent)  # as the message says
    assert resume(copy, data).step == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"step": 2', '"step": 1'),
        ('"step": 2', '"step": null'),
        ('"step": 2', "[" * 5000),
        ('"step": 2', '"step": 2, "step": 2'),
    ],
)
def test_a_changed_state_is_found(old: str, new: str, copy: Path, data: Path) -> None:
    path = copy / "checkpoints" / LAST / "state.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CheckpointError, match=r"state\.json"):
        resume(copy, data)


@pytest.mark.parametrize(
    ("key", "value"),
    [("step", None), ("step", 3.5), ("step", "7"), ("step", -1), ("guard", 3), ("seconds", float("nan"))],
)
def test_a_state_without_checksum_is_checked_as_well(key: str, value: Any, copy: Path, data: Path) -> None:
    path = without_checksums(copy / "checkpoints" / LAST) / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match=r"state\.json"):
        resume(copy, data)


def test_a_checkpoint_of_a_version_without_checksums_is_taken(copy: Path, data: Path) -> None:
    without_checksums(copy / "checkpoints" / LAST)
    run = resume(copy, data)
    saved = load_file(copy / "checkpoints" / LAST / "codec.safetensors")
    assert run.step == 2
    assert all(np.array_equal(t.numpy(), saved[n]) for n, t in run.parts.raw_codec.state_dict().items())


@pytest.mark.parametrize(
    ("file", "name"),
    [("codec", "scale.mean"), ("ema", "scale.rms"), ("optimizers", "codec.quantizer.stages.0.map.bias.exp_avg_sq")],
)
def test_a_checkpoint_that_is_not_finite_is_refused(file: str, name: str, copy: Path, data: Path) -> None:
    path = without_checksums(copy / "checkpoints" / LAST) / f"{file}.safetensors"
    content = load_file(path)
    content[name] = np.full_like(content[name], np.inf)
    save_file(content, path)
    with pytest.raises(NotFinite, match=rf"{file}\.safetensors.*remove .*{LAST}"):
        resume(copy, data)


def test_weights_that_are_not_finite_are_a_bad_step(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate of 1e30 leaves the first loss and gradient finite and spoils the weights."""
    wild = ["steps=1", "learning_rate=1e14", "discriminator_learning_rate=1e14", "lr_warmup_steps=0"]
    assert main([*command, *(word for option in wild for word in ("--set", f"train.{option}"))]) == 1
    assert "not finite again after 3 rollbacks" in capsys.readouterr().err
    log = (tmp_path / "exp" / "train.log").read_text()
    assert log.count("step 1: no checkpoint") == 4 and log.count("rolled back to step 0") == 3
    newest = state.latest(tmp_path / "exp" / "checkpoints")
    assert newest is not None and newest.name == "step_00000000"
    assert all(np.isfinite(tensor).all() for tensor in tensors(tmp_path / "exp", 0).values())


@pytest.mark.parametrize("part", ["weight", "moment", "scale"])
def test_a_run_goes_on_from_the_last_finite_checkpoint(
    part: str, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real, spoilt = trainer(config("train.steps=2 train.checkpoint_interval=1"), tmp_path, data), state.save, []

    def save(folder: Path, *arguments: Any) -> None:
        if folder.name == LAST and not spoilt:
            spoilt.append(folder)
            moments = run.parts.optimizers["codec"].state.values()
            codec = run.parts.raw_codec
            bad = {
                "weight": next(codec.parameters()).data,
                "moment": next(iter(moments))["exp_avg"],
                "scale": run.parts.ema.average.scale.rms,
            }[part]
            bad.view(-1)[0] = torch.nan
        real(folder, *arguments)

    monkeypatch.setattr(state, "save", save)
    assert run.run() == 2
    assert (run.guard.rollbacks, run.guard.rate_scale, len(spoilt)) == (1, 0.5, 1)
    assert all(np.isfinite(tensor).all() for tensor in tensors(tmp_path, 2).values())


def test_models_that_are_not_finite_are_neither_saved_nor_begun_with(
    trained: Path, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    source = trained / "checkpoints" / LAST / "model.safetensors"
    codec, made = model_file.load(source), model_file.describe(source).config
    codec.scale.mean[0] = torch.nan
    with pytest.raises(NotFinite, match=r"m\.safetensors: 1 weights hold NaN or infinite values \(scale\.mean\)"):
        model_file.save(codec, made, tmp_path / "m.safetensors")
    codec.scale.mean[0] = 1e6  # more than float16 holds
    with pytest.raises(NotFinite):
        model_file.save(codec, made, tmp_path / "m.safetensors", half=True)
    assert not list(tmp_path.glob("*.safetensors"))
    bad = _resealed(source, tmp_path / "bad.safetensors")
    for load in (model_file.load, model_file.read_weights):
        with pytest.raises(NotFinite, match="bad.safetensors"):
            load(bad)
    assert main([*command, "--init-from", str(bad)]) == 2
    assert "NaN or infinite" in capsys.readouterr().err


def _resealed(source: Path, target: Path) -> Path:
    """A model whose scale is infinite, with a fingerprint and checksum that fit."""
    from audiocodec.codec.interface import fingerprint_of

    header, weights = model_file.describe(source), load_file(source)
    weights["scale.rms"] = np.full_like(weights["scale.rms"], np.inf)
    sizes = (header.config.quantizer.codebook_size,) * header.config.quantizer.num_codebooks
    found = fingerprint_of(header.config.sample_rate, header.config.hop_length, sizes, sorted(weights.items()))
    said = {"format": model_file.FORMAT, "config": header.config_text, "notes": "{}", "fingerprint": found.hex()}
    save_file(weights, target, {**said, "digest": model_file._digest(said)})
    return target
