"""Runs that begin with the weights of a model: what the log says, what is refused, resumed and rolled back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.hub_server import serving, use
from support.training_run import config, stopping_at, tensors, trainer, without_checksums
from torch import Tensor

from audiocodec.cli.main import main
from audiocodec.model_file import load
from audiocodec.model_places import resolve
from audiocodec.training.batches.feeder import Feeder

pytestmark = pytest.mark.usefixtures("fresh_process")
OTHER = "quantizer.codebook_size=8"  # of the 16: with fewer bits the latents are kept


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """An experiment of four steps, quantized from the second on."""
    folder = tmp_path_factory.mktemp("source")
    trainer(config(), folder, data).run()
    return folder


def options(overrides: str) -> list[str]:
    return [word for override in overrides.split() for word in ("--set", override)]


def log_of(folder: Path) -> list[str]:
    """Lines of `train.log` without their dates."""
    return [line.split(" ", 2)[2] for line in (folder / "train.log").read_text().splitlines()]


def test_a_run_goes_on_with_the_weights_of_an_experiment(tmp_path: Path, command: list[str], source: Path) -> None:
    assert main([*command, "--init-from", str(source), *options("train.steps=1 train.warmup_autoencoder_steps=3")]) == 0
    log = log_of(tmp_path / "exp")
    path = source / "checkpoints" / "step_00000004" / "model.safetensors"
    model = load(path)
    states = tensors(source, 4)
    count = len({name.replace("original0", "original1") for name in states if name.startswith("discriminators/")})
    first = log.index(f"begins with the weights of {path}")
    assert log[first + 1 : first + 4] == [
        f"codec: loaded {len(model.state_dict())}: encoder, scale, quantizer, decoder",
        f"discriminators: loaded {count}: discriminators",
        "quantizer: goes on as it is",
    ]
    assert not any("quantization on" in line for line in log)
    begun = tensors(tmp_path / "exp", 0)
    for name, tensor in model.state_dict().items():
        np.testing.assert_allclose(begun[f"model/{name}"], tensor.numpy(), rtol=1e-5, atol=1e-6)
    averaged = [name for name in begun if name.startswith("ema/") and "/scale." not in name]  # whose scale is measured
    assert all(np.array_equal(begun[name], begun[name.replace("ema/", "codec/")]) for name in averaged)
    moved = tensors(tmp_path / "exp", 1)["codec/quantizer.stages.0.map.weight"]
    assert not np.array_equal(moved, begun["codec/quantizer.stages.0.map.weight"])  # quantized, in spite of the warm-up


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub, of its HTTP library
def test_a_run_goes_on_with_the_weights_of_a_repository(
    tmp_path: Path, command: list[str], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The discriminators come along, as from the experiment itself."""
    with serving() as hub:
        use(hub, tmp_path / "cache", monkeypatch)
        assert main(["push", str(source), "org/first"]) == 0
        assert main([*command, "--init-from", "org/first", *options("train.steps=1")]) == 0
    log = log_of(tmp_path / "exp")
    assert any(line.startswith("begins with the weights of") and "models--org--first" in line for line in log)
    assert any(line.startswith("discriminators: loaded ") for line in log) and "quantizer: goes on as it is" in log


def test_another_quantizer_is_started_anew(tmp_path: Path, command: list[str], source: Path) -> None:
    model = str(resolve(source))
    shutil.copy(model, tmp_path / "alone.safetensors")
    assert main([*command, "--init-from", str(tmp_path / "alone.safetensors"), *options(f"{OTHER} train.steps=2")]) == 0
    log = log_of(tmp_path / "exp")
    assert any(line.startswith("codec: loaded ") and line.endswith(": encoder, scale, decoder") for line in log)
    fresh = "quantizer.stages.0.codebook, quantizer.stages.0.map.weight, quantizer.stages.0.map.bias"
    assert f"codec: fresh 3: {fresh}" in log
    assert "discriminators: fresh: none with an input gain come with the model" in log
    assert "quantizer: is started anew" in log
    assert any(line.startswith("step 1: quantization on, started from ") for line in log)
    assert not any("unused" in line or "resized" in line for line in log)


@pytest.mark.parametrize("overrides", ["", f"{OTHER} train.warmup_autoencoder_steps=2"])
def test_a_resumed_run_is_the_run_that_never_stopped(overrides: str, tmp_path: Path, data: Path, source: Path) -> None:
    made, model = config(overrides), shutil.copytree(source, tmp_path / "model")
    trainer(made, tmp_path / "whole", data, init_from=str(model)).run()
    trainer(made, tmp_path / "parts", data, init_from=str(model), kind=stopping_at(0)).run()  # asked to stop at once
    shutil.rmtree(model)  # what has begun needs no model any more
    trainer(made, tmp_path / "parts", data, resume=True, init_from=str(model), kind=stopping_at(2)).run()
    trainer(made, tmp_path / "parts", data, resume=True, init_from=str(model)).run()
    whole, parts = tensors(tmp_path / "whole", 4), tensors(tmp_path / "parts", 4)
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not np.array_equal(whole[name], parts[name])] == []
    folders = [without_checksums(tmp_path / f / "checkpoints" / "step_00000004") for f in ("whole", "parts")]
    states = [(folder / "state.json").read_text() for folder in folders]
    assert states[0] == states[1]


def test_a_run_killed_after_its_first_checkpoint_goes_on_with_the_weights(
    tmp_path: Path, data: Path, source: Path
) -> None:
    for name, overrides, started in (("same", "", True), ("other", OTHER, False)):
        made, folder = config(overrides), tmp_path / name
        trainer(made, folder, data, init_from=str(source))._save()
        again = trainer(made, folder, data, resume=True, init_from=str(tmp_path / "none"))
        assert again.quantizer_started == started and again.step == 0
        begun = tensors(folder, 0)
        for key, tensor in again.parts.raw_codec.state_dict().items():
            np.testing.assert_array_equal(tensor.numpy(), begun[f"codec/{key}"])


def test_a_rollback_before_the_start_is_one_to_the_models_weights(
    tmp_path: Path, data: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = Feeder.next, iter(range(10**9))

    def spoilt(self: Feeder) -> tuple[Tensor, list[tuple[int, int]]]:
        wav, items = real(self)
        return (wav * torch.nan if next(count) in (1, 2) else wav), items

    monkeypatch.setattr(Feeder, "next", spoilt)
    bad = "train.bad_steps_before_cut=1 train.bad_steps_before_rollback=2"
    run = trainer(config(f"{OTHER} train.warmup_autoencoder_steps=2 {bad}"), tmp_path, data, init_from=str(source))
    run.feeder = run._feeder()
    run._save()
    begun = {name: tensor.clone() for name, tensor in run.parts.raw_codec.state_dict().items()}
    for _ in range(3):
        run._train_step()
    assert run.step == 0 and run.guard.rollbacks == 1 and not run.quantizer_started
    assert all(torch.equal(tensor, begun[name]) for name, tensor in run.parts.raw_codec.state_dict().items())
    for _ in range(3):
        run._train_step()
    assert run.step == 3 and run.quantizer_started


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "no such model"),
        ("weights", "the file is damaged"),
        ("other", "none of its weights fit"),
        ("discriminators", "discriminators.safetensors: cannot read the weights"),
    ],
)
def test_a_model_that_cannot_be_begun_with_is_refused(
    damage: str,
    message: str,
    tmp_path: Path,
    command: list[str],
    source: Path,
    tiny_model_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "model"
    if damage != "missing":
        shutil.copytree(source / "checkpoints" / "step_00000004", folder)
    if damage in ("weights", "discriminators"):
        path = folder / f"{'model' if damage == 'weights' else 'discriminators'}.safetensors"
        data = bytearray(path.read_bytes())
        data[-20] ^= 1
        path.write_bytes(data if damage == "weights" else data[:-3])
    model = str(tiny_model_path if damage == "other" else folder)
    assert main([*command, "--init-from", model]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "exp" / "checkpoints").exists()
    assert (tmp_path / "exp").exists() == (damage != "missing")  # a wrong name is said before audio is read


def test_two_processes_begin_alike(tmp_path: Path, command: list[str], data: Path, source: Path) -> None:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    common = "train.steps=1 discriminator.start_step=0"
    words += ["-m", "audiocodec", *command, "--init-from", str(source), *options(common)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    log = log_of(tmp_path / "exp")
    assert sum("begins with the weights of" in line for line in log) == 1
    trainer(config(f"{common} train.gradient_accumulation=2"), tmp_path / "one", data, init_from=str(source)).run()
    two, one = (tensors(tmp_path / name, 0) for name in ("exp", "one"))
    assert [name for name in one if not np.array_equal(two[name], one[name])] == []
    two, one = (tensors(tmp_path / name, 1) for name in ("exp", "one"))
    for network in ("codec", "discriminators"):  # gradients of both processes together are those of these weights
        names = [name for name in one if name.startswith(f"optimizers/{network}.") and name.endswith(".exp_avg")]
        apart = sum(np.square(two[name] - one[name]).sum() for name in names)
        assert apart < 1e-4 * sum(np.square(one[name]).sum() for name in names)


def test_resume_needs_no_model_any_more(tmp_path: Path, command: list[str], source: Path) -> None:
    assert main([*command, "--resume", "--init-from", str(source), *options("train.steps=1")]) == 0  # nothing there yet
    assert main([*command, "--resume", "--init-from", str(tmp_path / "none"), *options("train.steps=2")]) == 0
    log = log_of(tmp_path / "exp")
    assert sum("begins with the weights of" in line for line in log) == 1
    assert f"resumed from {tmp_path / 'exp' / 'checkpoints' / 'step_00000001'}" in log
