"""The memory that a dry run announces, against what a step really takes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from training_run import config
from workspace import CHECKOUT

from audiocodec.training.report import describe

FACTOR = 1.75  # workspaces and gradients of activations come on top of what autograd keeps; 1.4 to 1.55 was seen
STEP = """
import sys
import torch
from audiocodec.config.load import load_config
from audiocodec.training.report import describe
from benchmarks.cells import memory_mb
from benchmarks.training import _Step

def take_steps(*overrides):
    step = _Step(load_config("recipes/conf/mini.yaml", overrides), torch.device("cpu"))
    step.run()
    step.run()

torch.set_num_threads(1)
take_steps("train.batch_size=1")  # libraries load what they need
open("/proc/self/clear_refs", "w").write("5")  # VmHWM back to what is held now
before = memory_mb("VmRSS")
take_steps(*sys.argv[1:])
print(memory_mb("VmHWM") - before)
print(describe(load_config("recipes/conf/mini.yaml", sys.argv[1:]))["training_memory_estimate_mb"])
"""


@pytest.mark.slow
def test_the_estimate_is_within_its_factor_of_a_real_step() -> None:
    overrides = ["train.batch_size=24", "discriminator.kinds=[ms_stft]"]
    done = subprocess.run(
        [sys.executable, "-c", STEP, *overrides], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    real, estimate = (float(line) for line in done.stdout.split())
    assert estimate / FACTOR < real < estimate * FACTOR


def test_discriminators_and_batches_are_counted() -> None:
    none, one, two = (
        describe(config(f"{overrides} train.batch_size=8"))
        for overrides in (
            "discriminator.kinds=[]",
            "discriminator.channels=8",
            "discriminator.channels=8 train.gradient_accumulation=2",
        )
    )
    assert one["loss_activations_mb"] > 2 * none["loss_activations_mb"]
    assert one == {
        **two,
        "batch_seconds": one["batch_seconds"],
        "hours_seen_per_process": one["hours_seen_per_process"],
    }
    double = describe(config("discriminator.channels=8 train.batch_size=16"))
    assert double["codec_activations_mb"] == pytest.approx(2 * one["codec_activations_mb"], rel=0.1)
    assert double["loss_activations_mb"] == pytest.approx(2 * one["loss_activations_mb"], rel=0.1)


def test_only_the_part_with_an_lstm_has_unbounded_context() -> None:
    encoder = describe(config("model.encoder.lstm_layers=1"))
    assert encoder["encoder_context_frames"] == "unbounded (LSTM)"
    assert "before" in str(encoder["decoder_context_frames"])
    decoder = describe(config("model.decoder.kind=seanet model.decoder.lstm_layers=1"))
    assert decoder["decoder_context_frames"] == "unbounded (LSTM)"
    assert "before" in str(decoder["encoder_context_frames"])
