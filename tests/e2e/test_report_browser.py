"""The report as a person uses it: opened from a file in headless Chromium, read, sorted, played, rated, on desk and phone.

What is heard is measured: a probe beside the speakers sees every sample that the page sends there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image  # matplotlib brings it
from scipy.stats import binomtest
from support.browser import Browser, missing_programs, wait_until
from support.report_page import (
    CLIPS,
    HEARD,
    PLAYER,
    PROBE,
    brightness,
    contrast,
    downloaded,
    first_column,
    make_evaluations,
    plays,
    position,
    press_play,
    rate_abx,
    rate_mushra,
    texts,
    write,
)

pytestmark = pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}")


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Folders of two systems: see `make_evaluations`."""
    return make_evaluations(tmp_path_factory.mktemp("systems"))


@pytest.fixture(scope="module")
def page(evaluations: list[str]) -> Path:
    """The report; one of its three utterances lacks a system."""
    return write(evaluations, Path(evaluations[0]).parents[1] / "report.html")


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


def bright(low: float, high: float) -> bool:
    """Whether what is heard at one moment, silence aside, has high frequencies."""
    return low > 1e-9 and high > 1e-3 * low


def test_switching_while_playing_keeps_the_position_and_changes_what_is_heard(desk: Browser) -> None:
    press_play(desk)
    starts = desk.run("return window.probe.starts")
    assert len(starts) == 3 and starts[0] == starts[1] == starts[2]  # one moment, one offset, one length
    wait_until(lambda: bright(*desk.run(HEARD)), "nothing with high frequencies is heard")
    before = position(desk)
    desk.click(f'{PLAYER} input[type=radio][value="0"]')
    after = position(desk)
    assert before <= after < before + 2 and plays(desk)
    assert len(desk.run("return window.probe.starts")) == 3  # nothing was started again
    wait_until(lambda: desk.run(HEARD)[1] < 1e-4 * desk.run(HEARD)[0], "the low-passed system is not what is heard")
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


@pytest.mark.parametrize(("width", "mobile"), [(1280, False), (390, True)])
def test_tables_show_that_they_scroll(evaluations: list[str], tmp_path: Path, width: int, mobile: bool) -> None:
    folders = [evaluations[number % 2] for number in range(6)]
    names = [f"a system of a long name, number {number}" for number in range(6)]
    page = write(folders, tmp_path / "wide.html", "--name", *names)
    with Browser(tmp_path / "browser", width, 900, mobile=mobile) as browser:
        browser.go(page)
        assert browser.run("return [document.documentElement.scrollWidth, innerWidth]") == [width, width]
        told = (
            "return [...document.querySelectorAll('.scroll')].filter(e => e.offsetWidth).map(e => "
            "[e.scrollWidth > e.clientWidth + 1, e.previousElementSibling.offsetHeight > 0])"
        )
        wait_until(lambda: all(wide == shown for wide, shown in browser.run(told)), "a hint is wrong")
        browser.run("document.querySelector('#scores table').style.width = '3000px'")  # wider than any window here
        wait_until(lambda: browser.run(told)[0] == [True, True], "no hint")
        end = "const e = document.querySelector('#scores .scroll'); e.scrollLeft = 9999; return e.className"
        browser.run(end)
        wait_until(lambda: "wide end" in browser.run(end), "the end is not shown")
        assert browser.console() == []


@pytest.mark.parametrize(
    ("name", "width", "dark"), [("light", 1280, False), ("dark", 1280, True), ("phone", 360, False)]
)
def test_what_is_seen_fits_and_can_be_read(name: str, width: int, dark: bool, page: Path, tmp_path: Path) -> None:
    with Browser(tmp_path / "browser", width, 900, dark=dark, mobile=name == "phone") as browser:
        browser.go(page)
        browser.screenshot(tmp_path / f"{name}.png", whole=True)
        written = texts(browser)
        spectrogram = browser.run(
            "const b = document.querySelector('.picture img').getBoundingClientRect();"
            "return [b.left + scrollX, b.top + scrollY, b.right + scrollX, b.bottom + scrollY]"
        )
    picture = Image.open(tmp_path / f"{name}.png").convert("L")
    assert picture.width == width and picture.height > 2000  # it is as wide as what is widest
    assert (np.median(np.asarray(picture)) < 50) == dark
    assert np.asarray(picture.crop([round(edge) for edge in spectrogram])).std() > 10  # speech is no even grey
    words = {said for said, *_ in written}
    assert {"Scores", "dull", "STOI", "share of all codes"} <= words and len(written) > 150
    faint = [
        (said, round(contrast(colour, ground), 2))
        for said, colour, ground, _ in written
        if contrast(colour, ground) < 4.5
    ]
    assert faint == []  # WCAG 2, 1.4.3
    assert [(said, size) for said, _, _, size in written if size < 10] == []
