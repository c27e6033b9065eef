"""Every kind of quantizer in the real training loop: what learns, what stays, resumed, skipped, on two processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.training_run import config, on_two_processes, stopping_at, tensors, trainer

from audiocodec import build
from audiocodec.cli.main import main
from audiocodec.errors import ConfigError
from audiocodec.training.batches.feeder import Feeder

pytestmark = pytest.mark.usefixtures("fresh_process")
EMA = "quantizer.kind=vq_ema quantizer.codebook_decay=0.9"
RESIDUAL = "quantizer.num_codebooks=2 quantizer.dropout=0.5"
# Overrides, and what of the first stage must move in training; the rest of it must not.
ROWS = {
    "simvq": ("", {"map.weight", "map.bias"}),
    "latents": ("quantizer.distribution=latents", {"map.weight", "map.bias"}),
    "unscaled": ("model.latent_scale=false", {"map.weight", "map.bias"}),
    "mlp": (
        "quantizer.map=mlp",
        {"map.weight", "map.bias", "bend.2.weight", "bend.2.bias", "bend.0.weight", "bend.0.bias"},
    ),
    "vq": ("quantizer.kind=vq quantizer.codebook_init=kmeans", {"codebook"}),
    "vq_ema": (EMA, {"codebook", "counts"}),
    "vq_fc": (
        "quantizer.kind=vq_fc quantizer.low_dim=2 quantizer.gradient=rotation",
        {"codebook", "down.weight", "down.bias", "up.weight", "up.bias"},
    ),
    "fsq": ("quantizer.kind=fsq quantizer.codebook_size=25", {"down.weight", "down.bias", "up.weight", "up.bias"}),
    "lfq": ("quantizer.kind=lfq", {"down.weight", "down.bias", "up.weight", "up.bias"}),
    "vq_lc": ("quantizer.kind=vq_lc quantizer.bias=false", {"map.weight"}),
    "kmeans": ("quantizer.kind=kmeans", set()),
    "semantic_first": (f"{RESIDUAL} quantizer.first_stage=vq_lc", {"map.weight", "map.bias"}),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_learns_learns_and_what_is_frozen_stays(name: str, tmp_path: Path, data: Path) -> None:
    overrides, learned = ROWS[name]
    run = trainer(config(f"{overrides} train.steps=6"), tmp_path, data, kind=stopping_at(2))
    assert run.run() == 2
    before = {key: tensor.clone() for key, tensor in run.parts.raw_codec.state_dict().items()}
    run.feeder = run._feeder()
    for _ in range(4):
        assert all(torch.isfinite(value).all() for value in run._train_step().values())
    assert run.guard.skipped == 0
    moved = {key for key, tensor in run.parts.raw_codec.state_dict().items() if not torch.equal(tensor, before[key])}
    prefix = "quantizer.stages.0."
    assert {key.removeprefix(prefix) for key in moved if key.startswith(prefix)} == learned
    assert any(key.startswith("encoder.") for key in moved) == (name != "kmeans")
    assert any(key.startswith("decoder.") for key in moved)


@pytest.mark.parametrize(
    "overrides",
    [
        f"{EMA} {RESIDUAL} quantizer.replace_below=0.5 train.gradient_accumulation=2",
        f"{EMA} quantizer.gradient=rotation",
        "quantizer.kind=vq",
        "quantizer.kind=fsq quantizer.codebook_size=25 quantizer.num_codebooks=2",
        "quantizer.kind=vq_lc quantizer.map=mlp",
        f"{RESIDUAL} quantizer.distribution=latents quantizer.init=covariance model.latent_scale=false",
    ],
)
@pytest.mark.parametrize("warmup", [1, 2])
def test_a_resumed_run_is_the_run_that_never_stopped(warmup: int, overrides: str, tmp_path: Path, data: Path) -> None:
    made = config(f"{overrides} train.warmup_autoencoder_steps={warmup}")
    trainer(made, tmp_path / "whole", data).run()
    trainer(made, tmp_path / "parts", data, kind=stopping_at(2)).run()
    trainer(made, tmp_path / "parts", data, resume=True).run()
    whole, parts = tensors(tmp_path / "whole", 4), tensors(tmp_path / "parts", 4)
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not np.array_equal(whole[name], parts[name])] == []


def test_a_bad_step_leaves_a_moving_codebook_where_it_was(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(f"{EMA} train.steps=3 train.gradient_accumulation=2")
    run = trainer(made, tmp_path, data, kind=stopping_at(2))
    run.run()
    before = {name: tensor.clone() for name, tensor in run.parts.raw_codec.quantizer.state_dict().items()}
    real, calls = Feeder.next, iter(range(10))

    def second_is_bad(self: Feeder) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        wav, items = real(self)
        return (wav if next(calls) != 1 else torch.full_like(wav, torch.nan)), items

    monkeypatch.setattr(Feeder, "next", second_is_bad)
    run.feeder = run._feeder()
    run._train_step()
    assert run.guard.skipped == 1
    now = run.parts.raw_codec.quantizer.state_dict()
    assert all(torch.equal(now[name], tensor) for name, tensor in before.items())
    run._train_step()  # and the sound half of the skipped step is forgotten
    frames = 2 * 2 * made.segment_samples // made.hop_length
    counts = run.parts.raw_codec.quantizer.stages[0].counts
    torch.testing.assert_close(counts.sum(), 0.9 * before["stages.0.counts"].sum() + 0.1 * frames)


@pytest.mark.usefixtures("one_thread")
def test_two_processes_move_a_codebook_as_one_with_twice_the_batch(
    tmp_path: Path, data: Path, command: list[str]
) -> None:
    overrides = f"{EMA} quantizer.replace_below=0.2 train.steps=3"
    on_two_processes([*command, *(word for override in overrides.split() for word in ("--set", override))])
    assert "2 process(es)" in (tmp_path / "exp" / "train.log").read_text()
    trainer(config(f"{overrides} train.gradient_accumulation=2"), tmp_path / "one", data).run()
    trainer(config(overrides), tmp_path / "half", data).run()
    two, one, half = (tensors(tmp_path / name, 3) for name in ("exp", "one", "half"))
    counts, codebook = "codec/quantizer.stages.0.counts", "codec/quantizer.stages.0.codebook"
    np.testing.assert_allclose(two[counts], one[counts], atol=0.11)  # a frame on the edge between two codes: 0.1
    assert abs(two[codebook] - one[codebook]).mean() < 0.02 < abs(half[codebook] - one[codebook]).mean()
    assert abs(half[counts] - one[counts]).max() > 0.3


def test_codebooks_that_do_not_fit_into_memory_are_refused_with_the_estimate(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """262,144 x 512 floats are 537 MB: twice that to code (as drawn, as projected), and again for the average."""
    large = [*command, "--set", "quantizer.codebook_size=262144", "--set", "quantizer.codebook_dim=512"]
    for free, more, estimate in (
        (2_000_000_000, [], "take 2147 MB in training, 2000 MB are free"),
        (3_000_000_000, ["--set", "quantizer.train_codebook=true"], "take 3758 MB in training, 3000 MB are free"),
    ):
        monkeypatch.setattr(build, "free_bytes", lambda device, free=free: free)
        assert main([*large, *more]) == 2
        assert estimate in capsys.readouterr().err
    monkeypatch.setattr(build, "free_bytes", lambda device: 1_000_000_000)
    with pytest.raises(ConfigError, match="take 1074 MB, 1000 MB are free"):
        build.build_codec(config("quantizer.codebook_size=262144 quantizer.codebook_dim=512"))
    build.build_codec(
        config("quantizer.kind=lfq quantizer.codebook_size=262144 quantizer.codebook_dim=512")
    )  # no table
