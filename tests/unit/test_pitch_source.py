"""The harmonic source: against sums of cosines, integrals and spectra in float64; and the table of noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audiocodec.dsp import noise
from audiocodec.dsp.voice import CYCLE, ONSET
from audiocodec.nn.pitch import Contour, contour, harmonics, of_hertz, phases, whole_frequency

RATE, HOP = 24_000, 320


def units(hertz: float, rate: int = RATE) -> int:
    return round(hertz / rate * CYCLE)


def track(hertz: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole frequencies and voicing `[1, T]` of F0 in Hz, 0 where unvoiced (there 150 Hz)."""
    frequency = torch.tensor([[units(f or 150.0) for f in hertz]])
    return frequency, torch.tensor([[f > 0 for f in hertz]])


def path_of(hertz: list[float]) -> Contour:
    """The contour of a whole signal."""
    frequency, voiced = track([*hertz, 0])
    return contour(torch.zeros(1, 2, dtype=torch.int64), frequency, voiced)


def cosines(start: int, end: int, phase: int, hop: int) -> np.ndarray:
    """All harmonics of a glide that stay below half a cycle per sample, one by one, of unit power."""
    n = np.arange(hop, dtype=np.float64)
    cycles = (phase + start * n + (end - start) * n**2 / (2 * hop)) / CYCLE
    orders = [k for k in range(1, 2000) if 2 * k * max(start, end) < CYCLE]
    return np.sqrt(2 / len(orders)) * sum(np.cos(2 * np.pi * k * cycles) for k in orders)


@pytest.mark.parametrize("hop", [320, 147])
@pytest.mark.parametrize("rate", [24_000, 16_000, 44_100, 2_400])
def test_harmonics_are_all_cosines_below_nyquist(rate: int, hop: int) -> None:
    low_high = [(50, 50), (50, 60), (103.7, 96.1), (220, 260), (599, 600), (600, 600)]
    rng = np.random.default_rng(0)
    starts, ends = (torch.tensor([[units(pair[i], rate) for pair in low_high]]) for i in (0, 1))
    begin = torch.from_numpy(rng.integers(0, CYCLE, (1, len(low_high))))
    begin[0, 0] = 0  # a pulse on the first sample: 0 / 0 in the closed form
    found = harmonics(Contour(starts, ends, torch.ones_like(starts).bool()), begin, hop)
    assert found.dtype == torch.float32
    for i, got in enumerate(found.reshape(-1, hop).double().numpy()):
        expected = cosines(int(starts[0, i]), int(ends[0, i]), int(begin[0, i]), hop)
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-4 * math.sqrt(rate / 50))  # of the pulses' height


def test_no_harmonic_lies_at_the_nyquist_frequency() -> None:
    """600 Hz is a quarter of 2,400 Hz: its second harmonic would be just there."""
    half = CYCLE // 4
    assert units(600, 2400) == half
    wav = harmonics(Contour(*(torch.tensor([[half]]),) * 2, torch.tensor([[True]])), torch.tensor([[0]]), 64)
    np.testing.assert_allclose(wav[0], np.sqrt(2) * np.cos(np.pi / 2 * np.arange(64)), rtol=0, atol=1e-5)


def test_the_phases_are_the_integral_of_the_frequency() -> None:
    """Between two voiced frames the frequency goes through their mean, in a straight line; elsewhere it is the frame's own."""
    rng = np.random.default_rng(1)
    hertz = [float(f) if f > 80 else 0.0 for f in rng.uniform(50, 400, 200)]
    path = path_of(hertz)
    start = 12_345_678
    found = phases(path, torch.tensor([start]), HOP)[0].tolist()
    assert len(found) == len(hertz) + 1 and min(found) >= 0 and max(found) < CYCLE
    expected = [start / CYCLE]
    for i, f in enumerate(hertz):
        if f == 0:
            expected.append(0.5)  # the next voice begins between two pulses
            continue
        borders = [(f + g) / 2 if g else f for g in ([0.0, *hertz][i], [*hertz, 0.0][i + 1])]
        times = np.arange(HOP + 1) / RATE
        glide = np.interp(times, [0, times[-1]], borders)
        expected.append(expected[-1] + float(np.trapezoid(glide, times)))
    error = np.array(found) / CYCLE - np.array(expected)
    assert np.abs(error - np.round(error)).max() < 1e-6  # a unit or two of rounding for each frame


def test_a_frame_ends_where_the_next_begins() -> None:
    """No click: the samples of two frames go on as one glide would."""
    path = path_of([100.0, 100.0, 100.0])
    begin = phases(path, torch.tensor([77]), HOP)
    wav = harmonics(path, begin[:, :-1], HOP)
    f = units(100)
    np.testing.assert_allclose(wav[0].double(), cosines(f, f, 77, 3 * HOP), rtol=0, atol=2e-3)


def test_a_voice_begins_between_two_pulses() -> None:
    path = path_of([0, 0, 100.0, 130.0, 0, 90.0])
    found = phases(path, torch.tensor([99]), HOP)[0]
    assert found[0] == 99 and found[[1, 2, 5]].tolist() == [ONSET] * 3
    assert ONSET not in found[[3, 4, 6]].tolist()
    wav = harmonics(path, found[None, :-1], HOP)[0].reshape(-1, HOP)
    assert not wav[[0, 1, 4]].any()
    assert (wav[[2, 5], 0].abs() < 0.13).all() and (wav[[2, 5]].abs().amax(1) > 10).all()


@pytest.mark.parametrize("cut", range(1, 9))
def test_parts_are_the_whole(cut: int) -> None:
    hertz = [0, 120.0, 125.0, 0, 0, 240.0, 230.0, 220.0, 0, 0]
    frequency, voiced = track([*hertz, 0])
    whole = path_of(hertz)
    begin = torch.tensor([5])
    borders = phases(whole, begin, HOP)
    first = contour(torch.zeros(1, 2, dtype=torch.int64), frequency[:, : cut + 1], voiced[:, : cut + 1])
    before = torch.stack([frequency[:, cut - 1], voiced[:, cut - 1].long()], 1)
    second = contour(before, frequency[:, cut:], voiced[:, cut:])
    early = phases(first, begin, HOP)
    late = phases(second, early[:, -1], HOP)
    assert torch.equal(torch.cat([early, late[:, 1:]], 1), borders)
    parts = [harmonics(first, early[:, :-1], HOP), harmonics(second, late[:, :-1], HOP)]
    assert torch.equal(torch.cat(parts, 1), harmonics(whole, borders[:, :-1], HOP))


@pytest.mark.parametrize("hertz", [50.0, 75.0, 123.0, 310.0, 590.0])
def test_the_power_is_one(hertz: float) -> None:
    path = path_of([hertz] * 75)
    wav = harmonics(path, phases(path, torch.tensor([ONSET]), HOP)[:, :-1], HOP)
    assert float(wav.square().mean()) == pytest.approx(1, rel=0.01)
    assert abs(float(wav.mean())) < 0.01


def test_the_power_of_a_glide_is_one() -> None:
    path = path_of(list(np.geomspace(60, 500, 300)))
    wav = harmonics(path, phases(path, torch.tensor([ONSET]), HOP)[:, :-1], HOP)
    assert float(wav.square().mean()) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("hertz", [55.0, 110.0, 217.3, 441.7])
def test_the_spectrum_has_lines_at_multiples_and_nothing_between(hertz: float) -> None:
    """A harmonic above the Nyquist frequency would fold back to where none belongs."""
    path = path_of([hertz] * 150)
    wav = harmonics(path, phases(path, torch.tensor([ONSET]), HOP)[:, :-1], HOP)[0].double().numpy()
    power = np.abs(np.fft.rfft(wav * np.kaiser(len(wav), 20))) ** 2
    frequency, width = np.arange(len(power)) * RATE / len(wav), 8 * RATE / len(wav)  # of the window's main lobe
    multiples = hertz * np.arange(1, int(RATE / 2 / hertz) + 1)
    near = np.abs(frequency - multiples[:, None]) < width
    assert power[~near.any(0)].sum() < 1e-8 * power.sum()
    lines = (near * power).sum(1)[:-1]  # the last one may meet the end of the spectrum
    np.testing.assert_allclose(lines, lines[0], rtol=1e-3)


def test_whole_frequencies_and_their_limits() -> None:
    said = torch.tensor([[-1e9, -1.2, -0.3, 0.0, 0.7, 1.5, 1e9]])
    within = np.clip(said[0].double().numpy(), math.log(50 / 150), math.log(600 / 150))
    expected = 150 * np.exp(within) / RATE * 2**32
    found = whole_frequency(said, RATE)
    assert found.dtype == torch.int64
    np.testing.assert_allclose(found[0].double(), expected, rtol=0, atol=0.6)
    slow = whole_frequency(said, 1000)  # the highest F0 would lie above the Nyquist frequency
    assert int(slow.max()) < CYCLE // 2
    path = Contour(slow, slow, torch.ones_like(slow).bool())
    assert torch.isfinite(harmonics(path, torch.zeros_like(slow), 40)).all()


def test_pitch_of_hertz() -> None:
    pitch = of_hertz(torch.tensor([[0.0, 20.0, 150.0, 300.0, 5000.0]]))
    assert (pitch.voicing > 0).tolist() == [[False, True, True, True, True]]
    np.testing.assert_allclose(pitch.log_f0[0, 1:], np.log(np.array([50, 150, 300, 600]) / 150), rtol=0, atol=1e-6)


# --- noise


def split_mix(count: int) -> list[int]:
    """SplitMix64 from the seed 0, in integers without end."""
    mask, state, out = 2**64 - 1, 0, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out.append(z ^ (z >> 31))
    return out


def test_the_table_is_split_mix() -> None:
    numbers = split_mix(noise.ROWS * 7)
    assert [hex(number) for number in numbers[:3]] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]
    table = noise.phases(7)
    assert table.shape == (noise.ROWS, 7) and table.dtype == np.float32
    expected = 2 * np.pi * np.array([number / 2**64 for number in numbers])
    np.testing.assert_allclose(table.ravel(), expected, rtol=0, atol=1e-6)  # 24 bits of them


def test_the_table_is_uniform_and_no_two_rows_are_alike() -> None:
    table = noise.phases(641).astype(np.float64)
    counts = np.histogram(table, 100, (0, 2 * np.pi))[0]
    expected = table.size / 100
    assert ((counts - expected) ** 2 / expected).sum() < 150  # chi-square of 99 degrees: 99.9 % lie below 149
    turns = np.exp(1j * table)
    alike = np.abs(turns @ turns.conj().T) / table.shape[1]
    assert np.max(alike - np.eye(len(table))) < 5.5 / np.sqrt(table.shape[1])
    across = np.abs(np.mean(turns[:, 1:] * turns[:, :-1].conj(), 0))
    assert across.max() < 4.5 / np.sqrt(noise.ROWS)


def test_scatter_rotates_a_click_by_any_angle_and_shifts_it_by_up_to_a_fifth_of_a_hop() -> None:
    overlap, bins = 4, 641
    table = noise.scatter(bins, overlap).astype(np.float64)
    assert table.shape == (noise.ROWS, bins) and table.min() >= 0 and table.max() <= 2 * np.pi
    analytic = np.fft.ifft(np.exp(1j * table), 2 * (bins - 1))  # a click each, no negative frequencies
    period = analytic.shape[1]
    place = (np.abs(analytic).argmax(1) + period // 2) % period - period // 2
    shift = place / (period / overlap)
    assert np.abs(shift).max() <= 0.201
    assert np.histogram(shift, 6, (-0.205, 0.205))[0].min() > noise.ROWS / 6 / 2
    angle = np.angle(np.exp(1j * table[:, 0]))
    assert np.histogram(angle, 6, (-np.pi, np.pi))[0].min() > noise.ROWS / 6 / 2
    assert abs(np.corrcoef(shift, angle)[0, 1]) < 0.2
    assert (np.abs(np.diff(np.exp(1j * noise.scatter(bins, overlap, 0)), axis=1)) < 1e-6).all()  # rotated only
