"""A report of three clips and two systems for the tests in a browser, and what a person does and sees on it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.audio import io
from audiocodec.cli.main import main
from audiocodec.tokens.token_file import TokenFile
from support.browser import Browser, wait_until

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
# Every element with words of its own that is seen: the words, their colour, the nearest background, their size.
SEEN = """
const own = (e) => [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data).join("").trim();
const ground = (e) => {
  for (; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
  return "none";
};
const seen = (e) => e.getClientRects().length && !e.closest(":disabled, option, noscript, title, legend, .skip");
return [...document.body.querySelectorAll("*")].filter(e => own(e) && seen(e)).map(e => {
  const style = getComputedStyle(e), box = e.ownerSVGElement;
  const scale = box ? box.getBoundingClientRect().width / box.viewBox.baseVal.width : 1;
  return [own(e), box ? style.fill : style.color, ground(e), parseFloat(style.fontSize) * scale];
});
"""


def make_evaluations(root: Path) -> list[str]:
    """Folders of two systems, scored by `evaluate`: `dull` (low-passed, half as loud) and `noisy` (one file missing)."""
    random = np.random.default_rng(0)
    for name in CLIPS:
        wav, rate = io.read(AUDIO / f"{name}.flac")
        if name == CLIPS[0]:  # so long that it still plays when a slow machine presses Pause
            wav = np.tile(wav, 4)
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


def write(evaluations: list[str], path: Path, *options: str) -> Path:
    words = ["report", *evaluations, "-o", str(path), "--quiet", "--utterances", ",".join(CLIPS)]
    assert main([*words, *options]) == 0
    return path


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

    def new() -> list[Path]:  # what is not finished has another ending
        return [path for path in set(browser.downloads.iterdir()) - before if path.suffix == ".json"]

    wait_until(new, "no download")
    (path,) = new()
    return path, json.loads(path.read_text())


def texts(browser: Browser) -> list[tuple[str, str, str, float]]:
    """(words, colour, background, size in px) of everything written on the page that is seen, but for what is disabled."""
    found: list[list[Any]] = browser.run(SEEN)
    return [(words, colour, ground, size) for words, colour, ground, size in found]


def contrast(one: str, other: str) -> float:
    """Of two colours as CSS computes them, `rgb(r, g, b)`: WCAG 2, 1 to 21."""
    luminances = []
    for colour in (one, other):
        share = np.array([int(number) for number in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        luminances.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)
