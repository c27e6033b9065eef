"""The demo's page as a person uses it, in headless Chromium: microphone, dropped files, what appears, what is said of trouble."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.browser import Browser, missing_programs, wait_until
from support.demo_server import serving, wav_bytes
from support.report_page import PROBE, brightness, contrast, texts

from audiocodec.demo.recording import Recording
from audiocodec.demo.server import Server
from audiocodec.demo.versions import Coded, Version, model_versions, numbered
from audiocodec.demo.watch import Watch
from audiocodec.errors import AudioError
from audiocodec.tokens.token_file import TokenFile

pytestmark = pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}")

SPEECH = Path(__file__).parents[2] / "egs/mini/codec/local/audio/ru-nsh/ru_0003.flac"
TONE_HZ = 1000
# A file as the system hands it over when it is dropped.
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const dataTransfer = new DataTransfer();
dataTransfer.items.add(new File([bytes], arguments[1]));
document.body.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
"""
SELECTED = "return document.querySelector('.heard input:checked').value"


class Failing:
    """A version that cannot."""

    label = "The one that fails"

    def code(self, recording: Recording, watch: Watch) -> Coded:
        raise AudioError("the encoder is out of paper")


@pytest.fixture(scope="module")
def versions(tiny_model_path: Path) -> dict[str, Version]:
    """The tiny model with 1 and 2 codebooks, and one that fails in their midst."""
    one, two = model_versions(str(tiny_model_path))
    return numbered([one, Failing(), two])


@pytest.fixture(scope="module")
def server(versions: dict[str, Version]) -> Iterator[Server]:
    """Answers during all tests."""
    with serving(versions) as server:
        yield server


@pytest.fixture(scope="module")
def browser(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all tests, whose microphone is a tone."""
    folder = tmp_path_factory.mktemp("browser")
    tone = 0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(5 * 48_000) / 48_000)
    (folder / "tone.wav").write_bytes(wav_bytes(tone, 48_000))
    fake = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={folder / 'tone.wav'}")
    with Browser(folder / "browser", 1280, 900, flags=fake) as browser:
        browser.devtools("Page.addScriptToEvaluateOnNewDocument", {"source": PROBE})
        yield browser


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Browser]:
    """The page, loaded anew; at the end nothing may have complained or asked another server."""
    browser.go(server.address)
    yield browser
    refused = "Failed to load resource: the server responded with a status of 422"
    assert [said for said in browser.console() if refused not in said] == []
    asked = browser.requests()
    assert asked and [url for url in asked if not url.startswith((server.address, "data:", "blob:"))] == []


def drop(browser: Browser, data: bytes, name: str) -> None:
    browser.run(DROP, base64.b64encode(data).decode(), name)


def wait_for(browser: Browser, selector: str, words: str) -> None:
    wait_until(lambda: words in browser.text(selector), f"{words!r} does not appear in {selector}")


def newest(server: Server) -> Recording:
    return list(server.desk._recordings.values())[-1]


def test_a_dropped_file_is_heard_and_seen(page: Browser, server: Server) -> None:
    drop(page, SPEECH.read_bytes(), "<b>ru</b>.flac")
    wait_for(page, "#status", "Done: 3 versions.")
    assert page.text("#about") == "<b>ru</b>.flac: 6.1 s, 16,000 Hz."
    lines = page.run(
        "return [...document.querySelectorAll('.sizes tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    )
    samples = soundfile.info(SPEECH).frames
    assert lines[0][:4] == ["Original", f"{2 * samples:,}", "256", "256"]
    tokens = newest(server).encoded(server.desk.versions["3"].model, lambda: None)  # type: ignore[attr-defined]
    size = len(tokens.to_bytes())
    assert lines[3][1:3] == [f"{size:,}", f"{8 * size / (samples / 16_000) / 1000:.2f}"]
    assert lines[2][1] == "the encoder is out of paper"
    saved = page.run("return [...document.querySelectorAll('.sizes a')].map(a => [a.download, a.href.split(',')[1]])")
    assert [name.rpartition("model.safetensors_")[2] for name, _ in saved] == [
        "1_of_2_0.45_kbps.act",
        "2_of_2_0.9_kbps.act",
    ]
    assert TokenFile.from_bytes(base64.b64decode(saved[1][1])) == tokens
    pictures = page.run(
        "return [...document.querySelectorAll('.picture')].map(f => [f.className.split(' ')[1], f.dataset.of,"
        " f.querySelector('img').naturalHeight, f.querySelector('img').naturalWidth])"
    )
    strips = [[*picture[1:]] for picture in pictures if picture[0] == "tokens"]
    assert strips == [["1", 1, tokens.codes.shape[1]], ["3", 2, tokens.codes.shape[1]]]
    assert [picture[1] for picture in pictures if picture[0] == "spectrogram"] == ["original", "1", "3"]

    page.click(".play")
    wait_until(lambda: page.text(".play") == "Pause", "it does not play")
    assert len(page.run("return window.probe.starts")) == 3
    assert page.run(SELECTED) == "original"
    page.keys("4")
    assert page.run(SELECTED) == "3" and page.text(".picture.current figcaption").endswith("2 of 2, 0.9 kbps")
    page.keys("3")  # the one that failed
    assert page.run(SELECTED) == "3"
    page.keys(" ")
    assert page.text(".play") == "Play"


def test_a_version_that_comes_while_it_plays_can_be_heard(page: Browser) -> None:
    """Its clip is not among those that were started."""
    page.run(
        "const wait = window.fetch; window.gates = []; window.fetch = (path, more) => path.endsWith('/3') ?"
        " new Promise(go => window.gates.push(go)).then(() => wait(path, more)) : wait(path, more)"
    )
    drop(page, SPEECH.read_bytes(), "a.flac")
    wait_for(page, "#status", "Coding 3 of 3")
    page.click(".play")
    wait_until(lambda: len(page.run("return window.probe.starts")) == 2, "it does not play")
    page.run("window.gates[0]()")
    wait_for(page, "#status", "Done")
    page.click(".heard input[value='3']")
    wait_until(lambda: len(page.run("return window.probe.starts")) == 5, "it does not begin again")
    starts = page.run("return window.probe.starts.slice(2)")
    assert starts[0] == starts[1] == starts[2] and starts[0][1] > 0  # where it was
    assert page.text(".play") == "Pause"


def allow(page: Browser, setting: str) -> None:
    page.devtools("Browser.setPermission", {"permission": {"name": "microphone"}, "setting": setting})


def recorded(page: Browser) -> float:
    """Seconds so far."""
    return float(page.run("return parseFloat(document.querySelector('#elapsed').value)"))


def test_the_microphone(page: Browser, server: Server) -> None:
    allow(page, "granted")
    page.click("#record")
    wait_until(lambda: recorded(page) >= 1.5, "nothing is recorded")
    assert page.text("#record") == "Stop" and page.run("return document.querySelector('#level').offsetWidth") > 20
    page.click("#record")
    wait_for(page, "#status", "Done: 3 versions.")
    assert page.text("#record") == "Record" and page.text("#about").startswith("Recording: ")
    recording = newest(server)
    assert 1.4 < recording.seconds <= 30
    spectrum = np.abs(np.fft.rfft(recording.wav * np.hanning(len(recording.wav))))
    assert np.argmax(spectrum) / recording.seconds == pytest.approx(TONE_HZ, abs=5)


def test_a_microphone_that_is_refused_or_missing(page: Browser) -> None:
    allow(page, "denied")
    page.click("#record")
    wait_for(page, "#problem", "The microphone was refused. Allow it")
    allow(page, "granted")
    page.click("#record")  # once it is allowed, it records
    wait_until(lambda: page.text("#record") == "Stop", "it does not record")
    assert page.text("#problem") == ""
    wait_until(lambda: recorded(page) >= 0.3, "nothing is recorded")
    page.click("#record")
    wait_for(page, "#status", "Done")
    page.run("navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('gone', 'NotFoundError'); }")
    page.click("#record")
    wait_for(page, "#problem", "There is no microphone")
    assert page.text("#record") == "Record"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "a.wav: is empty (0 bytes)"),
        (b"Dear Sir or Madam", "a.wav: not audio"),
        (wav_bytes(np.zeros(24_000), 24_000), "a.wav: it is silent"),
    ],
    ids=["empty", "text", "silent"],
)
def test_bad_files_are_refused_in_words(data: bytes, words: str, page: Browser) -> None:
    drop(page, data, "a.wav")
    wait_for(page, "#problem", words)
    assert page.text("#status") == "" and not page.run("return document.querySelector('#hear').offsetHeight")


# What only the browser or ffmpeg can read: a second of a tone as WebM.
WEBM = """
const context = new AudioContext(), target = context.createMediaStreamDestination();
const tone = new OscillatorNode(context, {frequency: 500}), recorder = new MediaRecorder(target.stream), parts = [];
tone.connect(target);
recorder.ondataavailable = (event) => parts.push(event.data);
recorder.onstop = () => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(parts, "tone.webm"));
  dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
};
context.resume().then(() => { tone.start(); recorder.start(); setTimeout(() => recorder.stop(), 1200); });
"""


def test_without_ffmpeg_the_browser_decodes(page: Browser, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    page.run(WEBM)
    wait_for(page, "#status", "Done")
    assert page.text("#about").startswith("tone.webm: ") and page.text("#about").endswith("decoded by the browser.")
    recording = newest(server)
    spectrum = np.abs(np.fft.rfft(recording.wav * np.hanning(len(recording.wav))))
    assert np.argmax(spectrum) / recording.seconds == pytest.approx(500, abs=5)  # Hz


def test_files_of_an_hour(page: Browser, server: Server) -> None:
    page.run(
        "const part = new Uint8Array(1 << 20), dataTransfer = new DataTransfer();"
        "dataTransfer.items.add(new File(Array(120).fill(part), 'hour.wav'));"
        "dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true}))"
    )
    wait_for(page, "#problem", "hour.wav: has 120 MiB; at most 100 are taken")
    assert [url for url in page.requests() if "recordings" in url] == []  # it was not even sent
    hour = np.tile((0.1 * np.random.default_rng(0).standard_normal(4000)), 3600)
    path = Path(server.folder).parent / f"{server.folder.name}-hour.wav"
    try:
        soundfile.write(path, hour, 4000)
        page.type("#file", str(path))
        wait_for(page, "#about", "the first 30.0 s of a longer file, 4,000 Hz.")
    finally:
        path.unlink(missing_ok=True)
    assert page.text("#problem") == ""


@pytest.mark.parametrize(("name", "width"), [("light", 1280), ("dark", 1280), ("phone", 390)])
def test_what_is_seen_fits_and_can_be_read(name: str, width: int, page: Browser) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": name == "phone"}
    page.devtools("Emulation.setDeviceMetricsOverride", metrics)
    if name == "dark":
        page.click("#theme")
    page.click("#sample")
    wait_for(page, "#status", "Done")
    assert page.run("return [document.documentElement.scrollWidth, innerWidth]") == [width, width]
    assert (brightness(page) < 50) == (name == "dark")
    written = texts(page)
    words = {said for said, *_ in written}
    assert {"Record or choose", "Listen", "Original", "Tokens", "the encoder is out of paper"} <= words
    faint = [(said, ground) for said, colour, ground, _ in written if contrast(colour, ground) < 4.5]
    assert faint == []  # WCAG 2, 1.4.3
    assert [(said, size) for said, _, _, size in written if size < 10] == []
    unnamed = page.run(
        "return [...document.querySelectorAll('button, input, a, img')].filter(e => e.offsetWidth && !e.innerText &&"
        " !e.ariaLabel && !e.alt && !e.labels?.length).map(e => e.outerHTML)"
    )
    assert unnamed == []
    if name == "phone":
        small = page.run(
            "return [...document.querySelectorAll('button, .choice, .check, input[type=range]')]"
            ".filter(e => e.offsetWidth && e.getBoundingClientRect().height < 43.9).map(e => e.outerHTML.slice(0, 80))"
        )
        assert small == []


def test_all_is_reached_by_keys(page: Browser) -> None:
    reached = []
    for _ in range(5):
        page.keys("Tab")
        reached.append(page.run("return document.activeElement.id || document.activeElement.className"))
        assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached == ["skip", "theme", "record", "choose", "sample"]
    page.keys("Enter")
    wait_for(page, "#status", "Done")


def test_a_server_that_has_gone(browser: Browser, versions: dict[str, Version]) -> None:
    with serving(versions) as server:
        browser.go(server.address)
    browser.click("#sample")
    wait_for(browser, "#problem", "The server does not answer. Was it stopped? Run `audiocodec demo` again")
    assert browser.run("return document.querySelectorAll('.heard input').length") == 0  # nothing seems to be there
    drop(browser, SPEECH.read_bytes(), "a.flac")
    wait_for(browser, "#problem", "The server does not answer")
    assert browser.run("return document.querySelector('#sample').disabled") is False  # one can try again
