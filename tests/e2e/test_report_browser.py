"""The report as a person uses it: opened from a file in headless Chromium, read, sorted, played, rated, on desk and phone.

What is heard is measured: a probe beside the speakers sees every sample that the page sends there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser, missing_programs, wait_until
from scipy.stats import binomtest

from audiocodec.audio import io
from audiocodec.cli.main import main
from audiocodec.tokens.token_file import TokenFile

pytestmark = pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}")

AUDIO = Path(__file__).parents[2] / "egs/mini/codec/local/audio"
CLIPS = ("it-flora/vm-forward", "ru-nsh/ru_0003", "ru-nsh/ru_0070")
PLAYER = 'article[data-example="0"]'

# Wraps what Web Audio does to see it: when sources start, and what reaches the speakers.
PROBE = """
window.probe = {starts: []};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, offset) {
  window.probe.starts.push([when, offset, this.buffer.length]);
  return start.call(this, when, offset);
};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode) {
    window.probe.ear ??= new AnalyserNode(this.context, {fftSize: 8192, smoothingTimeConstant: 0});
    window.probe.rate = this.context.sampleRate;
    connect.call(this, window.probe.ear);
  }
  return connect.call(this, target, ...rest);
};
"""
# Power below 1.5 kHz and from 4 to 7 kHz, in the last moment that was heard.
HEARD = """
const {ear, rate} = window.probe, bins = new Float32Array(ear.frequencyBinCount);
ear.getFloatFrequencyData(bins);
const power = (from, to) => {
  const part = bins.slice(Math.floor(from * ear.fftSize / rate), Math.ceil(to * ear.fftSize / rate));
  return part.reduce((sum, level) => sum + 10 ** (level / 10), 0);
};
return [power(100, 1500), power(4000, 7000)];
"""


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Folders of two systems, scored by `evaluate`: `dull` (low-passed, half as loud) and `noisy` (one file missing)."""
    root = tmp_path_factory.mktemp("systems")
    random = np.random.default_rng(0)
    for name in CLIPS:
        wav, rate = io.read(AUDIO / f"{name}.flac")
        dull = 0.5 * io.resample(io.resample(wav[0], rate, 4000), 4000, rate)[: wav.shape[1]]
        signals = {"ref": wav[0], "dull": dull, "noisy": wav[0] + random.normal(0, 0.02, wav.shape[1])}
        for folder, signal in signals.items():
            path = root / folder / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            if (folder, name) != ("noisy", CLIPS[1]):
                io.write(path, signal, rate)
        length = wav.shape[1]
        codes = random.geometric(0.05, (1, -(-length // 320))).clip(0, 63)
        tokens = TokenFile(codes, (64,), rate, 320, length, rate, 1, length, 1.0, bytes(8))
        (root / "tokens" / name).parent.mkdir(parents=True, exist_ok=True)
        tokens.write(root / "tokens" / f"{name}.act")
    folders = []
    for folder, status in (("dull", 0), ("noisy", 1)):
        out = str(root / "scores" / folder)
        tokens_there = ["--tokens", str(root / "tokens")] if folder == "dull" else []
        words = ["evaluate", "--reference", str(root / "ref"), "--estimate", str(root / folder), "-d", out, "--quiet"]
        assert main([*words, *tokens_there, "--metrics", "stoi,mel", "--jobs", "1"]) == status
        folders.append(out)
    return folders


@pytest.fixture(scope="module")
def page(evaluations: list[str]) -> Path:
    """The report; one of its three utterances lacks a system."""
    return write(evaluations, Path(evaluations[0]).parents[1] / "report.html")


def write(evaluations: list[str], path: Path, *options: str) -> Path:
    words = ["report", *evaluations, "-o", str(path), "--quiet", "--utterances", ",".join(CLIPS)]
    assert main([*words, *options]) == 0
    return path


@pytest.fixture
def desk(page: Path, tmp_path: Path) -> Iterator[Browser]:
    """The report on a desk, with the probe; at the end nothing may have complained or asked the network."""
    with Browser(tmp_path / "desk", 1280, 900) as browser:
        browser.devtools("Page.addScriptToEvaluateOnNewDocument", {"source": PROBE})
        browser.go(page)
        yield browser
        assert browser.console() == []
        asked = browser.requests()
        pages = [url for url in asked if url.startswith("file:") and url.endswith(".html")]
        assert (
            pages and [url for url in asked if url not in pages and not url.startswith(("data:", "blob:null/"))] == []
        )


def first_column(browser: Browser) -> list[str]:
    names: list[str] = browser.run(
        "return [...document.querySelectorAll('#scores tbody th')].map(cell => cell.textContent)"
    )
    return names


def position(browser: Browser, place: str = PLAYER) -> float:
    return float(browser.text(f"{place} .time").split()[0])


def plays(browser: Browser, place: str = PLAYER) -> bool:
    return browser.text(f"{place} .play") == "Pause"


def press_play(browser: Browser, place: str = PLAYER) -> None:
    browser.click(f"{place} .play")
    wait_until(lambda: plays(browser, place) and position(browser, place) > 0.2, "nothing plays")


def brightness(browser: Browser) -> float:
    colour = browser.run("return getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_the_table_is_sorted_both_ways(desk: Browser) -> None:
    assert first_column(desk) == ["dull", "noisy"]
    desk.click("#scores th:nth-of-type(4) button")  # mel distance: the noise is worse where nobody speaks
    means = desk.run("return [...document.querySelectorAll('#scores td:nth-of-type(3)')].map(c => +c.dataset.value)")
    assert means == sorted(means) and means[0] < means[1]
    upwards = first_column(desk)
    desk.click("#scores th:nth-of-type(4) button")
    assert first_column(desk) == upwards[::-1]
    assert desk.run("return document.querySelector('#scores th:nth-of-type(4)').ariaSort") == "descending"


def test_what_has_no_value_is_sorted_last(desk: Browser) -> None:
    for _ in range(2):  # bitrate: only `dull` has token files
        desk.click("#scores th:nth-of-type(5) button")
        assert first_column(desk) == ["dull", "noisy"]


def test_a_measure_is_chosen_for_the_plots(desk: Browser) -> None:
    shown = "return [...document.querySelectorAll('#plots [data-view]')].filter(v => v.offsetHeight).map(v => v.dataset.view)"
    assert desk.run(shown) == ["stoi"]
    desk.run(
        "const s = document.querySelector('#plots select'); s.value = 'mel_distance'; s.dispatchEvent(new Event('change'))"
    )
    assert desk.run(shown) == ["mel_distance"]
    assert desk.run("return document.querySelectorAll('#plots [data-view=mel_distance] svg').length") == 2


def test_light_and_dark(desk: Browser, page: Path, tmp_path: Path) -> None:
    assert brightness(desk) > 200
    desk.click("#theme")
    assert brightness(desk) < 50 and desk.text("#theme") == "Light"
    desk.click("#theme")
    assert brightness(desk) > 200
    with Browser(tmp_path / "dark", 800, 600, dark=True) as dark:
        dark.go(page)
        assert brightness(dark) < 50 and dark.text("#theme") == "Light"
        dark.click("#theme")
        assert brightness(dark) > 200


def test_switching_while_playing_keeps_the_position_and_changes_what_is_heard(desk: Browser) -> None:
    press_play(desk)
    starts = desk.run("return window.probe.starts")
    assert len(starts) == 3 and starts[0] == starts[1] == starts[2]  # one moment, one offset, one length
    wait_until(lambda: desk.run(HEARD)[0] > 1e-9, "nothing is heard")
    brightest = max(high / low for low, high in (desk.run(HEARD) for _ in range(10)))
    before = position(desk)
    desk.click(f'{PLAYER} input[type=radio][value="0"]')
    after = position(desk)
    assert before <= after < before + 2 and plays(desk)
    assert len(desk.run("return window.probe.starts")) == 3  # nothing was started again
    wait_until(lambda: desk.run(HEARD)[1] < 1e-4 * desk.run(HEARD)[0], "the low-passed system is not what is heard")
    assert brightest > 1e-3
    wait_until(lambda: position(desk) > after, "it does not go on")
    desk.click(f"{PLAYER} .play")
    stopped = position(desk)
    assert not plays(desk) and stopped >= after


def test_only_one_player_plays_and_each_ends_by_itself(desk: Browser) -> None:
    press_play(desk)
    other = 'article[data-example="1"]'
    press_play(desk, other)
    assert not plays(desk)
    desk.run(
        "const s = document.querySelector(arguments[0]); s.value = s.max - 0.3; s.dispatchEvent(new Event('input'))",
        f"{other} .seek",
    )
    wait_until(lambda: not plays(desk, other), "it does not end")
    end = float(desk.run("return document.querySelector(arguments[0]).max", f"{other} .seek"))
    assert position(desk, other) == pytest.approx(end, abs=0.06)
    desk.click(f"{other} .loop")
    desk.click(f"{other} .play")
    wait_until(lambda: plays(desk, other), "it does not begin again")


def test_keys_switch_play_and_move(desk: Browser) -> None:
    checked = f"return document.querySelector('{PLAYER} input[type=radio]:checked').value"
    desk.run(f"document.querySelector('{PLAYER} input[type=radio]').focus()")
    desk.keys(" ")
    wait_until(lambda: plays(desk), "space does not play")
    desk.keys("3")
    assert desk.run(checked) == "1"
    desk.keys("Left")
    assert desk.run(checked) == "0" and plays(desk)
    desk.keys(" ")
    assert not plays(desk)
    desk.run(f"document.querySelector('{PLAYER} .seek').focus()")
    before = position(desk)
    desk.keys(*["Right"] * 30)
    assert position(desk) > before
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    desk.run("document.body.focus(); document.getElementById('theme').focus()")
    desk.keys("Tab")
    assert desk.run(outline) == "solid"


def rate_abx(browser: Browser, trials: int) -> str:
    """Answer `X is A` in every trial of an ABX test of `dull`; the verdict."""
    browser.run("document.querySelector('form[data-test=abx]').elements.trials.value = arguments[0]", trials)
    browser.type("form[data-test=abx] input[name=rater]", "Ann")
    browser.click("form[data-test=abx] button")
    stage = "[data-stage=abx]"
    for number in range(trials):
        assert browser.text(f"{stage} h3") == f"Trial {number + 1} of {trials}"
        assert browser.run(f"return document.querySelector('{stage} .answer').disabled")
        press_play(browser, stage)
        assert browser.run(f"return document.querySelector('{stage} .answer').disabled")  # X was not heard yet
        browser.keys("x") if number else browser.click(f"{stage} input[value=x]")
        browser.click(f"{stage} .answer")
    wait_until(lambda: "correct" in browser.text(f"{stage} h3"), "no verdict")
    return f"{browser.text(f'{stage} h3')}; {browser.text(f'{stage} .verdict')}"


def rate_mushra(browser: Browser) -> None:
    """Move each slider of every screen by keys: the more, the further down it is."""
    browser.click("form[data-test=mushra] button")
    stage = "[data-stage=mushra]"
    for number in range(len(CLIPS)):
        assert browser.text(f"{stage} h3") == f"Screen {number + 1} of {len(CLIPS)}"
        press_play(browser, stage)
        shown = browser.text(stage)
        assert "dull" not in shown and "noisy" not in shown and "nchor" not in shown
        count = browser.run(f"return document.querySelectorAll('{stage} .score').length")
        for place in range(count):
            assert browser.run(f"return document.querySelector('{stage} .next').disabled")
            browser.run(f"document.querySelectorAll('{stage} .score')[arguments[0]].focus()", place)
            browser.keys(*["Right"] * (place + 1))
        browser.click(f"{stage} .next")
    wait_until(lambda: "Your means" in browser.text(f"{stage} h3"), "no result")


def downloaded(browser: Browser, stage: str) -> tuple[Path, dict[str, Any]]:
    before = set(browser.downloads.iterdir())
    browser.click(f"[data-stage={stage}] .download")
    wait_until(lambda: [p for p in set(browser.downloads.iterdir()) - before if p.suffix == ".json"], "no download")
    (path,) = set(browser.downloads.iterdir()) - before
    return path, json.loads(path.read_text())


def test_blind_tests_are_rated_downloaded_and_read_back(desk: Browser, evaluations: list[str], tmp_path: Path) -> None:
    verdict = rate_abx(desk, 4)
    _, content = downloaded(desk, "abx")
    assert (content["format"], content["version"], content["rater"]) == ("audiocodec-ratings", 1, "Ann")
    assert [(trial["system"], trial["answer"]) for trial in content["trials"]] == [("dull", "reference")] * 4
    correct = sum(trial["x"] == "reference" for trial in content["trials"])
    p = binomtest(correct, 4, 0.5, "greater").pvalue
    assert verdict.startswith(f"{correct} of 4 correct; p = {p:.4f}")
    rate_mushra(desk)
    path, content = downloaded(desk, "mushra")
    trials = content["trials"][4:]
    assert len(trials) == 3 and {trial["utterance"] for trial in trials} == set(CLIPS)
    for trial in trials:
        scores = [trial["scores"]["reference"], trial["scores"]["anchor"], *trial["scores"]["systems"].values()]
        assert sorted(scores) == list(range(51, 51 + len(scores)))
    assert sorted(len(trial["scores"]["systems"]) for trial in trials) == [1, 2, 2]  # one estimate is missing
    desk.go(write(evaluations, tmp_path / "again.html", "--ratings", str(path)))
    said = desk.text("#ratings")
    assert f"{correct} of 4" in said
    assert "Ann: hidden reference below 90 in 3 of 3 trials" in said


def test_chance_decides_the_order_and_x(desk: Browser) -> None:
    desk.run("document.querySelector('form[data-test=abx]').elements.trials.value = 40")
    desk.click("form[data-test=abx] button")
    for number in range(40):
        desk.run(
            "const player = document.querySelector('[data-stage=abx]');"
            "player.querySelectorAll('.answer').forEach(b => { b.disabled = false; }); player.querySelector('.answer').click()"
        )
        assert number == 39 or desk.text("[data-stage=abx] h3") == f"Trial {number + 2} of 40"
    _, content = downloaded(desk, "abx")
    correct = sum(trial["x"] == "reference" for trial in content["trials"])
    assert 5 <= correct <= 35  # missed by chance once in a million runs
    assert {trial["utterance"] for trial in content["trials"]} == set(CLIPS)


def test_on_a_phone_nothing_sticks_out_and_fingers_hit(page: Path, tmp_path: Path) -> None:
    with Browser(tmp_path / "phone", 390, 844, mobile=True) as phone:
        phone.go(page)
        phone.click("form[data-test=abx] button")
        phone.click("form[data-test=mushra] button")
        phone.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert phone.run("return [document.documentElement.scrollWidth, innerWidth]") == [390, 390]
        sticking_out = phone.run(
            "return [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && e.offsetWidth && "
            "e.getBoundingClientRect().right > 390.5).map(e => e.outerHTML.slice(0, 80))"
        )
        assert sticking_out == []
        small = phone.run(
            "return [...document.querySelectorAll('button, select, nav a, summary, .choice, .check, input[type=range],"
            " input[type=text], input[type=number]')].filter(e => e.offsetWidth && e.getBoundingClientRect().height < 43.9)"
            ".map(e => e.outerHTML.slice(0, 80))"
        )
        assert small == []
        press_play(phone)
        assert phone.console() == []
