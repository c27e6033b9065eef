"""`audiocodec evaluate`: score reconstructions, or a model, against references; make a results page."""

from __future__ import annotations

import argparse
import json

from audiocodec.cli import arguments, scoring, tables
from audiocodec.cli.console import say, show
from audiocodec.errors import UsageError

EXAMPLE = "audiocodec evaluate --reference recordings -m speech_24k -d scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--reference", metavar="PATH", help="originals: folder of audio, data folder or wav.scp")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--estimate", metavar="PATH", help="reconstructions, named as the references but for extensions")
    arguments.add_model(what, "encode to OUT/tokens and decode to OUT/wav with this model, then score", None)
    what.add_argument("--results-md", metavar="FILE", help="write a results page about finished EVAL_DIRs instead")
    parser.add_argument("-d", "--output-dir", metavar="OUT", help="folder for rows.jsonl and summary.json")
    parser.add_argument("--tokens", metavar="DIR", help="token files of the estimates: bitrate and codebook use")
    parser.add_argument("--made-by", metavar="MODEL", help="with --tokens: their model: effective dimension, latency")
    parser.add_argument("--timings", nargs="+", default=[], metavar="FILE", help="output of encode and decode --json")
    what.add_argument(
        "--list-metrics",
        action="store_true",
        help="say what can be scored, what runs here and how to get the rest; with --json as JSON; and stop",
    )
    scoring.add_arguments(parser, "evaluation")
    parser.add_argument(
        "--resample", action="store_true", help="bring estimates of another sample rate to that of their reference"
    )
    parser.add_argument(
        "--channel",
        type=arguments.positive,
        metavar="N",
        help="with --estimate, of files with several channels: score only this one (default: their mean)",
    )
    parser.add_argument("--per-file", action="store_true", help="print a line per utterance before the summary")
    parser.add_argument(
        "--num-codebooks", type=arguments.positive, metavar="N", help="with -m: only the first N codebooks"
    )
    parser.add_argument(
        "--results-command", default="", metavar="TEXT", help="with --results-md: what the page opens with"
    )
    parser.add_argument("eval_dirs", nargs="*", metavar="EVAL_DIR", help="with --results-md: folders to report")


def run(args: argparse.Namespace) -> int:
    """Evaluate; returns 1 when something has no score."""
    if args.list_metrics:
        show(json.dumps(tables.metrics_records(), indent=1) if args.json else tables.metrics())
        return 0
    if args.results_md is not None:
        return _write_results(args)
    if args.reference is None or args.output_dir is None:
        raise UsageError("evaluate needs --reference PATH and -d OUT (or --results-md FILE EVAL_DIR...)")
    if args.eval_dirs or args.results_command:
        raise UsageError(f"only --results-md takes {args.eval_dirs[0] if args.eval_dirs else '--results-command'}")
    from audiocodec.evaluation.evaluate import evaluate

    found = evaluate(
        args.reference,
        args.output_dir,
        estimate=args.estimate,
        model=args.model,
        num_codebooks=args.num_codebooks,
        tokens=args.tokens,
        made_by=args.made_by,
        timings=args.timings,
        resample=args.resample,
        channel=args.channel,
        **scoring.options(args),
    )
    if args.json:
        print(json.dumps(found.summary.to_json(), allow_nan=False))
        return 1 if found.summary.n_rows_with_failures else 0
    if args.per_file:
        show(tables.per_file(found.rows, found.summary), end="\n\n")
    show(tables.overall(found.summary))
    return 1 if found.summary.n_rows_with_failures else 0


def _write_results(args: argparse.Namespace) -> int:
    from audiocodec.evaluation.results import write_results_md

    if not args.eval_dirs:
        raise UsageError("--results-md needs the folders to report: evaluate --results-md FILE EVAL_DIR...")
    if args.reference is not None or args.output_dir is not None:
        raise UsageError("--results-md only reports finished evaluations; leave --reference and -d out")
    write_results_md(args.eval_dirs, args.results_command, args.results_md)
    if not args.quiet:
        say(f"audiocodec: wrote {args.results_md}")
    return 0
