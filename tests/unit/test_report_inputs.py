"""The report: what it takes for evaluations, what it calls them, how it orders and marks them, what it says of itself."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.report_folders import KBPS, STOI

import audiocodec
from audiocodec.cli.main import main
from audiocodec.errors import AudioCodecError, UsageError
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary import summarize
from audiocodec.evaluation.summary_file import CodingSummary
from audiocodec.model_file import describe
from audiocodec.reporting import ranking
from audiocodec.reporting.plots import axes, scatter
from audiocodec.reporting.systems import System

FINGERPRINTS = {name: describe(name).fingerprint for name in ("speech_24k", "speech_24k_residual")}
SYSTEMS = {"loud": (12.0, 0.9), "cheap": (1.2, 0.6), "middle": (6.0, 0.8), "like": (6.1, 0.7)}  # kbps, STOI


def rows(kbps: float | None, stoi: float) -> list[Row]:
    rate = {} if kbps is None else {"kbps_payload": kbps}
    return [Row(f"u{i}", values={"stoi": stoi + i / 1000, **rate}) for i in range(6)]


def write(folder: Path, kbps: float | None, stoi: float, command: str = "", codecs: Sequence[str] = ()) -> Path:
    folder.mkdir(parents=True)
    found = rows(kbps, stoi)
    measures = ["stoi"] if kbps is None else ["stoi", "kbps_payload"]
    summary = summarize(found, measures, CodingSummary(codecs=tuple(codecs)) if codecs else None, command)
    (folder / "rows.jsonl").write_text("".join(row.to_json() + "\n" for row in found))
    (folder / "summary.json").write_text(summary.to_text())
    return folder


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    """A folder as `compare --against middle` leaves it."""
    for label, (kbps, stoi) in SYSTEMS.items():
        write(tmp_path / "compared" / label, kbps, stoi, "audiocodec compare --reference sets/dev -d compared")
    (tmp_path / "compared/RESULTS.md").write_text("# Results\n")
    (tmp_path / "compared/comparison.json").write_text('{"against": "middle"}\n')
    return tmp_path / "compared"


@pytest.mark.parametrize("named", ["", "/*", "/*/", "/*/summary.json", "/*/*.json*"])
def test_what_compare_leaves_is_taken_in_any_way_one_names_it(compared: Path, tmp_path: Path, named: str) -> None:
    words = sorted(glob.glob(f"{compared}{named}"))
    assert main(["report", *words, "-o", str(tmp_path / "r.html"), "--quiet"]) == 0
    text = (tmp_path / "r.html").read_text()
    table = re.search(r'<section id="scores">.*?</section>', text, re.DOTALL)
    assert table and re.findall(r'<th scope="row" data-value="(\w+)"', table[0]) == ["cheap", "middle", "like", "loud"]
    assert "<caption>Difference from middle</caption>" in text  # as compare was told
    subtitle = re.search(
        r'<p class="id">6 utterances of sets/dev; scored \d{4}-\d\d-\d\d; report [0-9a-f]{16}</p>', text
    )
    assert subtitle


def test_against_can_be_another_and_is_forgotten_where_it_is_not_among_them(compared: Path, tmp_path: Path) -> None:
    base = audiocodec.report(compared, tmp_path / "a.html", against="loud").base
    assert base is not None and base.label == "loud"
    base = audiocodec.report([compared / "loud", compared / "cheap"], tmp_path / "b.html").base
    assert base is not None and base.label == "cheap"  # the first codec
    names = ["one", "two", "three", "four"]  # in the order of the folders: cheap, like, loud, middle
    base = audiocodec.report(compared, tmp_path / "c.html", names=names).base
    assert base is not None and base.label == "four"


def test_what_is_no_evaluation_is_refused(compared: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="notes.txt: not a folder that"):
        audiocodec.report([compared, tmp_path / "notes.txt"], tmp_path / "r.html")
    with pytest.raises(UsageError, match="lies beside evaluations"):
        audiocodec.report(compared / "RESULTS.md", tmp_path / "r.html")
    (compared / "late").mkdir()
    (compared / "late/rows.jsonl.partial").write_text("")
    with pytest.raises(AudioCodecError, match="late: the evaluation is not finished"):
        audiocodec.report(compared, tmp_path / "r.html")
    (compared / "late/rows.jsonl.partial").unlink()
    (compared / "comparison.json").write_text('{"against": 3}')
    with pytest.raises(AudioCodecError, match="comparison.json: `against` must be a text, got 3"):
        audiocodec.report(compared, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_an_evaluation_is_called_by_its_model(tmp_path: Path) -> None:
    scores = [
        write(tmp_path / place / "scores", 1.2, 0.5, codecs=[fingerprint])
        for place, fingerprint in (("a", FINGERPRINTS["speech_24k"]), ("b", FINGERPRINTS["speech_24k_residual"]))
    ]
    unknown = write(tmp_path / "mine", 2.0, 0.5, codecs=["0" * 16])
    found = audiocodec.report([*scores, unknown], tmp_path / "r.html").systems
    assert [system.label for system in found] == ["speech_24k", "speech_24k_residual", "mine"]
    twice = write(tmp_path / "c" / "again", 1.2, 0.5, codecs=[FINGERPRINTS["speech_24k"]])
    found = audiocodec.report([scores[0], twice], tmp_path / "s.html").systems
    assert [system.label for system in found] == ["scores", "again"]  # one name for two would say nothing


def coded(label: str, kbps: float | None, stoi: float, ground_truth: bool = False) -> System:
    found = rows(kbps, stoi)
    if ground_truth:
        found = [Row(row.id, values=row.values, reference=row.id, estimate=row.id) for row in found]
    measures = ["stoi"] if kbps is None else ["stoi", "kbps_payload"]
    return System(label, {row.id: row for row in found}, summarize(found, measures))


def test_only_codecs_of_about_the_bitrate_or_less_are_rivals() -> None:
    systems = [coded(label, *facts) for label, facts in SYSTEMS.items()]
    assert ranking.rank(systems, STOI).marks == {"loud": "front", "cheap": "front", "middle": "front"}
    dear = coded("dear", 24.0, 0.85)  # worse than `loud`, which costs half
    assert "dear" not in ranking.rank([*systems, dear], STOI).marks
    same = coded("same", 24.0, 0.9)
    assert ranking.rank([*systems, same], STOI).marks["same"] in ("front", "tie")
    unknown = coded("unknown", None, 0.1)  # of no bitrate: nobody to compare it with
    assert "unknown" not in ranking.rank([*systems, unknown], STOI).marks
    assert ranking.rank(systems, KBPS).marks == {}


def test_a_line_far_from_the_codecs_does_not_squeeze_them() -> None:
    systems = [coded("a", 1.0, 0.50), coded("b", 2.0, 0.60)]
    picture = scatter.scatter([*systems, coded("truth", None, 4.6, ground_truth=True)], STOI)
    heights = [float(y) for y in re.findall(r'<circle class="c\d" cx="[\d.]+" cy="([\d.]+)"', picture)]
    assert abs(heights[0] - heights[1]) > 0.5 * (276 - 26)  # of the height of the plot
    assert "truth, not coded: 4.603, above" in picture  # the mean of 4.600 to 4.605, rounded
    near = scatter.scatter([*systems, coded("truth", None, 0.61, ground_truth=True)], STOI)
    assert ">truth, not coded<" in near and axes.WIDTH == 440
