"""Train the rows that were asked for, then write tables and plots of all that are there."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from collapse.outcomes import Outcome, read_outcomes
from collapse.plots import draw
from collapse.rows import Run, StudyError, choose, read_rows
from collapse.tables import page
from collapse.training import AUTOENCODER, EVAL, FAILED, Data, Trainer

INTERRUPTED = 130


def main() -> int:
    """Run the study; 1 when a run failed, 2 when what was asked for makes no sense."""
    args = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        rows = read_rows(Path("conf/rows.tsv"))
        runs = choose(rows, args.rows, args.sizes)
    except StudyError as error:
        print(f"run.sh: {error}", file=sys.stderr)
        return 2
    exp = Path("exp") / args.profile
    data = Data(args.train_data, args.dev_data, args.test_data, args.usage_data)
    trainer = Trainer(Path("conf") / f"{args.profile}.yaml", exp, data, args.jobs)
    try:
        if not trainer.autoencoder() and not trainer.stopping:
            reason = (exp / AUTOENCODER / FAILED).read_text(encoding="utf-8")
            print(f"run.sh: the autoencoder could not be trained: {reason}", file=sys.stderr)
            return 1
        well = _train(trainer, runs, args.jobs)
    except KeyboardInterrupt:
        print("run.sh: stopped; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    outcomes = read_outcomes(rows, exp)
    text = page(args.command, _facts(outcomes, exp, data), outcomes, draw(outcomes, exp))
    (exp / "RESULTS.md").write_text(text, encoding="utf-8")
    print(text, end="")
    return 0 if well else 1


def _train(trainer: Trainer, runs: list[Run], jobs: int) -> bool:
    """Do all runs; whether all went well."""
    begun = time.monotonic()

    def one(numbered: tuple[int, Run]) -> bool:
        well = trainer.run(numbered[1])
        state = "finished" if well else "stopped" if trainer.stopping else "could not run"
        minutes = (time.monotonic() - begun) / 60
        print(f"{numbered[0]} of {len(runs)}: {numbered[1].name}: {state}, {minutes:.1f} min", file=sys.stderr)
        return well

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(one, numbered) for numbered in enumerate(runs, 1)]
        try:
            results = [future.result() for future in futures]
        except KeyboardInterrupt:
            trainer.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return all(results)


def _facts(outcomes: list[Outcome], exp: Path, data: Data) -> list[str]:
    """What the numbers were made with."""
    from audiocodec.config.load import load_config
    from audiocodec.data.manifest import read_folder
    from audiocodec.evaluation.summary_file import read_summary

    facts = []
    done = [exp / o.run.name for o in outcomes if not o.reason and not o.run.row.from_scratch]
    if done:
        config = load_config(done[0] / "config.yaml")
        t, warmup = config.train, load_config(exp / AUTOENCODER / "config.yaml").train.steps
        facts.append(
            f"rows of tables 1 to 4: {t.steps:,} steps of {t.batch_size} x {config.data.segment_seconds:g} s with the quantizer, from one "
            f"autoencoder trained for {warmup:,}; {config.frame_rate:g} frames a second, seed {config.seed}"
        )
        versions = [read_summary(folder / EVAL).versions for folder in done]
        for name in ("commit", "torch", "machine"):
            facts.append(f"{name}: {', '.join(dict.fromkeys(v[name] for v in versions if name in v))}")
    for name in ("train", "dev", "test", "usage"):
        folder = getattr(data, name)
        utterances = read_folder(folder)
        facts.append(f"{name}: {folder.name}, {len(utterances)} utterances")
    return facts


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    for name in ("profile", "rows", "sizes", "command"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("train", "dev", "test", "usage"):
        parser.add_argument(f"--{name}-data", type=Path, required=True)
    parser.add_argument("--jobs", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
