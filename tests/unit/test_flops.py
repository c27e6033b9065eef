"""Operations of a training step: by hand from the layers' shapes, and as shares of a known peak."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from audiocodec.build import build_codec
from audiocodec.config.schema import (
    Config,
    DataConfig,
    DecoderConfig,
    DiscriminatorConfig,
    EncoderConfig,
    LossConfig,
    ModelConfig,
    QuantizerConfig,
    TrainConfig,
)
from audiocodec.nn.conv import Conv1d, ConvTranspose1d
from audiocodec.training.monitor import flops
from audiocodec.training.monitor.flops import Meter, _backward_flops, step_flops

FRAMES, HOP, BATCH = 40, 20, 3
CONFIG = Config(
    sample_rate=8000,
    model=ModelConfig(
        EncoderConfig(strides=(4, 5), base_channels=4, convnext_layers=1), DecoderConfig(dim=16, layers=2)
    ),
    quantizer=QuantizerConfig(codebook_size=64, codebook_dim=8),
    loss=LossConfig(mel=0.0, stft_windows=(128,)),  # FFTs are not counted, mel filters would be
    discriminator=DiscriminatorConfig(channels=2, stft_windows=(128,)),
    data=DataConfig(segment_seconds=FRAMES * HOP / 8000),
    train=TrainConfig(batch_size=BATCH, gradient_accumulation=2),
)
PLAIN, QUANTIZED = (False, False, False), (True, False, False)
GRADIENTS = {"loss/total", "loss/mel", "gradient/codec"}


def by_hand(config: Config) -> tuple[int, int]:
    """Operations of one segment's forward pass, and those of its first layer, which needs no gradient of its input."""
    counts: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, Conv1d):  # each output value: taps x channels of its group, a multiply-add is two
            conv = layer.conv
            counts.append(2 * output.numel() * conv.kernel_size[0] * conv.in_channels // conv.groups)
        elif isinstance(layer, ConvTranspose1d):  # computed as two taps, with a step more than come in
            steps = (inputs[0].shape[-1] + 1) * layer.stride
            counts.append(2 * steps * layer.conv.out_channels * 2 * layer.conv.in_channels)

    codec = build_codec(config)
    for layer in codec.modules():
        layer.register_forward_hook(count)
    codec(torch.randn(1, 1, config.segment_samples), quantize=False)
    linear = [layer for part in (codec.encoder, codec.decoder) for layer in part.modules() if type(layer) is nn.Linear]
    return sum(counts) + sum(2 * FRAMES * layer.in_features * layer.out_features for layer in linear), counts[0]


@pytest.mark.parametrize("kind", ["istft", "seanet"])
def test_the_codec_by_hand(kind: str) -> None:
    decoder = replace(CONFIG.model.decoder, kind=kind, base_channels=4)
    config = replace(CONFIG, model=replace(CONFIG.model, decoder=decoder))
    forward, first = by_hand(config)
    assert step_flops(config, PLAIN) == 2 * BATCH * (3 * forward - first)


def test_a_transposed_convolution_by_hand() -> None:
    """None of ours is computed as one; torch's formula of the backward pass is replaced for them, too."""
    x = torch.randn(2, 3, 10, requires_grad=True)
    with FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _backward_flops}
    ) as counter:
        nn.ConvTranspose1d(3, 5, 4, stride=2)(x).sum().backward()
    every_value_meets = 4 * 5  # taps x channels
    assert counter.get_total_flops() == 3 * 2 * x.numel() * every_value_meets  # forward and two gradients


def judging_by_hand() -> tuple[int, int]:
    """Operations of judging one segment, window 128 and two channels; and those of the first layer alone."""
    times = (FRAMES * HOP - 128) // 32 + 1
    frequencies = (65, 33, 17, 9)  # after each layer of 3 x 9 taps: the strides are 1, 2, 2, 2
    layers = [2 * times * n * 2 * 2 * 3 * 9 for n in frequencies]
    small, score = (2 * times * 9 * 2 * channels * 3 * 3 for channels in (2, 1))
    return sum(layers) + small + score, layers[0]


def test_searching_and_judging_by_hand() -> None:
    plain = step_flops(CONFIG, PLAIN)
    frames, codes, dim = FRAMES * BATCH, 64, 8
    search = 2 * frames * codes * (dim + 1)  # half a squared norm goes through the product as well
    table = 2 * codes * dim * dim  # all rows through the map, once a batch however many segments
    chosen = 2 * 2 * frames * dim * dim  # the chosen rows again, and the gradient of the map; the rows are frozen
    assert step_flops(CONFIG, QUANTIZED) - plain == 2 * (search + table + chosen)
    judged, trained = (step_flops(CONFIG, (False, True, flag)) for flag in (False, True))
    judging, first = judging_by_hand()
    assert judged - plain == 2 * BATCH * 3 * judging  # real and fake forward, and the gradient of the fake one's input
    # Two gradients of real and fake, none of the first layer's input; the scores and features are those that the codec hears.
    assert trained - judged == 2 * BATCH * 2 * (2 * judging - first)
    alone = step_flops(CONFIG, (False, False, True))
    assert alone - plain == 2 * BATCH * 2 * (3 * judging - first)  # real and fake forward and two gradients


def test_a_meter_adds_up_steps_of_every_kind(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(flops, "step_flops", lambda _, phase: 1e12 * (1 + sum(phase)))
    caplog.set_level(logging.INFO, logger="audiocodec.train")
    meter = Meter(CONFIG, torch.device("cpu"))
    assert meter.read() == {}
    for _ in range(3):  # the first of them is left out
        meter.add(GRADIENTS, 0.5)
    assert meter.read() == {"train/tflops": pytest.approx(2.0)}
    assert meter.read() == {}
    for seconds in (9.0, 1.0):
        meter.add(GRADIENTS | {"loss/codebook", "loss/adversarial", "loss/discriminator"}, seconds)
    meter.add(GRADIENTS, 1.0)
    assert meter.read() == {"train/tflops": pytest.approx((4 + 1) / 2)}
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" in ")[0] for line in lines] == ["a step is 1000 GFLOP", "a step is 4000 GFLOP"]
    assert all(line.endswith("cpu, float32: peak not known") for line in lines)


@pytest.mark.parametrize(
    ("card", "precision", "share"),
    [
        ("NVIDIA H200", "bf16", 0.1),
        ("NVIDIA H100 80GB HBM3", "float32", 0.2),
        ("NVIDIA H200 MIG 1g.18gb", "bf16", None),
        ("NVIDIA H100 PCIe", "bf16", None),
    ],
)
def test_the_share_of_a_known_peak(
    card: str, precision: str, share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: card)
    monkeypatch.setattr(flops, "step_flops", lambda *_: 98.94e12)
    meter = Meter(replace(CONFIG, train=replace(CONFIG.train, precision=precision)), torch.device("cuda"))
    for _ in range(2):
        meter.add(GRADIENTS, 1.0)
    expected = {"train/tflops": pytest.approx(98.94)} | ({"train/peak_share": pytest.approx(share)} if share else {})
    assert meter.read() == expected


@pytest.mark.parametrize(
    ("kind", "size", "multiplications"),  # of a frame
    [
        ("vq", 64, 64 * 9),  # the search: a latent, and a one for half the squared norm of the code
        ("vq_ema", 64, 64 * 9),
        # Down and up, for the code and again for the gradient: 4. Two gradients of the way down and up: 4.
        ("fsq", 1000, 8 * (8 * 4)),  # 8 x 5 x 5 x 5 levels: 4 dimensions
        # A loss in the low dimensions: two gradients more of the way down.
        ("vq_fc", 64, 64 * 9 + 10 * (8 * 8)),
        ("lfq", 64, 10 * (8 * 6) + 3 * 64),  # the mean probability of every code, and two gradients
    ],
)
def test_every_kind_of_quantizer_by_hand(kind: str, size: int, multiplications: int) -> None:
    """Some leave modules without a gradient."""
    config = replace(CONFIG, quantizer=QuantizerConfig(kind=kind, codebook_size=size, codebook_dim=8))
    added = step_flops(config, QUANTIZED) - step_flops(config, PLAIN)
    assert added == 2 * BATCH * FRAMES * 2 * multiplications
