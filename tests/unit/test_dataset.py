"""Segments: a pure function of (seed, epoch, index), in proportion to length, at one level, from memory or disk."""

from __future__ import annotations

import collections
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.data.dataset import SegmentDataset
from audiocodec.data.manifest import Utterance
from audiocodec.errors import ManifestError

SEGMENT = 1_000
LENGTHS = {"a": 5_500, "b": 1_000, "c": 300, "d": 2_999, "e": 1_001}
SLOTS = {"a": 5, "b": 1, "c": 1, "d": 2, "e": 1}  # max(1, length // 1000), by hand


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Ramps with some noise, so that a crop tells where it was taken; each at its own level."""
    folder = tmp_path_factory.mktemp("audio")
    made = []
    for number, (name, length) in enumerate(LENGTHS.items(), 1):
        rng = np.random.default_rng(number)
        wav = (np.linspace(0.5, 1.0, length) * rng.choice([-1, 1], length)) * 0.1 * number
        soundfile.write(folder / f"{name}.wav", wav, 8_000, subtype="FLOAT")
        made.append(Utterance(name, str(folder / f"{name}.wav"), name, length))
    return made


def dataset(utterances: list[Utterance], **changes: float) -> SegmentDataset:
    settings = {"sample_rate": 8_000, "segment_samples": SEGMENT, "seed": 7, "level_db": -24.0, "level_jitter_db": 6.0}
    return SegmentDataset(utterances, **{**settings, **changes})  # type: ignore[arg-type]


def test_every_epoch_visits_every_slot_once(utterances: list[Utterance]) -> None:
    data = dataset(utterances)
    assert len(data) == sum(SLOTS.values()) == 10
    orders = []
    for epoch in range(3):
        orders.append([data.locate(epoch, index)[0] for index in range(10)])
        assert collections.Counter(orders[-1]) == SLOTS
    assert orders[0] != orders[1] != orders[2]


def test_pure_function_of_seed_epoch_index(utterances: list[Utterance]) -> None:
    first = dataset(utterances)
    whole = {(e, i): first.segment(e, i) for e in range(3) for i in range(10)}
    again = dataset(utterances)
    for key in sorted(whole, key=lambda k: (k[1], -k[0])):  # another order, another object
        np.testing.assert_array_equal(again.segment(*key), whole[key])
    with ThreadPoolExecutor(4) as pool:  # threads at several epochs at once
        for key, segment in zip(whole, pool.map(lambda k: first.segment(*k), whole)):
            np.testing.assert_array_equal(segment, whole[key])
    other = dataset(utterances, seed=8)
    assert any(other.locate(0, i) != first.locate(0, i) for i in range(10))


def test_segment_is_the_crop_that_locate_names(utterances: list[Utterance]) -> None:
    data = dataset(utterances, level_jitter_db=0.0)
    for index in range(10):
        name, start = data.locate(1, index)
        wav = soundfile.read(next(u.path for u in utterances if u.id == name))[0]
        assert 0 <= start <= max(0, len(wav) - SEGMENT)
        expected = np.zeros(SEGMENT)
        crop = wav[start : start + SEGMENT] * 10 ** (-24 / 20) / np.sqrt(np.mean(wav**2))
        expected[: len(crop)] = crop
        segment = data.segment(1, index)
        assert segment.dtype == np.float32 and segment.shape == (SEGMENT,)
        np.testing.assert_allclose(segment, expected, atol=2 / 32_767)  # kept as int16


def test_starts_cover_the_utterance(utterances: list[Utterance]) -> None:
    data = dataset(utterances)
    starts = {data.locate(epoch, i)[1] for epoch in range(300) for i in range(10) if data.locate(epoch, i)[0] == "e"}
    assert starts == {0, 1}  # 1001 samples, segments of 1000: both ends are reached


def test_level_and_jitter(utterances: list[Utterance]) -> None:
    data = dataset(utterances[1:2])  # b: exactly one segment long
    levels = [20 * np.log10(np.sqrt(np.mean(np.square(data.segment(e, 0), dtype=np.float64)))) for e in range(200)]
    assert -30.01 <= min(levels) < -29.5 and -18.5 < max(levels) <= -17.99


def test_peaks_stay_within_full_scale(tmp_path: Path) -> None:
    wav = np.zeros(SEGMENT)
    wav[3] = 0.9  # RMS is -31 dB: at -10 dB the peak would be 10
    soundfile.write(tmp_path / "click.wav", wav, 8_000, subtype="FLOAT")
    data = dataset([Utterance("click", str(tmp_path / "click.wav"), "s", SEGMENT)], level_db=-10.0)
    peaks = [float(np.abs(data.segment(epoch, 0)).max()) for epoch in range(20)]
    assert max(peaks) == pytest.approx(1.0, abs=1e-4) and min(peaks) > 0.45  # jitter below full scale remains


def test_memory_and_disk_agree(utterances: list[Utterance]) -> None:
    kept, read = dataset(utterances), dataset(utterances, memory_gb=0.0)
    assert len(kept) == len(read)
    assert kept.in_memory and not read.in_memory
    for index in range(10):
        assert kept.locate(0, index) == read.locate(0, index)
        np.testing.assert_allclose(kept.segment(0, index), read.segment(0, index), atol=2 / 32_767)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
def test_part_read_from_disk_equals_the_resampled_whole(tmp_path: Path, rate: int) -> None:
    wav = np.random.default_rng(rate).normal(0, 0.1, (4 * rate, 2))
    soundfile.write(tmp_path / "a.flac", wav, rate)
    utterance = [Utterance("a", str(tmp_path / "a.flac"), "s", len(wav))]
    settings = {"sample_rate": 24_000, "segment_samples": 9_600}
    kept, read = dataset(utterance, **settings), dataset(utterance, memory_gb=0.0, **settings)
    for index in range(len(kept)):
        np.testing.assert_allclose(kept.segment(0, index), read.segment(0, index), atol=3 / 32_767)


def test_silent_utterances_are_left_out_and_listed(utterances: list[Utterance], tmp_path: Path) -> None:
    quiet = np.random.default_rng(0).normal(0, 1, 5_000)
    for name, wav in {"zero": quiet * 0, "hum": quiet * 10 ** (-71 / 20), "whisper": quiet * 10 ** (-69 / 20)}.items():
        soundfile.write(tmp_path / f"{name}.wav", wav, 8_000, subtype="FLOAT")
    more = [Utterance(n, str(tmp_path / f"{n}.wav"), "s", 5_000) for n in ("zero", "hum", "whisper")]
    for memory_gb in (1.0, 0.0):
        data = dataset(utterances + more, memory_gb=memory_gb)
        assert len(data) == 10 + 5 and data.silent == ["zero", "hum"]
    with pytest.raises(ManifestError, match="2 utterances, 2 of them silent"):
        dataset(more[:2]).preload()


def test_all_unreadable_files_are_named(utterances: list[Utterance]) -> None:
    bad = [Utterance("x", "/none/x.wav", "s", 10), Utterance("y", "/none/y.wav", "s", 10)]
    with pytest.raises(ManifestError, match=r"x: /none/x\.wav: No such file(?s:.*)y: /none/y\.wav"):
        dataset(utterances + bad).preload()
    with pytest.raises(ManifestError, match="no audio to train on"):
        len(dataset([]))


def test_pipes(utterances: list[Utterance]) -> None:
    piped = [Utterance(u.id, f"cat {u.path} |", u.speaker, u.num_samples) for u in utterances]
    with pytest.raises(ManifestError, match="--allow-pipes"):
        dataset(piped).preload()
    plain = dataset(utterances)
    for memory_gb in (1.0, 0.0):
        data = dataset(piped, allow_pipes=True, memory_gb=memory_gb)
        np.testing.assert_allclose(data.segment(0, 3), plain.segment(0, 3), atol=2 / 32_767)


def test_progress_and_bounds(utterances: list[Utterance]) -> None:
    seen: list[tuple[int, int]] = []
    data = dataset(utterances)
    data.preload(lambda done, total: seen.append((done, total)), threads=2)
    assert seen == [(n, 5) for n in range(1, 6)]
    for index in (-1, 10):
        with pytest.raises(IndexError, match=f"segment {index} of 10"):
            data.segment(0, index)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """A stereo file of two ramps, the right one at a fifth of the level, and a file of one channel."""
    folder = tmp_path_factory.mktemp("wide")
    ramp = np.linspace(0.1, 0.5, 2_500) * np.resize([1, -1], 2_500)
    soundfile.write(folder / "two.wav", np.stack([ramp, ramp[::-1] / 5], 1), 8_000, subtype="FLOAT")
    soundfile.write(folder / "one.wav", ramp, 8_000, subtype="FLOAT")
    return [Utterance(name, str(folder / f"{name}.wav"), name, 2_500) for name in ("one", "two")]


@pytest.mark.parametrize("memory_gb", [1.0, 0.0])
def test_each_channel_of_stereo_is_an_utterance_at_the_gain_of_both(wide: list[Utterance], memory_gb: float) -> None:
    data = dataset(wide, channels=2, memory_gb=memory_gb, level_jitter_db=0.0)
    assert len(data) == 3 * 2 and data.in_memory == (memory_gb > 0)
    assert [u.id for u in data.utterances()] == ["one", "two", "two"]
    left, right = soundfile.read(wide[1].path)[0].T
    gain = 10 ** (-24 / 20) / np.sqrt((np.mean(left**2) + np.mean(right**2)) / 2)
    found = {1: 0, 2: 0}
    for index in range(6):
        crop, segment = data.crop(0, index), data.segment(0, index)
        if crop.utterance:
            side = left if crop.utterance == 1 else right
            np.testing.assert_allclose(segment, gain * side[crop.start : crop.start + SEGMENT], atol=2 / 32_767)
            found[crop.utterance] += 1
    assert found == {1: 2, 2: 2}


def test_without_stereo_the_mean_is_learned(wide: list[Utterance]) -> None:
    assert len(dataset(wide)) == 2 * 2


def test_too_many_channels_are_named(wide: list[Utterance], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "six.wav", np.full((2_000, 6), 0.1), 8_000)
    six = Utterance("six", str(tmp_path / "six.wav"), "six", 2_000)
    with pytest.raises(ManifestError, match="six: has 6 channels, this model codes 2"):
        dataset([*wide, six], channels=2).preload()
    data = dataset([*wide, six], channels=2, skip_bad=True)
    assert len(data) == 6 and len(data.left_out) == 1
