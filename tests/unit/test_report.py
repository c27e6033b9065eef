"""The report: what it says of scores, what it lets one listen to, and what it makes of ratings."""

from __future__ import annotations

import base64
import hashlib
import io as memory
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image  # matplotlib brings it
from scipy.stats import binomtest

from audiocodec.audio import io
from audiocodec.cli.main import main
from audiocodec.errors import AudioCodecError
from audiocodec.evaluation.catalogue import MEASURES
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary import summarize
from audiocodec.report import axes, choice, clips, listening, png, ranking, ratings, spectrogram
from audiocodec.report.systems import System, read_systems
from audiocodec.tokens.token_file import TokenFile

RATE = 16_000
STOI, MEL, KBPS = MEASURES["stoi"], MEASURES["mel_distance"], MEASURES["kbps_payload"]


def noise(seed: int, seconds: float = 0.5, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).astype(np.float32)


def system(label: str, stoi: Mapping[str, float], ground_truth: bool = False) -> System:
    rows = [
        Row(id=key, values={"stoi": value}, reference=key, estimate=key if ground_truth else f"{label}/{key}")
        for key, value in stoi.items()
    ]
    return System(label, {row.id: row for row in rows}, summarize(rows, ["stoi"], {}, ""))


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ref`, and two evaluations of it, `eval/good` (with token files) and `eval/bad` (one utterance failed)."""
    root = tmp_path_factory.mktemp("evaluations")
    for name in ("ref", "good", "bad"):
        (root / name).mkdir()
    for number in range(4):
        wav = noise(number)
        io.write(root / f"ref/u{number}.wav", wav, RATE)
        io.write(root / f"good/u{number}.wav", 0.9 * wav, RATE)
        io.write(root / f"bad/u{number}.wav", 0.2 * wav + noise(9, level=0.02), RATE)
        TokenFile(np.array([[0, 0, 1]]), (4,), RATE, 3000, 8000, RATE, 1, 8000, 1.0, bytes(8)).write(
            root / f"good/u{number}.act"
        )
    for label, stoi in (("good", [0.90, 0.91, 0.92, 0.93]), ("bad", [0.50, 0.60, 0.70, None])):
        rows = [
            Row(
                id=f"u{number}",
                seconds=0.5,
                values={"mel_distance": 3.0 + number} | ({} if value is None else {"stoi": value}),
                failures={"stoi": "estimate is <silent>"} if value is None else {},
                groups={"language": "it" if number < 2 else "ru"},
                reference=str(root / f"ref/u{number}.wav"),
                estimate=str(root / f"{label}/u{number}.wav"),
                tokens=str(root / f"good/u{number}.act") if label == "good" else None,
            )
            for number, value in enumerate(stoi)
        ]
        folder = root / "eval" / label
        folder.mkdir(parents=True)
        (folder / "rows.jsonl").write_text("".join(row.to_json() + "\n" for row in rows))
        summary = summarize(rows, ["stoi", "mel_distance"], {}, f"audiocodec evaluate {label}")
        (folder / "summary.json").write_text(json.dumps(summary))
    return root


def report(root: Path, page: Path, *options: str) -> int:
    folders = [str(root / "eval/good"), str(root / "eval/bad")]
    return main(["report", *folders, "-o", str(page), "--quiet", "--force", "--name", "good", "bad", *options])


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


# What the page says


def test_the_page_holds_scores_groups_failures_codebooks_and_origins(evaluations: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    assert report(evaluations, page, "--title", "Two <b>codecs</b>") == 0
    text = page.read_text()
    assert "<title>Two &lt;b&gt;codecs&lt;/b&gt;</title>" in text and "<b>codecs</b>" not in text
    assert "<b>0.915</b>" in text and "<b>0.600</b>" in text  # means of four, and of the three that have a score
    assert '<span class="failed">1 failed</span>' in text
    assert "estimate is &lt;silent&gt;" in text and "estimate is <silent>" not in text
    assert "audiocodec evaluate good" in text and "audiocodec evaluate bad" in text
    assert "Use of codebook entries, sorted" in text
    assert '<th scope="row">it</th>' in text and "<b>0.905</b>" in text  # the mean of 0.90 and 0.91
    assert list(tmp_path.iterdir()) == [page]


def test_the_page_asks_nothing_of_the_network_and_runs_only_its_own_program(evaluations: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    assert report(evaluations, page) == 0
    text = page.read_text()
    assert re.findall(r"https?://|//cdn|@import|url\(", text) == []
    assert {source[:5] for source in re.findall(r'(?:src|href)="([^"]*)', text)} <= {"data:", "#main"}
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy and policy[1].startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(bodies[0].encode()).digest()).decode()
        assert len(bodies) == 1 and f"{tag}-src 'sha256-{digest}'" in policy[1]
    assert " style=" not in text and " onclick=" not in text


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
    (tmp_path / "eval/summary.json").write_text(json.dumps(summarize([row], ["stoi"], {}, "")))
    assert main(["report", str(tmp_path / "eval"), "-o", str(tmp_path / "r.html"), "--quiet"]) == 0
    assert "12.0 s, first 10 s here" in (tmp_path / "r.html").read_text()
    flac = base64.b64decode(data_of(tmp_path / "r.html")["examples"][0]["reference"]["flac"])
    assert soundfile.info(memory.BytesIO(flac)).frames == 10 * RATE


def test_without_the_audio_there_is_a_page_without_players(
    evaluations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (evaluations / "eval/good/rows.jsonl").read_text().replace(str(evaluations), "/nowhere")
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval/rows.jsonl").write_text(rows)
    (tmp_path / "eval/summary.json").write_bytes((evaluations / "eval/good/summary.json").read_bytes())
    assert main(["report", str(tmp_path / "eval"), "-o", str(tmp_path / "r.html")]) == 0
    assert "no audio in the report" in capsys.readouterr().err
    text = (tmp_path / "r.html").read_text()
    assert "<b>0.915</b>" in text and "No audio" in text and "<article" not in text and "not all codes" in text


# What it marks and chooses


def test_best_and_tie() -> None:
    low = {f"u{i}": 0.5 + 0.01 * (i % 3) for i in range(12)}
    high = {key: value + 0.3 for key, value in low.items()}
    near = {key: value + 0.001 for key, value in high.items()}
    truth = system("truth", dict.fromkeys(low, 1.0), ground_truth=True)
    assert ranking.rank([system("low", low), system("high", high), truth], STOI).marks == {"high": "best"}
    tied = ranking.rank([system("low", low), system("high", high), system("near", near)], STOI)
    assert tied.marks == {"high": "tie", "near": "tie"}
    assert ranking.rank([system("high", high), truth], STOI).marks == {}


def test_a_system_does_not_win_by_failing_on_hard_utterances() -> None:
    hard = {"u0": 0.1, "u1": 0.1} | {f"v{i}": 0.90 + 0.001 * i for i in range(8)}
    lucky = {f"v{i}": 0.80 + 0.001 * i for i in range(8)}  # its mean is 0.80, the other's 0.74
    found = ranking.rank([system("honest", hard), system("lucky", lucky)], STOI)
    assert (found.marks, found.common) == ({"honest": "best"}, 8)


def test_lower_is_better_where_it_is() -> None:
    def mel(label: str, level: float) -> System:
        rows = {
            f"u{i}": Row(f"u{i}", values={"mel_distance": level + i / 100, "kbps_payload": level}) for i in range(6)
        }
        return System(label, rows, {})

    assert ranking.rank([mel("near", 3.0), mel("far", 6.0)], MEL).marks == {"near": "best"}
    assert ranking.rank([mel("near", 3.0), mel("far", 6.0)], KBPS).marks == {}


@pytest.mark.parametrize(
    ("total", "count", "places"),
    [
        (12, 1, [0]),
        (12, 2, [0, 11]),
        (11, 3, [0, 5, 10]),
        (9, 5, [0, 2, 4, 6, 8]),
        (2, 6, [0, 1]),
        (0, 6, []),
        (5, 0, []),
    ],
)
def test_places_that_are_listened_to(total: int, count: int, places: list[int]) -> None:
    assert sorted(choice.spread(total, count)) == places


def test_worst_median_and_best_by_the_mean_of_systems(evaluations: Path) -> None:
    systems = read_systems([evaluations / "eval/good", evaluations / "eval/bad"])
    assert choice.choose(systems, 3) == [
        ("u0", "worst of 3 by STOI"),
        ("u1", "median of 3 by STOI"),
        ("u2", "best of 3 by STOI"),
    ]


def test_ground_truth_is_not_played_a_second_time(evaluations: Path) -> None:
    good, _ = read_systems([evaluations / "eval/good", evaluations / "eval/bad"])
    truth = System("truth", {key: replace(row, estimate=row.reference) for key, row in good.rows.items()}, good.summary)
    example = clips.make_example([good, truth], "u1", "")
    assert list(example.systems) == [good.label]


def test_names(evaluations: Path, tmp_path: Path) -> None:
    good = evaluations / "eval/good"
    recipe = tmp_path / "exp/small/eval/dev"
    recipe.mkdir(parents=True)
    for name in ("rows.jsonl", "summary.json"):
        (recipe / name).write_bytes((good / name).read_bytes())
    (tmp_path / "other/good").mkdir(parents=True)
    for name in ("rows.jsonl", "summary.json"):
        (tmp_path / "other/good" / name).write_bytes((good / name).read_bytes())
    assert read_systems([recipe])[0].label == "small/dev"
    assert read_systems([tmp_path / "other/good"])[0].label == "good"
    with pytest.raises(AudioCodecError, match="two evaluations are called 'a'"):
        read_systems([good, recipe], ["a", "a"])


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


def test_axes() -> None:
    assert axes.ticks(0.1, 0.93) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert axes.log_ticks(0.6, 12) == [1, 2, 5, 10]
    scale = axes.Scale(1, 100, 0, 200, log=True)
    assert [scale(value) for value in (1, 10, 100)] == [0, 100, 200]


# What raters said


@pytest.mark.parametrize(
    ("correct", "total", "p"), [(0, 5, 1.0), (5, 5, 1 / 32), (9, 10, 11 / 1024), (12, 16, 0.0384064)]
)
def test_p_of_an_abx_test(correct: int, total: int, p: float) -> None:
    assert listening.p_by_guessing(correct, total) == pytest.approx(p, rel=1e-5)
    assert p == pytest.approx(binomtest(correct, total, 0.5, "greater").pvalue, rel=1e-5)


def session(rater: str, references: Sequence[float], **systems: float) -> ratings.Session:
    trials = [ratings.MushraTrial("u1", reference, 20.0, dict(systems)) for reference in references]
    return ratings.Session("file", "id", rater, rater, [], trials)


def test_raters_who_miss_the_reference_too_often_are_left_out() -> None:
    careful = session("careful", [100, 100, 100, 95, 90, 100, 89], good=80, bad=40)  # 1 of 7: 14.3 %
    careless = session("careless", [100] * 10 + [89, 20], good=0, bad=100)  # 2 of 12: 16.7 %
    found = listening.mushra_scores([careful, careless], ["good", "bad"])
    assert found.kept == ["careful"]
    assert found.excluded == {"careless": "hidden reference below 90 in 2 of 12 trials"}
    means = {score.condition: (round(score.mean, 2), score.count) for score in found.scores}
    assert means == {"hidden reference": (96.29, 7), "good": (80, 7), "bad": (40, 7), "anchor, 3.5 kHz": (20, 7)}


@pytest.fixture(scope="module")
def identity(evaluations: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the report in which one listens to `u1`."""
    page = tmp_path_factory.mktemp("identity") / "r.html"
    assert report(evaluations, page, "--utterances", "u1") == 0
    found: str = data_of(page)["report"]
    return found


def ratings_file(path: Path, identity: str, **changes: Any) -> Path:
    trials = [
        {"test": "abx", "utterance": "u1", "system": "bad", "x": "system", "answer": answer}
        for answer in ("system", "system", "reference")
    ]
    scores = {"reference": 100, "anchor": 10, "systems": {"good": 90, "bad": 30}}
    trials.append({"test": "mushra", "utterance": "u1", "scores": scores})
    content = {"format": "audiocodec-ratings", "version": 1, "report": identity, "session": path.stem, "rater": "Ann"}
    path.write_text(json.dumps({**content, "trials": trials, **changes}))
    return path


def test_ratings_come_back_as_tables(evaluations: Path, identity: str, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    files = [str(ratings_file(tmp_path / name, identity)) for name in ("a.json", "b.json")]
    assert report(evaluations, page, "--utterances", "u1", "--ratings", *files) == 0
    assert data_of(page)["report"] == identity
    text = page.read_text()
    assert "<td>4 of 6</td><td>67 %</td><td>0.344</td><td>1</td>" in text  # 22 / 64, one rater in two sessions
    assert re.search(r'<th scope="row">bad</th><td>30.0 \[30.0, 30.0\]</td><td>2</td>', text)
    assert "MUSHRA-style scores of 1 raters" in text


def test_the_identity_changes_with_what_is_heard(evaluations: Path, identity: str, tmp_path: Path) -> None:
    def of(*options: str) -> str:
        assert report(evaluations, tmp_path / "r.html", *options) == 0
        found: str = data_of(tmp_path / "r.html")["report"]
        return found

    assert of("--utterances", "u1", "--title", "Other") == identity
    assert len({identity, of("--utterances", "u2"), of("--utterances", "u1", "--name", "x", "y")}) == 3


MUSHRA = {"test": "mushra", "utterance": "u1"}
ABX = {"test": "abx", "utterance": "u1", "system": "bad", "x": "system", "answer": "system"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "x"}, 'no "format": "audiocodec-ratings"'),
        ({"version": 2}, "ratings of version 2, expected 1"),
        ({"report": "0" * 16}, "rates report 0000000000000000, this one is"),
        ({"session": ""}, "session: expected a text, found ''"),
        ({"rater": None}, "rater: expected a text, found None"),
        ({"trials": []}, "trials: expected a list of at least one"),
        ({"trials": [{"test": "x"}]}, 'trials[0]: expected an object with "test"'),
        ({"trials": [{**ABX, "answer": "b"}]}, "trials[0]: answer: expected one of reference, system, found 'b'"),
        ({"trials": [{**ABX, "system": "other"}]}, "rates system 'other', which is not in the report"),
        ({"trials": [{**ABX, "utterance": "u9"}]}, "rates utterance 'u9', which is not in the report"),
        ({"trials": [{**MUSHRA}]}, "trials[0]: scores: expected an object"),
        (
            {"trials": [{**MUSHRA, "scores": {"reference": 101, "systems": {}}}]},
            "reference: expected a number from 0 to 100",
        ),
        ({"trials": [{**MUSHRA, "scores": {"reference": 1, "systems": {"bad": True}}}]}, "bad: expected a number"),
        ({"trials": [{**MUSHRA, "scores": {"reference": float("nan"), "systems": {}}}]}, "NaN is no number"),
    ],
)
def test_bad_ratings_name_the_file_and_the_cause(
    changes: dict[str, Any],
    message: str,
    evaluations: Path,
    identity: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = tmp_path / "r.html"
    page.write_text("kept")
    path = ratings_file(tmp_path / "bad.json", identity, **changes)
    assert report(evaluations, page, "--utterances", "u1", "--ratings", str(path)) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"audiocodec: {path}: ") and message in said
    assert page.read_text() == "kept"


def test_ratings_that_are_no_json_or_of_one_session_twice(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(AudioCodecError, match=r"a\.json: not a file of ratings"):
        ratings.read_ratings([tmp_path / "a.json"])
    files = [ratings_file(tmp_path / name, "id", session="same") for name in ("b.json", "c.json")]
    with pytest.raises(AudioCodecError, match=r"c\.json: is of the same session as .*b\.json"):
        ratings.read_ratings(files)


# What is refused


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere", "-o", "OUT"], 2, "nowhere: No such file or directory"),
        (["REF", "-o", "OUT"], 1, "ref/summary.json: cannot read the summary"),
        (["GOOD", "-o", "THERE"], 2, "already exists; --force overwrites"),
        (["GOOD", "-o", "FOLDER"], 2, "is a folder; say -o"),
        (["GOOD", "-o", "FOLDER/none/r.html"], 2, "none: No such directory"),
        (["GOOD", "-o", "OUT", "--name", "a", "b"], 2, "2 names for 1 evaluations"),
        (["GOOD", "-o", "OUT", "--utterances", "u9"], 1, "utterance 'u9': no evaluation has"),
        (["GOOD", "-o", "OUT", "--utterances", ","], 2, "names no utterance"),
        (["GOOD", "-o", "OUT", "--examples", "-1"], 2, "-1"),
        (["GOOD", "-o", "OUT", "--ratings", "nowhere.json"], 2, "nowhere.json: No such file or directory"),
        (["GOOD", "GOOD", "-o", "OUT"], 1, "two evaluations are called"),
    ],
)
def test_refusals_leave_nothing(
    arguments: list[str],
    status: int,
    message: str,
    evaluations: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = tmp_path / "there.html"
    there.write_text("kept")
    places = {"OUT": tmp_path / "out.html", "REF": evaluations / "ref", "GOOD": evaluations / "eval/good"}
    places |= {"THERE": there, "FOLDER": tmp_path, "FOLDER/none/r.html": tmp_path / "none/r.html"}
    assert main(["report", *(str(places.get(word, word)) for word in arguments)]) == status
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.html"] and there.read_text() == "kept"
