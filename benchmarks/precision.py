"""Whether a run in bfloat16 ends where a run in float32 does: the same run in both, and in float32 from another seed.

Each run is `audiocodec train` from random weights, then `audiocodec evaluate` on held-out clips. What is told is the mean
difference on the same clips with its 95 % interval, of bfloat16 from float32 and, as a yardstick, of the other seed: one run is not
the same as the next in float32 either. Finished runs and scores in `--folder` are not made again, begun ones go on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from audiocodec.evaluation.catalogue import MEASURES, measures_of, select
from audiocodec.evaluation.paired import Difference, difference
from audiocodec.evaluation.rows import FINISHED, Row, read_rows
from benchmarks.cells import publish, report

CONFIG = "speech_24k"
RUNS = {"float32": ("float32", 1234), "bf16": ("bf16", 1234), "float32_seed": ("float32", 4321)}
METRICS = "pesq,stoi,mel,level"
HEADER = ("measure", "float32", "bf16", "bf16 - float32", "other seed - float32")


def main() -> None:
    """Train and score what is not there yet, and compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--train", required=True, metavar="FOLDER", help="data folder to train on")
    parser.add_argument("--valid", required=True, metavar="FOLDER", help="data folder to score")
    parser.add_argument("--folder", required=True, type=Path, help="where runs and scores are kept")
    parser.add_argument("--config", default=CONFIG, help="its name or file (%(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key; repeatable")
    parser.add_argument(
        "--steps", type=int, default=2000, help="of each run, a third without quantization (%(default)s)"
    )
    parser.add_argument("--metrics", default=METRICS, help="what to score (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the table to FILE as well")
    args = parser.parse_args()
    rows = {name: _scored(name, args) for name in RUNS}
    measures = measures_of(select(args.metrics.split(",")))
    clips = len(rows["float32"])
    notes = [f"{args.steps:,} steps each, a third of them without quantization; scored on {clips} held-out clips."]
    notes += ["Differences are means on the same clips with their 95 % intervals; of levels, without their sign."]
    table = [_line(measure, rows) for measure in measures]
    publish(report("Runs in float32 and in bfloat16", notes, HEADER, table), args.output)


def _scored(name: str, args: argparse.Namespace) -> list[Row]:
    """Rows of the evaluation of one run, made first where need be."""
    precision, seed = RUNS[name]
    exp, scores = args.folder / name, args.folder / f"{name}_scores"
    settings = {
        "data.train": args.train,
        "data.valid": "",
        "seed": seed,
        "train.precision": precision,
        "train.steps": args.steps,
        "train.warmup_autoencoder_steps": args.steps // 3,
    }
    overrides = [*(f"{key}={value}" for key, value in settings.items()), *args.set]
    words = ["train", "--config", args.config, "--exp", str(exp), "--resume", "--device", "cpu"]
    if not (scores / "summary.json").exists():
        _run([*words, *(word for override in overrides for word in ("--set", override))])
        words = ["evaluate", "-m", str(exp), "--reference", args.valid, "-d", str(scores), "--metrics", args.metrics]
        _run([*words, "--resume", "--quiet"], fine=(0, 1))  # 1: a clip has no score in some metric
    return read_rows(scores / FINISHED)


def _run(words: list[str], fine: tuple[int, ...] = (0,)) -> None:
    command = [sys.executable, "-m", "audiocodec", *words]
    status = subprocess.run(command, stdout=sys.stderr, check=False).returncode  # stdout is for the table
    if status not in fine:
        raise SystemExit(f"audiocodec {' '.join(words)} ended with status {status}")


def _line(measure: str, rows: dict[str, list[Row]]) -> list[str]:
    form = f".{MEASURES[measure].decimals}f"
    means = []
    for name in ("float32", "bf16"):
        values = [row.values[measure] for row in rows[name] if measure in row.values]
        means.append(format(sum(values) / len(values), form) if values else "-")
    found = [_told(difference(rows[name], rows["float32"], measure), form) for name in ("bf16", "float32_seed")]
    return [MEASURES[measure].heading, *means, *found]


def _told(found: Difference, form: str) -> str:
    if found.mean is None or found.interval is None:
        return "-"
    low, high = (format(bound, f"+{form}") for bound in found.interval)
    return f"{found.mean:+{form}} [{low}, {high}]"


if __name__ == "__main__":
    main()
