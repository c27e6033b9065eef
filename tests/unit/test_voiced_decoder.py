"""The voiced decoder: which part of its output comes from where; lengths, batches, limits, gradients, streams."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from audiocodec.dsp.voice import BASE_HZ
from audiocodec.nn.istft_decoder import ISTFTDecoder
from audiocodec.nn.pitch import Pitch, of_hertz
from audiocodec.nn.voiced_decoder import Filters, VoicedDecoder

RATE, HOP, DIM = 8000, 80, 6
FREE_HZ = 1000
QUIET = -60.0  # log gain of what shall not be heard


def decoder(overlap: int = 4, causal: bool = False, rate: int = RATE) -> VoicedDecoder:
    """Random weights; pitch and voicing vary from frame to frame."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        sizes = {"latent_dim": DIM, "hop_length": HOP, "dim": 16, "layers": 2, "kernel_size": 3}
        made = VoicedDecoder(**sizes, sample_rate=rate, overlap=overlap, causal=causal, free_hz=FREE_HZ)
        with torch.no_grad():
            made.head.linear.weight[-2:] *= 20
    return made.eval().requires_grad_(False)


def saying(values: dict[str, float], overlap: int = 4) -> VoicedDecoder:
    """A decoder that says the same whatever it hears: filters by name (quiet where not named), `log_f0`, `voicing`."""
    made = decoder(overlap)
    head = made.head
    head.linear.weight.zero_()
    head.linear.bias.zero_()
    for i, name in enumerate(Filters._fields):
        value = values.get(name, 0.0 if name in ("angle", "phase") else QUIET)
        head.linear.bias[i * head.bins : (i + 1) * head.bins] = value
    head.linear.bias[-2], head.linear.bias[-1] = values.get("log_f0", 0.0), values.get("voicing", 1.0)
    return made


def clicking(voicing: float) -> VoicedDecoder:
    """A decoder whose free spectrum is a click in the middle of each frame's window."""
    made = saying({"magnitude": 0.0, "voicing": voicing})
    bins = made.head.bins
    made.head.linear.bias[bins : 2 * bins] = math.pi * torch.arange(bins)
    return made


def latents(frames: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, DIM, frames, generator=torch.Generator().manual_seed(seed))


def rms(wav: Tensor) -> float:
    return float(wav.square().mean().sqrt())


@pytest.mark.parametrize("overlap", [2, 3, 4, 5])
def test_harmonics_go_through_unchanged_where_the_filter_is_flat(overlap: int) -> None:
    """A transform and its inverse with the same window: what comes out is the source, a constant phase aside."""
    made = saying({"gain": 0.0}, overlap)
    given = of_hertz(torch.tensor([[0.0] * 5 + [110.0] * 20 + [0.0] * 5 + [190.0, 210.0, 230.0] * 4]))
    frames = given.log_f0.shape[1]
    wav, said = made.voice(latents(frames), given)
    np.testing.assert_allclose(wav[:, 0], made.head.source(given), rtol=0, atol=2e-5)
    assert said.log_f0.shape == (1, frames) and not torch.equal(said.log_f0, given.log_f0)
    gain, phase = math.log(0.5), math.pi
    halved = saying({"gain": gain, "phase": phase}, overlap).voice(latents(frames), given)[0]
    np.testing.assert_allclose(halved, -0.5 * wav, rtol=0, atol=2e-5)


@pytest.mark.parametrize("hertz", [55.0, 120.0, 333.0])
def test_the_pitch_that_is_said_is_heard(hertz: float) -> None:
    made = saying({"gain": 0.0, "log_f0": math.log(hertz / BASE_HZ)})
    wav = made(latents(200))[0, 0].double().numpy()
    assert rms(torch.from_numpy(wav)) == pytest.approx(1, rel=0.02)
    power = np.abs(np.fft.rfft(wav * np.kaiser(len(wav), 20))) ** 2
    frequency = np.arange(len(power)) * RATE / len(wav)
    near = np.abs(frequency / hertz - np.round(frequency / hertz)) * hertz < 8 * RATE / len(wav)
    assert power[near].sum() > 0.999 * power.sum()
    assert power[near & (np.round(frequency / hertz) == 0)].sum() < 1e-3 * power.sum()


def test_nothing_sings_where_no_frame_is_voiced() -> None:
    assert rms(saying({"gain": 3.0, "voicing": -1.0})(latents(30))) < 1e-6
    assert rms(saying({"gain": 3.0, "voicing": 0.0})(latents(30))) < 1e-6


def test_where_no_frame_is_voiced_the_free_spectrum_is_that_of_an_inverse_stft_head() -> None:
    made, sizes = decoder(), {"latent_dim": DIM, "hop_length": HOP, "dim": 16, "layers": 2, "kernel_size": 3}
    plain, head, bins = ISTFTDecoder(**sizes).eval().requires_grad_(False), made.head, made.head.bins
    for i in (2, 4):  # neither harmonics nor noise
        head.linear.weight[i * bins : (i + 1) * bins] = 0
        head.linear.bias[i * bins : (i + 1) * bins] = QUIET
    head.linear.bias[-1] = -1e3
    weights = {name: w for name, w in made.state_dict().items() if not name.startswith("head")}
    weights |= {"head.linear.weight": head.linear.weight[: 2 * bins], "head.linear.bias": head.linear.bias[: 2 * bins]}
    plain.load_state_dict(weights)
    x = latents(40)
    head.scatter.zero_()
    np.testing.assert_allclose(made(x), plain(x), rtol=0, atol=1e-6)
    head.scatter.fill_(math.pi)  # the opposite phase
    np.testing.assert_allclose(made(x), -plain(x), rtol=0, atol=1e-6)


def test_a_free_spectrum_that_stays_the_same_does_not_hum_at_the_frame_rate() -> None:
    """The correlation of the waveform with itself a frame later: 1 without scatter."""

    def repeated(made: VoicedDecoder) -> float:
        wav = made(latents(240))[0, 0, 10 * HOP : 230 * HOP]
        return float((wav[:-HOP] * wav[HOP:]).mean() / wav.square().mean())

    made = clicking(voicing=-1.0)
    assert abs(repeated(made)) < 0.2
    made.head.scatter.zero_()
    assert repeated(made) > 0.99


def test_voiced_frames_have_a_free_spectrum_up_to_a_frequency_only() -> None:
    share = []
    for voicing in (1.0, -1.0):
        wav = clicking(voicing)(latents(100))[0, 0].double().numpy()
        power = np.abs(np.fft.rfft(wav * np.kaiser(len(wav), 20))) ** 2
        frequency = np.arange(len(power)) * RATE / len(wav)
        share += [power[band].sum() / power.sum() for band in (frequency < FREE_HZ + 50, frequency > FREE_HZ + 300)]
    assert share[0] > 0.999 and share[1] < 1e-6
    assert share[2] < 0.4 and share[3] > 0.6


def test_noise_is_white_of_the_gain_that_is_said_and_the_same_at_the_same_place() -> None:
    made = saying({"noise": math.log(0.1)})
    wav = made(latents(2000))[0, 0]
    assert rms(wav) == pytest.approx(0.1 * rms(saying({"noise": 0.0})(latents(2000))), rel=1e-4)
    power = np.abs(np.fft.rfft(wav.double().numpy().reshape(-1, 400))) ** 2
    bands = power.mean(0)[1:].reshape(10, 20).mean(1)
    np.testing.assert_allclose(bands, bands.mean(), rtol=0.1)
    assert abs(float((wav[:-1] * wav[1:]).mean() / wav.square().mean())) < 0.02
    assert torch.equal(made(latents(700))[0, 0, : 690 * HOP], wav[: 690 * HOP])


def test_training_begins_the_noise_at_a_random_place() -> None:
    made = saying({"noise": 0.0}).train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        two = made(latents(20, batch=2))
    assert not torch.equal(two[0], two[1])
    assert torch.equal(*made.eval()(latents(20, batch=2)))


@pytest.mark.parametrize("frames", [1, 2, 3, 50])
@pytest.mark.parametrize("overlap", [2, 3, 4])
def test_lengths_and_batches(frames: int, overlap: int) -> None:
    made, x = decoder(overlap), latents(frames, batch=3)
    with torch.inference_mode():
        wav, pitch = made.voice(x)
        alone = [made(x[i : i + 1])[0] for i in range(3)]
    assert wav.shape == (3, 1, frames * HOP) and wav.dtype == torch.float32
    assert pitch.log_f0.shape == pitch.voicing.shape == (3, frames)
    torch.testing.assert_close(torch.stack(alone), wav, rtol=0, atol=1e-3 * float(wav.abs().max()))


def test_pitch_and_voicing_vary_so_that_equality_means_something() -> None:
    pitch = decoder().voice(latents(300))[1]
    assert 0.2 < (pitch.voicing > 0).float().mean() < 0.8
    hertz = BASE_HZ * pitch.log_f0.exp()
    assert (hertz < 50).any() and (hertz > 600).any() and ((hertz > 60) & (hertz < 500)).float().mean() > 0.2


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("overlap", [2, 3, 4])
@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_stream_is_the_whole(size: int, overlap: int, causal: bool) -> None:
    made, x = decoder(overlap, causal), latents(300 if size > 2 else 40)
    with torch.inference_mode():
        whole, stream = made(x), made.stream()
        parts = [stream.step(piece, False) for piece in x.split(size, -1)]
        found = torch.cat([*parts, stream.step(x[..., :0], True)], -1)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-3 * float(whole.abs().max()))


@pytest.mark.parametrize("voicing", [-1e3, 1e3])
@pytest.mark.parametrize("log_f0", [-1e9, 1e9])
def test_the_end_of_the_range(log_f0: float, voicing: float) -> None:
    made = saying({"gain": 0.0, "log_f0": log_f0, "voicing": voicing})
    wav = made(latents(20))
    assert torch.isfinite(wav).all()
    if voicing > 0:  # pulses of the lowest or highest pitch there is
        period = RATE / (50 if log_f0 < 0 else 600)
        peaks = (wav[0, 0] > 0.6 * wav.max()).nonzero()[:, 0].double()
        steps = peaks.diff()
        assert float((peaks[-1] - peaks[0]) / round(float((peaks[-1] - peaks[0]) / period))) == pytest.approx(
            period, rel=0.01
        )
        assert steps.max() < period + 2


def test_a_rate_below_the_highest_pitch_stays_finite() -> None:
    made = decoder(rate=1000)
    made.head.linear.bias[-2:] = 1e6
    assert torch.isfinite(made(latents(20))).all()


def test_gains_are_limited() -> None:
    wav = saying({"gain": 1e9, "magnitude": 1e9, "noise": 1e9})(latents(20))
    assert torch.isfinite(wav).all() and float(wav.abs().max()) < 1e5


def test_what_learns() -> None:
    """Filters learn from the sound, the pitch from its own loss alone: the source is made of whole numbers."""
    made = decoder().requires_grad_(True).train()
    wav, said = made.voice(latents(10), Pitch(torch.zeros(1, 10), torch.ones(1, 10)))
    wav.square().sum().backward(retain_graph=True)
    gradient = made.head.linear.weight.grad
    assert gradient is not None and not gradient[-2:].any()
    assert all(gradient[i * made.head.bins : (i + 1) * made.head.bins].any() for i in range(5))
    made.zero_grad()
    (said.log_f0.sum() + said.voicing.sum()).backward()
    assert made.head.linear.weight.grad[-2:].any() and made.embed.conv.weight.grad.any()  # type: ignore[union-attr]


def test_autocast_leaves_the_head_in_float32() -> None:
    made, x = decoder(), latents(30)
    expected = made(x)
    with torch.autocast("cpu", torch.bfloat16):
        wav, pitch = made.head(made.features(x).float())
    assert wav.dtype == pitch.log_f0.dtype == torch.float32 and torch.isfinite(wav).all()
    assert wav.shape == expected[:, 0].shape
