"""Mel filters and resampling against torchaudio."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio

from audiocodec.audio.io import resample
from audiocodec.dsp.mel import filterbank

pytestmark = pytest.mark.baselines


@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_mels"), [(24_000, 2048, 128), (24_000, 256, 40), (16_000, 1024, 80), (44_100, 512, 64)]
)
def test_filterbank(sample_rate: int, n_fft: int, n_mels: int) -> None:
    """torchaudio computes in float32: at 12 kHz that is 1e-3 Hz, of triangles 20 Hz wide and more; so 1e-4 of a peak."""
    expected = torchaudio.functional.melscale_fbanks(
        n_fft // 2 + 1, 0.0, sample_rate / 2, n_mels, sample_rate, norm="slaney", mel_scale="slaney"
    ).T
    actual = filterbank(sample_rate, n_fft, n_mels)
    assert actual.shape == expected.shape
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4 * expected.max().item())


@pytest.mark.parametrize(
    ("from_rate", "to_rate"),
    [(48_000, 24_000), (44_100, 24_000), (16_000, 24_000), (22_050, 24_000), (24_000, 16_000), (24_000, 48_000)],
)
@pytest.mark.parametrize("num_samples", [12_000, 12_347])
def test_resample(from_rate: int, to_rate: int, num_samples: int) -> None:
    """A signal that both filters pass whole, so that only a delay, a gain or a wrong length could differ.

    Its band ends at 0.8 of the lower Nyquist frequency, below both transition bands, and it fades to zero at the
    ends, where the two filters see different amounts of silence. With 64 zero crossings torchaudio lets about
    1e-5 of a signal of peak 0.5 pass where it should not (rates of 147 : 80), soxr HQ a tenth of that; one sample of
    delay is an error of 0.3 and more.
    """
    wav = _band_limited(num_samples, from_rate, 0.4 * min(from_rate, to_rate))
    expected = torchaudio.functional.resample(
        torch.from_numpy(wav),
        from_rate,
        to_rate,
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    ).numpy()
    actual = resample(wav, from_rate, to_rate)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-5)
    assert np.abs(actual[:, 1:] - expected[:, :-1]).max() > 0.3  # the tolerance means something


def _band_limited(num_samples: int, rate: int, highest: float) -> np.ndarray:
    """Two channels of forty sines each up to `highest` Hz under a Hann envelope, peak 0.5."""
    rng = np.random.default_rng(5)
    times = np.arange(num_samples) / rate
    frequencies = rng.uniform(50, highest - 50, (2, 40, 1))
    phases = rng.uniform(0, 2 * np.pi, (2, 40, 1))
    wav = np.sin(2 * np.pi * frequencies * times + phases).sum(1) * np.hanning(num_samples)
    return (0.5 * wav / np.abs(wav).max()).astype(np.float32)
