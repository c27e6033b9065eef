"""Discriminators learn: what they hear, how they start, in which precision; on speech and what the packaged codec makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audiocodec.audio.io import read
from audiocodec.audio.resampling import resample
from audiocodec.build import build_discriminators
from audiocodec.config.schema import Config, DiscriminatorConfig
from audiocodec.losses.adversarial import discriminator_loss, pair_accuracy
from audiocodec.nn import discriminator
from audiocodec.nn.discriminator import MultiPeriodDiscriminator, MultiScaleSTFTDiscriminator

RATE, LEVEL, SEGMENT = 24_000, -24.0, 6_000
AUDIO = Path(__file__).parents[2] / "egs" / "mini" / "codec" / "local" / "audio"
KINDS = ("ms_stft", "mpd")


def build(kind: str, level: float = LEVEL) -> nn.Module:
    made = DiscriminatorConfig(kinds=(kind,), channels=8, stft_windows=(1024,), mpd_periods=(2, 5), mpd_channels=2)
    config = Config(discriminator=made)
    assert config.data.level_db == level
    return build_discriminators(config)[kind]


@pytest.fixture(scope="module")
def pairs() -> tuple[Tensor, Tensor]:
    """Segments `[N, 1, S]` of speech at the level of training, and the same as a poor decoder might make them.

    Not by a model of the package, which would change with it.
    """
    real: list[Tensor] = []
    decoded: list[Tensor] = []
    random = torch.Generator().manual_seed(0)
    for path in sorted(AUDIO.rglob("*.flac")):
        audio, rate = read(path)
        speech = resample(audio[:1], rate, RATE)
        wav = torch.from_numpy(speech * 10 ** (LEVEL / 20) / np.sqrt(np.mean(speech**2))).float()[None]
        estimate = buzzing(wav[0], random)[None]
        usable = wav.shape[-1] // SEGMENT * SEGMENT
        for parts, signal in ((real, wav), (decoded, estimate)):
            parts.append(signal[0, :, :usable].reshape(-1, 1, SEGMENT))
    return torch.cat(real), torch.cat(decoded)


def buzzing(wav: Tensor, random: torch.Generator) -> Tensor:
    """`wav [1, S]` from the envelopes of its spectrum, with the same phases in every frame: the buzz of a decoder in its first hours."""
    window = torch.hann_window(1280)
    magnitude = torch.stft(wav, 1280, 320, window=window, return_complex=True).abs()
    smooth = torch.nn.functional.avg_pool1d(magnitude.transpose(1, 2), 17, 1, 8).transpose(1, 2)
    angle = (2 * torch.pi * torch.rand(smooth.shape[1], generator=random))[:, None].expand_as(smooth)
    return torch.istft(torch.polar(smooth, angle), 1280, 320, window=window, length=wav.shape[-1])


def trained(discriminator: nn.Module, real: Tensor, decoded: Tensor, steps: int = 100) -> tuple[float, float]:
    """Hinge loss and pair accuracy on every fifth segment after training on the others."""
    torch.manual_seed(1)
    held_out = torch.arange(len(real)) % 5 == 0
    train = (~held_out).nonzero()[:, 0]
    optimizer = torch.optim.AdamW(discriminator.parameters(), 5e-4, betas=(0.8, 0.99))
    for _ in range(steps):
        chosen = train[torch.randint(len(train), (6,))]
        discriminator_loss(discriminator(real[chosen]), discriminator(decoded[chosen])).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        outputs = discriminator(real[held_out]), discriminator(decoded[held_out])
    return float(discriminator_loss(*outputs)), float(pair_accuracy(*outputs))


def test_it_tells_real_from_decoded_speech_within_a_hundred_steps(pairs: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(1)
    loss, accuracy = trained(build("ms_stft"), *pairs)
    assert loss < 1.5 and accuracy > 0.9


def test_it_does_not_without_gain_and_start(pairs: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """The counterpart: torch's own start, and the waveform as quiet as it is."""
    torch.manual_seed(1)
    monkeypatch.setattr(discriminator.nn.init, "kaiming_normal_", lambda *_, **__: None)
    loss, _ = trained(MultiScaleSTFTDiscriminator((1024,), 8), *pairs)
    assert loss > 1.8


@pytest.mark.parametrize("kind", KINDS)
def test_speech_enters_and_passes_with_an_rms_near_one(kind: str, pairs: tuple[Tensor, Tensor]) -> None:
    """Kaiming's start keeps the scale through all layers; without gain or start it shrinks to the biases."""
    torch.manual_seed(1)
    outputs = build(kind)(pairs[0][:8])
    for scores, features in outputs:
        for layer in (scores, *features):
            assert 0.2 < float(layer.detach().square().mean().sqrt()) < 5


@pytest.mark.parametrize("kind", KINDS)
def test_the_level_stays_to_be_seen(kind: str, pairs: tuple[Tensor, Tensor]) -> None:
    """Without biases everything is proportional to the input: nothing divides by the signal's own level."""
    torch.manual_seed(1)
    discriminator, wav = build(kind), pairs[0][:4]
    for (loud, _), (soft, _) in zip(discriminator(wav), discriminator(0.5 * wav), strict=True):
        torch.testing.assert_close(soft, 0.5 * loud)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_inside_float32_outside(kind: str, pairs: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(1)
    discriminator, wav = build(kind), pairs[0][:4]
    discriminator.requires_grad_(False)
    expected = discriminator(wav)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = discriminator(wav)
    for (scores, features), (exact, _) in zip(outputs, expected, strict=True):
        assert scores.dtype == torch.float32 and {feature.dtype for feature in features} == {torch.bfloat16}
        if kind == "ms_stft":  # one channel of the waveform has no order to keep
            assert all(feature.is_contiguous(memory_format=torch.channels_last) for feature in features)
        assert len(scores.unique()) > 0.9 * scores.numel()  # 8 bits would have few values
        assert float((scores - exact).norm()) < 0.03 * float(exact.norm())


def test_period_discriminators_hear_at_the_same_gain() -> None:
    seen: list[Tensor] = []
    discriminator, wav = MultiPeriodDiscriminator((2,), 1, gain=3.0), torch.randn(1, 1, 100)
    discriminator.scales[0].layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    discriminator(wav)
    torch.testing.assert_close(seen[0].flatten(), 3 * wav.flatten())
