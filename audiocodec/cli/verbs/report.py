"""`audiocodec report`: one HTML file about finished evaluations, to read and to listen to."""

from __future__ import annotations

import argparse
import os

from audiocodec.cli import arguments
from audiocodec.cli.console import say
from audiocodec.errors import ReportError, UsageError

EXAMPLE = "audiocodec report compared -o report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "eval_dirs",
        nargs="+",
        metavar="EVAL_DIR",
        help="folders that `evaluate` wrote, one per system, or the folder that `compare` wrote",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the page, report.html for instance")
    parser.add_argument("--name", nargs="+", default=[], metavar="LABEL", help="what to call the systems, one for each")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--examples", type=arguments.count, default=6, metavar="N", help="utterances to listen to (default: 6)"
    )
    which.add_argument("--utterances", type=_ids, default=[], metavar="ID,...", help="instead, exactly these")
    parser.add_argument("--ratings", nargs="+", default=[], metavar="FILE", help="downloads of the page's blind tests")
    parser.add_argument(
        "--versa",
        nargs="+",
        default=[],
        metavar="LABEL=FILE",
        help="scores that VERSA wrote about systems; of a single one, FILE will do",
    )
    parser.add_argument(
        "--against",
        metavar="LABEL",
        help="differences are from this system (default: that of `compare --against`, else the first codec)",
    )
    parser.add_argument("--title", default="Codec evaluation", help="of the page (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    parser.add_argument("--quiet", action="store_true", help="only errors on stderr")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands that stand for audio files")


def run(args: argparse.Namespace) -> int:
    """Write the report."""
    from audiocodec.reporting.write import report

    try:
        content = report(
            args.eval_dirs,
            args.output,
            names=args.name,
            examples=args.examples,
            utterances=args.utterances,
            ratings=args.ratings,
            versa=args.versa,
            against=args.against,
            title=args.title,
            force=args.force,
            allow_pipes=args.allow_pipes,
        )
    except ReportError as error:
        raise UsageError(str(error)) from None
    if not args.quiet:
        if content.silence and args.examples:
            say(f"audiocodec: {content.silence}")
        size = os.path.getsize(args.output) / 1e6
        heard = f"{len(content.systems)} systems, {len(content.examples)} utterances to listen to"
        say(f"audiocodec: wrote {args.output} ({size:.1f} MB, {heard})")
    return 0


def _ids(text: str) -> list[str]:
    ids = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not ids:
        raise argparse.ArgumentTypeError("names no utterance")
    return ids
