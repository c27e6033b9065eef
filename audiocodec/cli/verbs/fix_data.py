"""`audiocodec fix-data`: put a data folder in order, as Kaldi's fix_data_dir.sh does."""

from __future__ import annotations

import argparse

from audiocodec.cli.console import say
from audiocodec.data.repair import BACKUP, fix

EXAMPLE = "audiocodec fix-data data/train"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "folders", nargs="+", metavar="FOLDER", help=f"put in order; tables that change are kept in FOLDER/{BACKUP}"
    )
    parser.add_argument("--skip-bad", action="store_true", help="drop utterances whose audio cannot be used, too")
    parser.add_argument("--deep", action="store_true", help="the same, and decode every file to its end")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands found in wav.scp")


def run(args: argparse.Namespace) -> int:
    """Put every folder in order; what is dropped is listed."""
    for folder in args.folders:
        done = fix(folder, check_audio=args.skip_bad or args.deep, deep=args.deep, allow_pipes=args.allow_pipes)
        for problem in done.dropped:
            say(f"audiocodec: {folder}: dropped: {problem}")
        changed = f"wrote {', '.join(done.changed)}" if done.changed else "nothing to change"
        say(f"audiocodec: {folder}: {done.utterances} utterances; {changed}")
    return 0
