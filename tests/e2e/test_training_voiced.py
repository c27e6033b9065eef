"""A voiced decoder in training: it learns the pitch of its audio, resumes bit for bit, begins with other decoders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.training_run import config, stopping_at, tensors, trainer

pytestmark = pytest.mark.usefixtures("fresh_process")
VOICED = "model.decoder.kind=voiced"


def test_the_true_pitch_drives_the_source_and_the_encoder_learns_from_it(tmp_path: Path, data: Path) -> None:
    """The tiny corpus holds steady voices of 110 to 230 Hz."""
    run = trainer(config(f"{VOICED} loss.mel=1e-6 loss.stft=0 loss.voicing=0"), tmp_path, data)
    given: list[torch.Tensor] = []
    voice = run.parts.raw_codec.decoder.voice

    def watched(latents: torch.Tensor, pitch: object = None) -> object:
        given.append(pitch.log_f0[pitch.voicing > 0].exp() * 150)  # type: ignore[attr-defined]
        return voice(latents, pitch)

    run.parts.raw_codec.decoder.voice = watched  # type: ignore[method-assign]
    run.feeder = run._feeder()
    before = [p.detach().clone() for p in run.parts.raw_codec.encoder.parameters()]
    for _ in range(20):
        run._train_step()
    heard = torch.cat(given)
    assert len(heard) > 1000
    nearest = (heard[:, None] / torch.tensor([110.0, 140.0, 170.0, 200.0, 230.0])).log().abs().amin(1)
    assert float(nearest.quantile(0.95)) < 0.02
    moved = zip(before, run.parts.raw_codec.encoder.parameters(), strict=True)
    assert any(
        float((a - b.detach()).abs().max()) > 1e-3 for a, b in moved
    )  # by the pitch alone: the codec is told about it


def test_a_resumed_run_is_the_run_that_never_stopped(tmp_path: Path, data: Path) -> None:
    trainer(config(VOICED), tmp_path / "whole", data).run()
    trainer(config(VOICED), tmp_path / "half", data, kind=stopping_at(2)).run()
    trainer(config(VOICED), tmp_path / "half", data, resume=True).run()
    whole, half = tensors(tmp_path / "whole", 4), tensors(tmp_path / "half", 4)
    assert whole.keys() == half.keys()
    for name, tensor in whole.items():
        np.testing.assert_array_equal(half[name], tensor, err_msg=name)


def test_an_inverse_stft_decoder_becomes_the_free_part(tmp_path: Path, data: Path) -> None:
    plain = trainer(config("train.steps=1"), tmp_path / "plain", data)
    plain.run()
    run = trainer(config(VOICED), tmp_path / "voiced", data, init_from=str(tmp_path / "plain"))
    head, theirs = run.parts.raw_codec.decoder.head, plain.parts.ema.average.decoder.head
    assert torch.equal(head.linear.weight[: 2 * head.bins], theirs.linear.weight)
    assert torch.equal(head.linear.bias[: 2 * head.bins], theirs.linear.bias)
    assert float(head.linear.bias.detach()[2 * head.bins : 3 * head.bins].max()) == -2.5  # harmonics as they start
