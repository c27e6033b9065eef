"""The report: what it makes of ratings."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest
from support.report_folders import data_of, report

from audiocodec.errors import AudioCodecError
from audiocodec.reporting.listening import ratings
from audiocodec.reporting.listening import verdicts as listening

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
