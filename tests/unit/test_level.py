"""Level in four bands: known gains, the sign, what has no level, and how an error with a sign is compared."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from support.metric_audio import RATE, Wav, clips, incomparable, noisy

from audiocodec.audio import io
from audiocodec.cli.main import main
from audiocodec.errors import MetricUndefined
from audiocodec.evaluation.catalogue import MEASURES, select
from audiocodec.evaluation.paired import difference
from audiocodec.evaluation.results import differences_md
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary import summarize
from audiocodec.metrics.level import level
from audiocodec.reporting import cells, ranking
from audiocodec.reporting.listening import choice
from audiocodec.reporting.systems import System

NAMES = ("level_0_1_khz", "level_1_2_khz", "level_2_4_khz", "level_4_8_khz")
BANDS = ((0, 1000), (1000, 2000), (2000, 4000), (4000, 8000))  # Hz
LIMIT = 1 / 32768  # a step of 16-bit audio


@pytest.fixture(scope="module")
def speech() -> Wav:
    """Three seconds of real speech at 16 kHz."""
    return clips()[0][RATE : 4 * RATE]


def telephone(wav: Wav) -> Wav:
    """What an 8-kHz recording leaves: nothing above 3.6 kHz, but the rounding to 16 bits."""
    return (np.round(changed(wav, RATE, (3600, 9000), 0) * 32768) / 32768).astype(np.float32)


def changed(wav: Wav, rate: int, band: tuple[int, int], gain: float) -> Wav:
    """`wav` with one band of its whole spectrum times `gain`."""
    spectrum, hertz = np.fft.rfft(wav), np.fft.rfftfreq(len(wav), 1 / rate)
    spectrum[(hertz >= band[0]) & (hertz < band[1])] *= gain
    return np.fft.irfft(spectrum, len(wav)).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
@pytest.mark.parametrize("band", range(4))
@pytest.mark.parametrize("gain_db", [3.0, -6.0])
def test_a_gain_in_one_band_is_found_there_and_nowhere_else(rate: int, band: int, gain_db: float) -> None:
    noise = np.random.default_rng(band).normal(0, 0.05, 2 * rate).astype(np.float32)
    louder = changed(noise, rate, BANDS[band], 10 ** (gain_db / 20))
    found = level(reference=noise, estimate=louder, sample_rate=rate)
    expected = {name: gain_db if number == band else 0.0 for number, name in enumerate(NAMES)}
    assert found == pytest.approx(expected, abs=0.03)  # what fades reaches over the edges


@pytest.mark.parametrize("band", range(4))
def test_three_decibels_in_a_band_of_speech(band: int, speech: Wav) -> None:
    found = level(reference=speech, estimate=changed(speech, RATE, BANDS[band], 10 ** (3 / 20)), sample_rate=RATE)
    assert found == pytest.approx({name: 3.0 if i == band else 0.0 for i, name in enumerate(NAMES)}, abs=0.02)


def test_equal_signals_and_gains(speech: Wav) -> None:
    """Half the amplitude is 6.02 dB less everywhere; polarity and a constant offset are no level."""
    assert level(reference=speech, estimate=speech, sample_rate=RATE) == dict.fromkeys(NAMES, 0.0)
    for estimate in (0.5 * speech, -0.5 * speech, 0.5 * speech + np.float32(0.1)):
        found = level(reference=speech, estimate=estimate, sample_rate=RATE)
        assert found == pytest.approx(dict.fromkeys(NAMES, -6.0206), abs=1e-3)


def test_more_noise_is_never_nearer_to_the_level(speech: Wav) -> None:
    found = [
        level(reference=speech, estimate=noisy(speech, snr), sample_rate=RATE).values() for snr in range(30, -1, -5)
    ]
    for errors in zip(*found):
        assert all(abs(before) < abs(after) for before, after in itertools.pairwise(errors))


def test_what_cannot_be_compared_has_no_level(speech: Wav) -> None:
    for reason, reference, estimate in incomparable(speech):
        with pytest.raises(MetricUndefined, match=reason):
            level(reference=reference, estimate=estimate, sample_rate=RATE)
    with pytest.raises(ValueError, match=r"reference must be \[S\], got \[1, 48000\]"):
        level(reference=speech[None], estimate=speech[None], sample_rate=RATE)
    with pytest.raises(TypeError):
        level(speech, speech, RATE)  # type: ignore[misc]


def test_a_band_that_the_original_lacks_has_no_level_and_the_others_have(speech: Wav) -> None:
    """Also where the recording begins and ends in the middle of a word: a cut is no sound of its own."""
    for part in (slice(None), slice(9000, 30_000), slice(20_000, 22_000)):
        found = level(reference=telephone(speech)[part], estimate=speech[part], sample_rate=RATE)
        assert str(found.pop("level_4_8_khz")) == "reference is silent in 4-8 kHz"
        assert found == pytest.approx(dict.fromkeys(NAMES[:3], 0.0), abs=0.5)  # 3.6 to 4 kHz are missing


def test_a_band_that_is_lost_counts_as_being_at_the_limit_of_hearing(speech: Wav) -> None:
    lost = telephone(speech)
    energy = np.mean((speech - changed(speech, RATE, BANDS[3], 0)).astype(np.float64) ** 2)
    found = level(reference=speech, estimate=lost, sample_rate=RATE)
    assert found["level_4_8_khz"] == pytest.approx(10 * np.log10(LIMIT**2 / energy), abs=0.1)


@pytest.mark.parametrize("above", [1.1, 0.9])
def test_where_silence_begins(above: float) -> None:
    """White noise has half of its energy in the upper half of the spectrum."""
    noise = np.random.default_rng(0).normal(0, above * np.sqrt(2) * LIMIT, 4 * RATE).astype(np.float32)
    found = level(reference=noise, estimate=noise, sample_rate=RATE)["level_4_8_khz"]
    assert (str(found) == "reference is silent in 4-8 kHz") if above < 1 else found == 0.0


@pytest.mark.parametrize(("rate", "count"), [(16_000, 4), (15_999, 3), (8_000, 3), (7_999, 2)])
def test_bands_beyond_half_the_rate_have_no_level(rate: int, count: int, speech: Wav) -> None:
    found = level(reference=speech, estimate=0.5 * speech, sample_rate=rate)
    assert [value == pytest.approx(-6.02, abs=0.01) for value in found.values()] == [True] * count + [False] * (
        4 - count
    )
    if count == 3:
        assert str(found["level_4_8_khz"]) == f"level in 4-8 kHz needs 16000 Hz or more, got {rate} Hz"


@pytest.mark.parametrize("length", [2, 3, 1024, 1025, 2049])  # of one coefficient in the lowest band, and longer
def test_the_shortest_signals_have_a_level(length: int) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, length).astype(np.float32)
    found = level(reference=noise, estimate=2 * noise, sample_rate=RATE)
    assert found == pytest.approx(dict.fromkeys(NAMES, 6.0206), abs=1e-3)


# --- an error with a sign, compared


def loudness(label: str, values: list[float]) -> System:
    rows = {
        f"u{i}": Row(f"u{i}", values={"level_1_2_khz": value}, reference=f"r{i}", estimate=f"{label}{i}")
        for i, value in enumerate(values)
    }
    return System(label, rows, summarize(list(rows.values()), []))


def test_the_one_nearest_to_zero_wins() -> None:
    """Neither the highest nor the lowest mean; and errors of both signs do not cancel."""
    measure = MEASURES["level_1_2_khz"]
    quiet, near, loud = (loudness(*of) for of in (("quiet", [-4.0, -4.2]), ("near", [-0.5, -0.7]), ("loud", [3, 3.2])))
    both = loudness("both", [-3.5, 3.5])
    assert ranking.rank([quiet, near, loud, both], measure).marks == {"near": "best"}
    assert ranking.rank([quiet, both], measure).marks == {"both": "best"}  # 3.5 against 4.1
    found = difference(near.rows.values(), loud.rows.values(), measure.name)
    assert found.mean == pytest.approx(-2.5) and found.wins == 1.0
    assert difference(loud.rows.values(), quiet.rows.values(), measure.name).wins == 1.0
    assert cells.measure_head(measure) == "level 1-2 kHz, dB<small>nearest to 0 is best</small>"
    text = differences_md({s.label: list(s.rows.values()) for s in (near, loud)}, "loud", [measure.name])
    assert "| system | level 1-2 kHz, dB, without its sign |" in text
    assert "| near | -2.50 [-2.50, -2.50], 100 % |" in text


def test_the_worst_utterance_is_the_farthest_from_zero(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    values = [0.5, -4.0, 2.0]
    rows = {
        f"u{i}": Row(f"u{i}", values={"level_1_2_khz": v}, reference=str(tmp_path / "a"), estimate=str(tmp_path / "a"))
        for i, v in enumerate(values)
    }
    system = System("one", rows, summarize(list(rows.values()), ["level_1_2_khz"]))
    chosen = choice.choose([system], 3)
    assert [key for key, _ in chosen] == ["u1", "u2", "u0"]
    assert chosen[0][1] == "worst of 3 by level 1-2 kHz, dB"


def test_evaluate_levels(tmp_path: Path, speech: Wav, capsys: pytest.CaptureFixture[str]) -> None:
    """End to end: rows, summary, printed table, page; one that lacks a band is a failure in that band alone."""
    dull = telephone(speech)
    for folder, gain in (("ref", 1.0), ("est", 0.5)):
        (tmp_path / folder).mkdir()
        io.write(tmp_path / folder / "full.wav", gain * speech, RATE)
        io.write(tmp_path / folder / "dull.wav", gain * dull, RATE)
    scores = tmp_path / "scores"
    words = ["evaluate", "--reference", str(tmp_path / "ref"), "--estimate", str(tmp_path / "est"), "-d", str(scores)]
    assert main([*words, "--metrics", "level", "--quiet", "--jobs", "1"]) == 1
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if line.startswith("level 4-8 kHz, dB"))
    assert line.split()[-2:] == ["1", "1"] and "-6.0" in line  # scored, failed; 16 bits round
    rows = {row["id"]: row for row in map(json.loads, (scores / "rows.jsonl").read_text().splitlines())}
    assert rows["full"]["level_4_8_khz"] == pytest.approx(-6.02, abs=0.02)
    assert rows["dull"]["level_4_8_khz"] is None and rows["dull"]["level_2_4_khz"] == pytest.approx(-6.02, abs=0.02)
    assert main(["report", str(scores), "-o", str(tmp_path / "page.html"), "--quiet"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "level 0-1 kHz, dB<small>nearest to 0 is best</small>" in page
    assert "reference is silent in 4-8 kHz" in page


def test_the_catalogue_has_what_it_gives(speech: Wav) -> None:
    (metric,) = select(["level"])
    assert select(["level_2_4_khz"]) == (metric,) and not metric.default and metric in select(["all"])
    found = metric.compute(reference=speech, estimate=speech, sample_rate=RATE)
    assert list(found) == [measure.name for measure in metric.measures] == list(NAMES)  # type: ignore[arg-type]
