"""`audiocodec validate-data`: check data folders before hours are spent on them."""

from __future__ import annotations

import argparse
import json

from audiocodec.cli.console import say
from audiocodec.data.validation import BadAudio, validate

EXAMPLE = "audiocodec validate-data data/all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="folder with wav.scp, utt2spk, utt2num_samples")
    parser.add_argument("--deep", action="store_true", help="decode every file to its end instead of reading headers")
    parser.add_argument(
        "--allow-pipes", action="store_true", help="accept commands in wav.scp (and run them with --deep)"
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="list bad audio, but with exit status 0; as data.skip_bad"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON per problem on stdout")


def run(args: argparse.Namespace) -> int:
    """Check every folder; returns 1 when one has a problem that counts."""
    found = 0
    for folder in args.folders:
        problems = validate(folder, args.deep, args.allow_pipes)
        found += sum(not (args.skip_bad and isinstance(problem, BadAudio)) for problem in problems)
        for problem in problems:
            say(f"audiocodec: error: {folder}: {problem}")
            if args.json:
                print(json.dumps({"folder": folder, "where": problem.where, "problem": problem.message}))
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}" if problems else "valid"
        say(f"audiocodec: {folder}: {count}")
    return 1 if found else 0
