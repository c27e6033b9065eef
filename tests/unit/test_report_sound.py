"""The report: what one hears and sees of an utterance."""

from __future__ import annotations

import base64
import io as memory
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image  # matplotlib brings it
from support.report_folders import RATE, data_of, noise, report

from audiocodec.audio import io
from audiocodec.cli.main import main
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary import summarize
from audiocodec.reporting.listening import clips
from audiocodec.reporting.plots import png, spectrogram
from audiocodec.reporting.systems import System, read_systems


def test_clips_are_lossless_of_one_level_and_as_long_as_the_reference(evaluations: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    assert report(evaluations, page, "--utterances", "u1") == 0
    (example,) = data_of(page)["examples"]
    heard = {}
    for name, clip in (
        ("reference", example["reference"]),
        ("good", example["systems"][0]),
        ("bad", example["systems"][1]),
    ):
        wav, rate = soundfile.read(memory.BytesIO(base64.b64decode(clip["flac"])))
        assert (rate, wav.shape) == (RATE, (8000,))
        heard[name] = clip["gain"] * wav
    original = soundfile.read(evaluations / "ref/u1.wav")[0]
    assert np.abs(heard["reference"] - original).max() < 2 / 32768
    assert np.sqrt(np.mean(heard["good"] ** 2)) == pytest.approx(np.sqrt(np.mean(original**2)), rel=1e-3)
    assert np.sqrt(np.mean(heard["bad"] ** 2)) == pytest.approx(np.sqrt(np.mean(original**2)), rel=1e-3)
    assert np.abs(heard["good"] - original).max() < 4 / 32768  # 0.9 of the reference, made as loud, is the reference


def test_long_utterances_are_cut_and_the_page_says_so(evaluations: Path, tmp_path: Path) -> None:
    wav = noise(5, seconds=12)
    io.write(tmp_path / "long.wav", wav, RATE)
    row = Row(
        id="long", values={"stoi": 1.0}, reference=str(tmp_path / "long.wav"), estimate=str(tmp_path / "long.wav")
    )
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval/rows.jsonl").write_text(row.to_json() + "\n")
    (tmp_path / "eval/summary.json").write_text(summarize([row], ["stoi"]).to_text())
    assert main(["report", str(tmp_path / "eval"), "-o", str(tmp_path / "r.html"), "--quiet"]) == 0
    assert "12.0 s, first 10 s here" in (tmp_path / "r.html").read_text()
    flac = base64.b64decode(data_of(tmp_path / "r.html")["examples"][0]["reference"]["flac"])
    assert soundfile.info(memory.BytesIO(flac)).frames == 10 * RATE


def test_ground_truth_is_not_played_a_second_time(evaluations: Path) -> None:
    good, _ = read_systems([evaluations / "eval/good", evaluations / "eval/bad"])
    truth = System("truth", {key: replace(row, estimate=row.reference) for key, row in good.rows.items()}, good.summary)
    example = clips.make_example([good, truth], "u1", "")
    assert list(example.systems) == [good.label]


# What one hears and sees


def test_levels_are_matched_and_nothing_passes_full_scale() -> None:
    square = np.tile([0.8, -0.8], 500).astype(np.float32)
    spiky = np.zeros(1000, np.float32)
    spiky[::100] = 2.0  # RMS 0.2; as loud as the square it would reach 8
    reference, other, silent = clips.match_levels([square, spiky, np.zeros(1000, np.float32)])
    assert np.abs(other.wav).max() == 1.0 and np.abs(other.heard).max() == pytest.approx(1.0)
    assert np.abs(reference.heard).max() == pytest.approx(0.8 / 8)
    assert np.sqrt(np.mean(reference.heard**2)) == pytest.approx(np.sqrt(np.mean(other.heard**2)), rel=1e-5)
    assert not silent.heard.any()


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_the_anchor_keeps_the_limits_of_bs_1534(rate: int) -> None:
    impulse = np.zeros(rate, np.float32)
    impulse[rate // 2] = 1.0
    low = clips.low_pass(impulse, rate)
    assert low is not None and int(np.argmax(low)) == rate // 2  # without delay
    response = 20 * np.log10(np.abs(np.fft.rfft(low)) + 1e-9)  # one bin per Hz
    assert np.abs(response[:3500]).max() < 0.1
    assert response[4000:].max() < -25 and response[4500:].max() < -50


def test_no_anchor_where_there_is_nothing_to_cut_off() -> None:
    assert clips.low_pass(np.ones(100, np.float32), 8000) is None


def test_a_tone_is_seen_at_its_frequency() -> None:
    tone = np.sin(2 * np.pi * 2031.25 * np.arange(RATE) / RATE)  # the middle of the 33rd of 128 rows of 62.5 Hz
    level = spectrogram.power(tone, RATE)
    assert level.shape == (128, 101)
    assert set(np.argmax(level[:, 5:-5], axis=0)) == {32}


def test_the_error_is_the_difference_in_db() -> None:
    reference = np.array([[1.0, 1.0, 1.0, 1e-9, 1.0]])
    estimate = np.array([[1.0, 0.01, 100.0, 1e-12, 1e-12]])
    assert spectrogram.error_db(reference, estimate)[0] == pytest.approx([0, -20, 20, 0, -30])


def test_a_png_is_read_back_by_another_reader() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    palette = png.blend([(0, 0, 0), (250, 100, 0)], 12)
    assert palette[0] == (0, 0, 0) and palette[-1] == (250, 100, 0)
    read = np.asarray(Image.open(memory.BytesIO(png.palette_png(pixels, palette))).convert("RGB"))
    assert read.tolist() == [[list(palette[place]) for place in row] for row in pixels]
