"""A large batch and the micro-batches that it is cut into teach the codec the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from audiocodec import model_file
from audiocodec.audio.io import read
from audiocodec.audio.resampling import resample
from audiocodec.codec.torch import Codec
from audiocodec.config.schema import Config, LossConfig
from audiocodec.training.losses import Steps

RATE, LEVEL, SEGMENT = 24_000, -24.0, 12_000
AUDIO = Path(__file__).parents[2] / "egs" / "mini" / "codec" / "local" / "audio"


@pytest.fixture(scope="module")
def segments() -> Tensor:
    """Two half seconds of each of eight clips, `[16, 1, S]`."""
    cut = []
    for path in sorted(AUDIO.rglob("*.flac"))[::-1][:8]:
        audio, rate = read(path)
        speech = resample(audio[:1], rate, RATE)
        speech = speech * 10 ** (LEVEL / 20) / np.sqrt(np.mean(speech**2))
        cut += [torch.from_numpy(speech[:, n * SEGMENT : (n + 1) * SEGMENT].astype(np.float32)) for n in (1, 2)]
    order = torch.randperm(len(cut), generator=torch.Generator().manual_seed(0))
    return torch.stack(cut)[order]


def gradient(codec: Codec, steps: Steps, batches: tuple[Tensor, ...], quantize: bool) -> Tensor:
    """Mean over the batches, all weights of encoder and decoder in one."""
    codec.zero_grad()
    torch.manual_seed(0)  # the noise of an item is that of its place, whatever batch it is in
    before = [buffer.clone() for buffer in codec.scale.buffers()]
    for wav in batches:
        for buffer, old in zip(codec.scale.buffers(), before):  # the same for all micro-batches, as in a step
            buffer.copy_(old)
        steps.generator(codec(wav, quantize=quantize), (), wav, lambda loss: (loss / len(batches)).backward())
    for buffer, old in zip(codec.scale.buffers(), before):
        buffer.copy_(old)
    parts = (*codec.encoder.parameters(), *codec.decoder.parameters())
    return torch.cat([p.grad.flatten() for p in parts if p.grad is not None])


@pytest.mark.parametrize("balancer", [False, True])
def test_accumulated_gradients_are_those_of_the_large_batch(segments: Tensor, balancer: bool) -> None:
    codec = model_file.load("speech_24k").requires_grad_(True).train()
    config = Config(loss=LossConfig(mel=15.0, stft=0.5, loudness=1.0, balancer=balancer))
    cosines = {}
    for quantize in (True, False):  # running statistics of the latents, and those of each batch
        whole, halves = (
            gradient(codec, Steps(config, torch.device("cpu")), segments.split(size), quantize) for size in (16, 8)
        )
        cosines[quantize] = float(torch.cosine_similarity(whole, halves, dim=0))
        if quantize:
            assert float(halves.norm()) == pytest.approx(float(whole.norm()), rel=0.15)
    assert cosines[True] > 0.99
    assert cosines[False] < 0.98  # the measure can tell
