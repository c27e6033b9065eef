"""What a resumed run may change, and what it may not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.training_run import config, stopping_at, tensors, trainer, without_checksums

from audiocodec.cli.main import main
from audiocodec.errors import CheckpointError

pytestmark = pytest.mark.usefixtures("fresh_process")
FIXED = {
    "model.causal": "true",
    "sample_rate": "8001",
    "model.encoder.activation": "leaky_relu",
    "quantizer.train_codebook": "true",
    "quantizer.bias": "false",
    "discriminator.kinds": "[mpd]",
    "data.level_db": "-20",
    "seed": "1",
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """An experiment of two steps."""
    folder = tmp_path_factory.mktemp("stopped")
    trainer(config(), folder, data, kind=stopping_at(2)).run()
    return folder


@pytest.mark.parametrize("key", FIXED)
def test_another_model_is_refused_by_name(key: str, stopped: Path, data: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"step_00000002: .*: {key} was .*, is ") as caught:
        trainer(config(f"{key}={FIXED[key]}"), stopped, data, resume=True)
    assert str(caught.value).count(" was ") == 1


def test_all_differences_are_named_at_once(stopped: Path, data: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        trainer(config(" ".join(f"{key}={value}" for key, value in FIXED.items())), stopped, data, resume=True)
    assert str(caught.value).count(" was ") == len(FIXED)
    assert "seed was 1234, is 1" in str(caught.value)


def test_what_is_no_part_of_the_model_may_change(stopped: Path, data: Path) -> None:
    free = "train.batch_size=3 train.learning_rate=0.01 loss.mel=3 data.segment_seconds=0.2 train.steps=9 name=other"
    run = trainer(config(f"{free} discriminator.start_step=7 discriminator.interval=2"), stopped, data, resume=True)
    assert (run.step, run.position) == (2, 4)


def test_a_refused_resume_leaves_the_configuration_on_disk(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "exp" / "config.yaml"
    assert main([*command, "--set", "train.steps=1"]) == 0
    before = written.read_text()
    assert "steps: 1\n" in before
    assert main([*command, "--resume", "--set", "model.causal=true"]) == 2
    assert "model.causal was False, is True" in capsys.readouterr().err
    assert written.read_text() == before
    assert main([*command, "--resume", "--set", "train.steps=2"]) == 0
    assert "steps: 2\n" in written.read_text()
    assert [path.name for path in (tmp_path / "exp").iterdir() if path.name.endswith(".tmp")] == []


def test_optimizer_state_goes_to_the_parameter_of_its_name(stopped: Path, data: Path) -> None:
    run = trainer(config(), stopped, data, resume=True)
    saved = load_file(stopped / "checkpoints" / "step_00000002" / "optimizers.safetensors")
    names = dict(run.parts.raw_codec.named_parameters())
    state = run.parts.optimizers["codec"].state
    ours = {name: tensor for name, tensor in saved.items() if name.startswith("codec.") and name.endswith(".exp_avg")}
    assert len(ours) == sum(p.requires_grad for p in names.values()) > 10
    for name, tensor in ours.items():
        np.testing.assert_array_equal(state[names[name[6:-8]]]["exp_avg"].numpy(), tensor)


BIAS = "codec.quantizer.stages.0.map.bias"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f"{BIAS}.exp_avg", "codec.encoder.nothing.exp_avg", "holds exp_avg_sq, step; need exp_avg, "),
        (f"{BIAS}.exp_avg", f"{BIAS}.exp_avg", r"map.bias.exp_avg: is \[9\], need \[4\]"),
        ("", "codec.encoder.nothing.exp_avg", "not trained: encoder.nothing"),
    ],
)
def test_optimizer_state_that_does_not_fit_is_refused(
    old: str, new: str, message: str, tmp_path: Path, data: Path
) -> None:
    trainer(config("train.steps=2"), tmp_path, data).run()
    path = without_checksums(tmp_path / "checkpoints" / "step_00000002") / "optimizers.safetensors"
    saved = load_file(path)
    saved.pop(old, None)
    save_file({**saved, new: np.zeros(9, np.float32)}, path)
    with pytest.raises(CheckpointError, match=message):
        trainer(config("train.steps=2"), tmp_path, data, resume=True)


def test_discriminators_of_a_version_without_gain_go_on_as_they_were(tmp_path: Path, data: Path) -> None:
    """They heard the waveform as it is: a gain of 1."""
    trainer(config("train.steps=2"), tmp_path, data).run()
    path = without_checksums(tmp_path / "checkpoints" / "step_00000002") / "discriminators.safetensors"
    saved = load_file(path)
    name = "discriminators.ms_stft.scales.0.gain"
    assert float(saved.pop(name)) == pytest.approx(15.849, abs=1e-3)  # speech at -24 dB comes to an RMS of 1
    save_file(saved, path)
    state = trainer(config(), tmp_path, data, resume=True).parts.raw_discriminators.state_dict()
    assert float(state[name]) == 1 and all(np.array_equal(state[n].numpy(), saved[n]) for n in saved)


def test_resuming_before_the_discriminators_have_started(tmp_path: Path, data: Path) -> None:
    made = config("discriminator.start_step=3")
    trainer(made, tmp_path / "whole", data).run()
    trainer(made, tmp_path / "parts", data, kind=stopping_at(2)).run()
    assert not [name for name in tensors(tmp_path / "parts", 2) if name.startswith("optimizers/discriminators.")]
    trainer(made, tmp_path / "parts", data, resume=True).run()
    whole, parts = tensors(tmp_path / "whole", 4), tensors(tmp_path / "parts", 4)
    assert [name for name in whole if name.startswith("optimizers/discriminators.")]
    assert [name for name in whole if not np.array_equal(whole[name], parts[name])] == []
