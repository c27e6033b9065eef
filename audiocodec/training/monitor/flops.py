"""The arithmetic of a training step, and what share of the device's peak it reaches.

Counted are the convolutions and matrix products of one process, forward and backward, a multiply-add as two, as the code
asks for them, whatever a compiler makes of it. FFTs, LSTMs, everything elementwise, augmentation and optimizers are not
counted, but take time: the share says how much of the card does what it is best at.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from audiocodec.build import build_codec, build_discriminators
from audiocodec.config.schema import Config
from audiocodec.training.losses import DiscriminatorBundle, Steps

# Operations per second without sparsity, by torch's name of the card and `train.precision`, from NVIDIA's white paper on
# the H100 (SXM5: 1,978.9 and 989.4 TFLOP/s with sparsity); the H200 has the same chip. float32 is TF32, which is what
# torch's convolutions use. A part of a card (MIG) and the slower PCIe boards have other names, and so no peak here.
_HOPPER = {"bf16": 989.4e12, "float32": 494.7e12}
PEAKS = {"NVIDIA H200": _HOPPER, "NVIDIA H100 80GB HBM3": _HOPPER}
Phase = tuple[bool, ...]
_TELLING = ("loss/codebook", "loss/adversarial", "loss/discriminator")  # quantized, adversarial, discriminators trained
log = logging.getLogger("audiocodec.train")


class Meter:
    """Operations and seconds of the steps since the last reading; the first step of a kind, which compiles, left out."""

    def __init__(self, config: Config, device: torch.device) -> None:
        """Nothing is counted before it is read, and each kind of step once."""
        self.config = config
        self.device = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        self.peak = PEAKS.get(self.device, {}).get(config.train.precision)
        self._seconds = 0.0
        self._steps: Counter[Phase] = Counter()
        self._kinds: dict[Phase, float] = {}

    def add(self, values: Collection[str], seconds: float) -> None:
        """A step that gave `values` (their names) and took so long."""
        phase = tuple(name in values for name in _TELLING)
        if phase not in self._kinds:
            self._kinds[phase] = 0.0
            return
        self._steps[phase] += 1
        self._seconds += seconds

    def read(self) -> dict[str, float]:
        """`train/tflops` (10^12 operations a second) and, where the peak is known, `train/peak_share`; {} for no steps."""
        if not self._steps:
            return {}
        rate = sum(count * self._flops(phase) for phase, count in self._steps.items()) / self._seconds
        self._steps.clear()
        self._seconds = 0.0
        return {"train/tflops": rate / 1e12} | ({"train/peak_share": rate / self.peak} if self.peak else {})

    def _flops(self, phase: Phase) -> float:
        if not self._kinds[phase]:
            self._kinds[phase] = step_flops(self.config, phase)
            peak = f"peak {self.peak / 1e12:g} TFLOP/s" if self.peak else "peak not known"
            what = f"{self._kinds[phase] / 1e9:.4g} GFLOP in convolutions and matrix products"
            log.info("a step is %s; %s, %s: %s", what, self.device, self.config.train.precision, peak)
        return self._kinds[phase]


def step_flops(config: Config, phase: Phase) -> float:
    """Operations of a step of one process, counted on the CPU with one and two segments: the rest is linear."""
    one, two = (_count(config, phase, segments) for segments in (1, 2))
    return config.train.gradient_accumulation * (one + (config.train.batch_size - 1) * (two - one))


def _count(config: Config, phase: Phase, segments: int) -> float:
    quantize, adversarial, trained = phase
    codec = build_codec(config)
    discriminators = DiscriminatorBundle(build_discriminators(config), config.discriminator_samples)
    steps, wav = Steps(config, torch.device("cpu")), 0.1 * torch.randn(segments, 1, config.segment_samples)
    formulas = {torch.ops.aten.convolution_backward: _backward_flops}
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    counter.mod_tracker = _Whole()  # type: ignore[assignment]
    with counter:
        output = codec(wav, quantize=quantize)
        discriminators.requires_grad_(trained)
        pairs = (
            discriminators(wav, output.estimate if adversarial else output.estimate.detach())
            if adversarial or trained
            else ()
        )
        if trained:
            steps.discriminator(discriminators, pairs, Tensor.backward)
        steps.generator(output, pairs if adversarial else (), wav, Tensor.backward)
    return float(counter.get_total_flops())


class _Whole(contextlib.nullcontext[None]):
    """In place of torch's tracker of modules, which fails where a module's output has no gradient (FSQ): one total."""

    parents = frozenset({"Global"})


def _backward_flops(grad: Any, x: Any, weight: Any, *rest: Any, out_shape: Any = None) -> int:
    """Each gradient takes as much as the convolution; torch's formula counts that of a weight once for every group."""
    _bias, _stride, _padding, _dilation, transposed, _output_padding, _groups, wanted = rest
    return int(wanted[0] + wanted[1]) * conv_flop_count(x, weight, grad, transposed)
