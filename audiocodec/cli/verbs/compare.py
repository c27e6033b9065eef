"""`audiocodec compare`: score models, classical codecs and other people's systems on the same utterances."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from audiocodec.cli import arguments, scoring, tables
from audiocodec.cli.console import say, show
from audiocodec.errors import UsageError

if TYPE_CHECKING:
    from audiocodec.evaluation.compare import Comparison

ENCODEC = "encodec"


EXAMPLE = "audiocodec compare --reference recordings -d compared -m speech_24k --against speech_24k"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--reference", required=True, metavar="PATH", help="originals: folder of audio, data folder or wav.scp"
    )
    parser.add_argument(
        "-d", "--output-dir", required=True, metavar="OUT", help="gets a folder for each system, and RESULTS.md"
    )
    parser.add_argument(
        "-m",
        "--model",
        action="append",
        default=[],
        metavar="[LABEL=]MODEL[@N]",
        help="to compare, with its first N codebooks; as often as you like",
    )
    parser.add_argument(
        "--baseline",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help=f"{_baseline_names()} (default: all but -cbr); encodec with --weights, in addition to them",
    )
    parser.add_argument("--anchor", action=arguments.Renamed, const="--baseline")
    parser.add_argument(
        "--system",
        nargs="+",
        action="extend",
        default=[],
        metavar="LABEL=FOLDER[,CODED]",
        help="reconstructions of another; CODED: folder of its coded files, or sizes.jsonl, for the bitrate",
    )
    parser.add_argument("--weights", metavar="FILE", help="encodec: its 24 kHz state dict (.th or .safetensors)")
    parser.add_argument("--against", metavar="LABEL", help="add paired differences of all the others from this system")
    parser.add_argument(
        "--resample-rate",
        type=arguments.positive,
        default=24_000,
        metavar="HZ",
        help="of resample (default: %(default)s)",
    )
    scoring.add_arguments(parser, "comparison")


def run(args: argparse.Namespace) -> int:
    """Compare; returns 1 when something has no score."""
    if (ENCODEC in args.baseline) != (args.weights is not None):
        raise UsageError("--baseline encodec and --weights FILE go together")
    from audiocodec.evaluation.compare import compare

    found = compare(
        args.reference,
        args.output_dir,
        models=args.model,
        baselines=[name for name in args.baseline if name != ENCODEC] or None,
        systems=args.system,
        encodec=args.weights,
        against=args.against,
        resample_rate=args.resample_rate,
        **scoring.options(args),
    )
    if args.json:
        print(json.dumps(_described(found, args.against), allow_nan=False))
    else:
        show(tables.side_by_side(found.summaries))
    if not args.quiet:
        say(f"audiocodec: wrote {found.page}")
    return 1 if any(summary.n_rows_with_failures for summary in found.summaries.values()) else 0


def _baseline_names() -> str:
    from audiocodec.evaluation.systems.catalogue import names

    return ", ".join(names())


def _described(found: Comparison, against: str | None) -> dict[str, Any]:
    """The summaries ready for JSON; with --against each of the others has its paired differences."""
    described = {label: summary.to_json() for label, summary in found.summaries.items()}
    for label, by_name in found.differences.items():
        measures = {name: asdict(one) for name, one in by_name.items()}
        described[label]["differences"] = {"against": against, "measures": measures}
    return described
