"""`audiocodec evaluate`: score reconstructions, or a model, against references; make a results page."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocodec.cli import batch, scoring, tables
from audiocodec.cli.usage import UsageError

if TYPE_CHECKING:
    from audiocodec.evaluation.model_facts import ModelFacts
    from audiocodec.evaluation.pairing import Entry
    from audiocodec.evaluation.rows import Row

Prepared = tuple["list[Entry]", tuple[str, ...], "ModelFacts | None"]  # what to score, files of timings, the model
_OPTIONS_OF = {
    "--estimate": ("tokens", "timings", "made_by"),
    "--model": ("device", "threads", "num_codebooks"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--reference", metavar="PATH", help="originals: folder of audio, data folder or wav.scp")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--estimate", metavar="PATH", help="reconstructions, named as the references but for extensions")
    what.add_argument("-m", "--model", help="encode to OUT/tokens and decode to OUT/wav with this model, then score")
    what.add_argument("--results-md", metavar="FILE", help="write a results page about finished EVAL_DIRs instead")
    parser.add_argument("-d", "--output-dir", metavar="OUT", help="folder for rows.jsonl and summary.json")
    parser.add_argument("--tokens", metavar="DIR", help="token files of the estimates: bitrate and codebook use")
    parser.add_argument("--made-by", metavar="MODEL", help="with --tokens: their model: effective dimension, latency")
    parser.add_argument("--timings", nargs="+", default=[], metavar="FILE", help="output of encode and decode --json")
    what.add_argument("--list-metrics", action="store_true", help="say what can be scored, and stop")
    scoring.add_arguments(parser, "evaluation")
    parser.add_argument("--per-file", action="store_true", help="print a line per utterance before the summary")
    parser.add_argument("--num-codebooks", type=batch.positive, metavar="N", help="with -m: only the first N codebooks")
    parser.add_argument(
        "--results-command", default="", metavar="TEXT", help="with --results-md: what the page opens with"
    )
    parser.add_argument("eval_dirs", nargs="*", metavar="EVAL_DIR", help="with --results-md: folders to report")


def run(args: argparse.Namespace) -> int:
    """Evaluate; returns 1 when something has no score."""
    if args.list_metrics:
        print(tables.metrics())
        return 0
    if args.results_md is not None:
        return _write_results(args)
    _check_usage(args)
    from audiocodec.evaluation.catalogue import DEFAULT, missing_libraries

    args.metrics = args.metrics or DEFAULT
    if problems := missing_libraries(args.metrics):
        raise UsageError(f"{'; '.join(problems)}, or leave it out of --metrics")
    groups = scoring.groups_of(args)
    entries, timings, model = (_code if args.model is not None else _pair)(args)
    rows, summary = _score(args, entries, timings, groups, model)
    _report(args, rows, summary)
    return 1 if summary["n_rows_with_failures"] else 0


def _check_usage(args: argparse.Namespace) -> None:
    """Everything that can be refused before any work."""
    if args.reference is None or args.output_dir is None:
        raise UsageError("evaluate needs --reference PATH and -d OUT (or --results-md FILE EVAL_DIR...)")
    if args.estimate is None and args.model is None:
        raise UsageError("say --estimate PATH to score what is there, or -m MODEL to code the references first")
    if args.eval_dirs or args.results_command:
        raise UsageError(f"only --results-md takes {args.eval_dirs[0] if args.eval_dirs else '--results-command'}")
    other = "--model" if args.estimate is not None else "--estimate"
    for name in _OPTIONS_OF[other]:
        if getattr(args, name) not in (None, [], "auto"):
            raise UsageError(f"--{name.replace('_', '-')} goes with {other}")
    if args.made_by is not None and args.tokens is None:
        raise UsageError("--made-by MODEL needs --tokens DIR: the token files that it made")
    if args.table is not None and not args.by:
        raise UsageError("--table needs --by LIST: the columns to break scores down by")
    for path in (args.reference, args.estimate, args.tokens, args.table, *args.timings):
        if path is not None and not os.path.exists(path):
            raise UsageError(f"{path}: No such file or directory")
    _refuse_existing(args)


def _refuse_existing(args: argparse.Namespace) -> None:
    from audiocodec.evaluation.rows import FINISHED, GROWING, SUMMARY
    from audiocodec.evaluation.systems.model import TIMINGS

    names = (FINISHED, GROWING, SUMMARY, *([TIMINGS] if args.model is not None else []))
    there = [name for name in names if (Path(args.output_dir) / name).exists()]
    if there and not args.force and not args.resume:
        raise UsageError(
            f"{Path(args.output_dir) / there[0]} already exists; --force overwrites, --resume keeps what is finished"
        )
    inside = os.path.join(os.path.realpath(args.reference), "")
    if args.model is not None and (os.path.realpath(args.output_dir) + os.sep).startswith(inside):
        raise UsageError(f"{args.output_dir} is inside {args.reference}: its audio would count as references")


def _pair(args: argparse.Namespace) -> Prepared:
    """What is there to score."""
    from audiocodec.evaluation.pairing import pair

    entries = pair(args.reference, args.estimate, args.tokens, args.allow_pipes)
    model = None
    if args.made_by is not None:
        model = batch.Model(argparse.Namespace(**{**vars(args), "model": args.made_by})).facts
        model.check(entries)
    return entries, tuple(args.timings), model


def _code(args: argparse.Namespace) -> Prepared:
    """Make what there is to score."""
    from audiocodec.evaluation.pairing import list_audio
    from audiocodec.evaluation.rows import reopen
    from audiocodec.evaluation.systems.model import TIMINGS, reconstruct

    references = list_audio(args.reference, args.allow_pipes)
    model = batch.Model(args)
    codec = model.codec
    reopen(Path(args.output_dir), keep=args.resume)
    with scoring.progress_bar(len(references), "coding", args.quiet) as advance:
        entries = reconstruct(
            codec, references, args.output_dir, args.num_codebooks, args.resume, args.allow_pipes, advance
        )
    return entries, (str(Path(args.output_dir) / TIMINGS),), model.facts


def _score(
    args: argparse.Namespace,
    entries: list[Entry],
    timings: tuple[str, ...],
    groups: dict[str, dict[str, str]],
    model: ModelFacts | None,
) -> tuple[list[Row], dict[str, Any]]:
    from audiocodec.evaluation.run import Options, evaluate

    options = Options(
        metrics=args.metrics,
        jobs=args.jobs or scoring.cpus(),
        bitrate=args.model is not None or args.tokens is not None,
        timings=timings,
        resume=args.resume,
        allow_pipes=args.allow_pipes,
        command=_command(args),
        model=model,
        groups=groups,
    )
    with scoring.progress_bar(len(entries), "scoring", args.quiet) as advance:
        return evaluate(entries, args.output_dir, options, advance)


def _report(args: argparse.Namespace, rows: list[Row], summary: dict[str, Any]) -> None:
    scoring.say_failures(rows, summary)
    if args.json:
        print(json.dumps(summary, allow_nan=False))
        return
    if args.per_file:
        print(tables.per_file(rows, summary), end="\n\n")
    print(tables.overall(summary))


def _write_results(args: argparse.Namespace) -> int:
    from audiocodec.evaluation.results import write_results_md

    if not args.eval_dirs:
        raise UsageError("--results-md needs the folders to report: evaluate --results-md FILE EVAL_DIR...")
    if args.reference is not None or args.output_dir is not None:
        raise UsageError("--results-md only reports finished evaluations; leave --reference and -d out")
    write_results_md(args.eval_dirs, args.results_command, args.results_md)
    if not args.quiet:
        print(f"audiocodec: wrote {args.results_md}", file=sys.stderr)
    return 0


def _command(args: argparse.Namespace) -> str:
    """The command as one would type it, without what does not change the numbers."""
    words = ["audiocodec", "evaluate", "--reference", args.reference, "-d", args.output_dir]
    for name in ("estimate", "model", "tokens", "made_by", "threads", "num_codebooks"):
        if (value := getattr(args, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if args.timings:
        words += ["--timings", *args.timings]
    if args.by:
        words += ["--by", ",".join(args.by), *(["--table", args.table] if args.table else [])]
    if not all(metric.default for metric in args.metrics):
        words += ["--metrics", ",".join(metric.word for metric in args.metrics)]
    return shlex.join(words)
