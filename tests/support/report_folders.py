"""Folders of finished evaluations for the tests of the report, and the report of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.audio import io
from audiocodec.cli.main import main
from audiocodec.evaluation.catalogue import MEASURES
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary import summarize
from audiocodec.reporting.systems import System
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
    return System(label, {row.id: row for row in rows}, summarize(rows, ["stoi"]))


def write_evaluations(root: Path) -> None:
    """`ref`, and two evaluations of it, `eval/good` (with token files) and `eval/bad` (one utterance failed)."""
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
        write_evaluation(root / "eval" / label, rows, ["stoi", "mel_distance"])


def report(root: Path, page: Path, *options: str) -> int:
    folders = [str(root / "eval/good"), str(root / "eval/bad")]
    return main(["report", *folders, "-o", str(page), "--quiet", "--force", "--name", "good", "bad", *options])


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def write_evaluation(folder: Path, rows: Sequence[Row], measures: Sequence[str] = ("stoi",)) -> Path:
    """A folder as `evaluate` leaves it."""
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text("".join(row.to_json() + "\n" for row in rows))
    (folder / "summary.json").write_text(
        summarize(rows, measures, command=f"audiocodec evaluate {folder.name}").to_text()
    )
    return folder
