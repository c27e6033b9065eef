"""`audiocodec make-data`: a data folder (wav.scp, utt2spk, utt2num_samples) from a folder of audio, or from a list."""

from __future__ import annotations

import argparse
from pathlib import Path

from audiocodec.cli import arguments
from audiocodec.cli.console import say
from audiocodec.data.corpus import TooShort, make_folder, split
from audiocodec.data.manifest import Utterance, write_folder
from audiocodec.errors import ManifestError

EXAMPLE = "audiocodec make-data recordings data/all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "audio", metavar="AUDIO", help="folder of audio, searched recursively; or a wav.scp, with what lies beside it"
    )
    parser.add_argument("out", metavar="OUT", help="data folder to write; with --split OUT/{all,train,dev,test}")
    parser.add_argument(
        "--speaker-level",
        type=arguments.count,
        default=1,
        metavar="N",
        help="which folder below AUDIO names the speaker, 0: none",
    )
    parser.add_argument(
        "--min-seconds", type=arguments.seconds, default=0.0, metavar="S", help="leave out shorter recordings"
    )
    parser.add_argument("--split", action="store_true", help="divide into train, dev and test by a hash of the ids")
    parser.add_argument("--dev-share", type=arguments.share, default=0.05, metavar="SHARE", help="default: %(default)s")
    parser.add_argument(
        "--test-share", type=arguments.share, default=0.05, metavar="SHARE", help="default: %(default)s"
    )
    parser.add_argument("--by-speaker", action="store_true", help="keep all recordings of a speaker in one part")
    parser.add_argument("--skip-bad", action="store_true", help="exit status 0 although files cannot be used")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands found in wav.scp")


def run(args: argparse.Namespace) -> int:
    """Make the folders; returns 1 when files had to be left out."""
    out = Path(args.out)
    whole = out / "all" if args.split else out
    utterances, left_out = make_folder(
        args.audio,
        whole,
        speaker_level=args.speaker_level,
        min_seconds=args.min_seconds,
        allow_pipes=args.allow_pipes,
    )
    bad = [problem for problem in left_out if not isinstance(problem, TooShort)]
    for problem in bad:
        say(f"audiocodec: error: left out: {problem}")
    if short := len(left_out) - len(bad):
        say(f"audiocodec: left out: {short} shorter than {args.min_seconds:g} s")
    _report(whole, utterances)
    if args.split:
        parts = split(utterances, args.dev_share, args.test_share, args.by_speaker)
        for name, part in parts.items():
            if not part:
                raise ManifestError(f"{out / name}: nothing left for it; more recordings or other shares are needed")
        for name, part in parts.items():
            write_folder(part, out / name)
            _report(out / name, part)
    return 1 if bad and not args.skip_bad else 0


def _report(folder: Path, utterances: list[Utterance]) -> None:
    speakers = len({u.speaker for u in utterances})
    say(f"audiocodec: {folder}: {len(utterances)} utterances, {speakers} speakers")
