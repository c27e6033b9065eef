"""Spectrograms: numbers against scipy, gradients, lengths; mel banks against librosa. More parity is in tests/parity."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import scipy.signal
import torch

from audiocodec.dsp.mel import LogMel, filterbank
from audiocodec.dsp.stft import hann_window, magnitude


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.mark.parametrize(("n_fft", "hop"), [(512, 128), (256, 100)])
def test_magnitude_is_that_of_scipys_fourier_transform(n_fft: int, hop: int) -> None:
    wav = noise(3000)
    window = scipy.signal.get_window("hann", n_fft, fftbins=True)
    padded = np.pad(wav.astype(np.float64), n_fft // 2, mode="reflect")
    frames = [padded[at : at + n_fft] * window for at in range(0, len(padded) - n_fft + 1, hop)]
    expected = np.abs(np.fft.rfft(frames)).T
    actual = magnitude(torch.from_numpy(wav)[None], n_fft, hop)[0]
    assert actual.shape == (n_fft // 2 + 1, 1 + 3000 // hop)
    np.testing.assert_allclose(actual, expected, atol=1e-5)  # float32 sums of some hundred values up to 10


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 48_000])
@pytest.mark.parametrize(("n_fft", "bands"), [(64, 2), (256, 40), (330, 20), (512, 64), (1024, 80), (2048, 128)])
def test_the_mel_bank_is_that_of_librosa(rate: int, n_fft: int, bands: int) -> None:
    expected = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bands)
    assert expected.max() > 0
    np.testing.assert_array_equal(filterbank(rate, n_fft, bands).numpy(), expected)


@pytest.mark.parametrize("samples", [1, 2, 255, 256, 257, 511, 512, 513])
def test_any_length_has_frames_and_short_signals_are_padded_with_zeros(samples: int) -> None:
    wav = torch.from_numpy(noise(samples))[None]
    actual = magnitude(wav, 512, 128)
    assert actual.shape == (1, 257, 1 + samples // 128)
    if samples <= 256:
        first = np.abs(np.fft.rfft(np.pad(wav[0].numpy(), (256, 256 - samples)) * np.hanning(513)[:-1]))
        np.testing.assert_allclose(actual[0, :, 0], first, atol=1e-5)


def test_the_gradient_of_silence_is_zero_not_nan() -> None:
    wav = torch.zeros(1, 2000, requires_grad=True)
    magnitude(wav, 512, 128).sum().backward()
    assert wav.grad is not None
    assert torch.equal(wav.grad, torch.zeros_like(wav))


def test_the_gradient_is_the_slope() -> None:
    wav = torch.from_numpy(noise(700))[None].requires_grad_()
    direction = torch.from_numpy(noise(700, seed=1))[None]
    (slope,) = torch.autograd.grad(magnitude(wav, 256, 64).square().sum(), wav)
    step = 1e-2
    with torch.no_grad():
        high, low = (magnitude(wav + sign * step * direction, 256, 64).double().square().sum() for sign in (1, -1))
    # The energy is quadratic in the signal, so the central difference is exact but for float32.
    assert float((slope * direction).sum()) == pytest.approx(float(high - low) / (2 * step), rel=1e-3)


@pytest.mark.parametrize(
    ("n_fft", "hop", "samples"),
    [
        (256, 64, 2000),
        (64, 16, 1),
        (768, 384, 3000),
        (705, 352, 3000),
        (51, 20, 90),
        (128, 128, 700),
        (32, 48, 500),
        (512, 128, 100),
    ],
)
def test_the_gradient_is_that_of_torchs_own_transform(n_fft: int, hop: int, samples: int) -> None:
    """In float64 there; hops that divide the window and hops that do not, odd windows, gaps between frames, short signals."""
    wav = torch.from_numpy(np.stack([noise(samples, seed) for seed in (0, 1)]))
    own, their = wav.clone().requires_grad_(), wav.double().requires_grad_()
    side = n_fft // 2
    padded = torch.nn.functional.pad(their, (side, side), mode="reflect" if samples > side else "constant")
    window = torch.hann_window(n_fft, dtype=torch.float64)
    spectrum = torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)
    weights = torch.linspace(-1, 1, spectrum[0].numel()).reshape(spectrum[0].shape)
    (magnitude(own, n_fft, hop) * weights).sum().backward()
    (spectrum.abs() * weights).sum().backward()
    assert own.grad is not None and their.grad is not None
    np.testing.assert_allclose(own.grad, their.grad, atol=3e-6 * float(their.grad.abs().max()) + 1e-5)


def test_what_is_too_quiet_to_tell_from_silence_has_no_gradient() -> None:
    """Half of the signal is 1e-10, whose magnitudes are below the least one."""
    wav = torch.cat([torch.full((1, 2000), 1e-10), torch.from_numpy(noise(2000))[None]], 1).requires_grad_()
    magnitude(wav, 256, 64).sum().backward()
    assert wav.grad is not None
    assert not wav.grad[:, :1700].any() and wav.grad[:, 2200:].abs().min() > 0


def test_autocast_changes_nothing() -> None:
    wav = torch.from_numpy(noise(3000))[None]
    mel = LogMel(24_000, 512, 128, 40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = mel(wav.bfloat16().float())
    assert inside.dtype == torch.float32
    assert torch.equal(inside, mel(wav.bfloat16().float()))


def test_a_window_made_in_inference_mode_can_be_trained_through() -> None:
    with torch.inference_mode():
        magnitude(torch.zeros(1, 600), 330, 110)  # lengths no other test uses: the cache is empty for them
        filterbank(24_000, 330, 10)
    wav = torch.from_numpy(noise(600))[None].requires_grad_()
    magnitude(wav, 330, 110).sum().backward()
    assert not hann_window(330, "cpu").is_inference()


def test_mels_of_silence_are_the_floor_and_the_buffers_are_not_saved() -> None:
    mel = LogMel(16_000, 512, 128, 40, floor=1e-3)
    expected = torch.full((1, 40, 16), -3.0)
    torch.testing.assert_close(mel(torch.zeros(1, 2000)), expected)
    assert mel.state_dict() == {}


def test_a_sine_is_loudest_in_the_band_of_its_pitch() -> None:
    rate, pitch = 16_000, 1000.0
    wav = np.sin(2 * np.pi * pitch * np.arange(rate) / rate).astype(np.float32)
    loudest = int(LogMel(rate, 1024, 256, 40)(torch.from_numpy(wav)[None])[0, :, 30].argmax())
    # Slaney's scale: 3 mels per 200 Hz up to 1000 Hz (15 mels), then 27 mels per factor 6.4; 41 steps up to 8000 Hz.
    top = 15 + 27 * np.log(8000 / 1000) / np.log(6.4)
    assert loudest in {round(15 / top * 41) - 1 + near for near in (-1, 0, 1)}
