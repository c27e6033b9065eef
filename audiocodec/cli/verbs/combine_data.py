"""`audiocodec combine-data`: several data folders as one."""

from __future__ import annotations

import argparse
import os

from audiocodec.cli.console import say
from audiocodec.data.repair import combine
from audiocodec.errors import UsageError

EXAMPLE = "audiocodec combine-data data/all data/english data/italian"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("out", metavar="OUT", help="data folder to write")
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="to join; their ids must differ")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands found in wav.scp")


def run(args: argparse.Namespace) -> int:
    """Join them."""
    if os.path.realpath(args.out) in map(os.path.realpath, args.folders):
        raise UsageError(f"{args.out} is an input as well as the output")
    utterances, left_out = combine(args.folders, args.out, args.allow_pipes)
    for name in left_out:
        say(f"audiocodec: {args.out}: without {name}, which not all of the folders have")
    speakers = len({u.speaker for u in utterances})
    say(f"audiocodec: {args.out}: {len(utterances)} utterances, {speakers} speakers")
    return 0
