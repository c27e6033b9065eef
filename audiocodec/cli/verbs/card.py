"""`audiocodec card`: the card of a trained model, from its run and its evaluations."""

from __future__ import annotations

import argparse
import importlib.util
import os
from pathlib import Path

from audiocodec.cli import arguments
from audiocodec.errors import UsageError
from audiocodec.files import replacing, write_text
from audiocodec.installing import advice

EXAMPLE = "audiocodec card exp/first -o CARD.md --evaluation clean=scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("experiment", metavar="EXP", help="experiment folder that audiocodec train wrote")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the card, .md")
    parser.add_argument(
        "-m", "--model", action=arguments.Once, help="the file it is about (default: the newest checkpoint of EXP)"
    )
    parser.add_argument("--title", help="its first line (default: the name of the configuration)")
    parser.add_argument(
        "--evaluation",
        action="append",
        default=[],
        type=_labelled,
        metavar="NAME=DIR",
        help="a row of the table of scores: a folder that audiocodec evaluate wrote about the model; repeatable",
    )
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        type=_labelled,
        metavar="NAME=DIR",
        help="a row about another codec on the same audio: a folder in what audiocodec compare wrote; repeatable",
    )
    parser.add_argument("--anchor", action=arguments.Renamed, const="--baseline")
    parser.add_argument("--about", metavar="FILE", help="Markdown to put below: known failures, audio, licences")
    parser.add_argument("--picture", metavar="FILE", help="draw the training log there, .png, and show it in the card")
    parser.add_argument("--force", action="store_true", help="overwrite")


def run(args: argparse.Namespace) -> int:
    """Write the card, and the picture where one is asked for."""
    arguments.refuse_existing([path for path in (args.output, args.picture) if path], args.force)
    labels = [label for label, _ in args.evaluation + args.baseline]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise UsageError(f"two rows are called {twice[0]!r}")
    if args.picture and not args.picture.endswith(".png"):
        raise UsageError(f"{args.picture}: the picture is a PNG; give it a name that ends in .png")
    for module in ("matplotlib", "tensorboard") if args.picture else ():
        if importlib.util.find_spec(module) is None:
            raise UsageError(f"--picture needs {module}; {advice('train')}, or leave it out")
    from audiocodec.model_file import describe
    from audiocodec.reporting import card
    from audiocodec.reporting.plots import training as training_picture

    try:
        about = Path(args.about).read_text(encoding="utf-8") if args.about else ""
    except UnicodeDecodeError as error:
        raise UsageError(f"{args.about}: not UTF-8 text (byte {error.start}: {error.reason})") from None
    model, experiment = Path(args.model or args.experiment), Path(args.experiment)
    title = args.title or describe(model).config.name
    link = os.path.relpath(args.picture, os.path.dirname(args.output) or os.curdir) if args.picture else None
    text = card.card(title, model, experiment, dict(args.evaluation), dict(args.baseline), about, link)
    if args.picture:
        curves = training_picture.read_scalars(experiment / "tensorboard")
        with replacing(args.picture) as temporary:
            training_picture.draw(curves, temporary)
    write_text(args.output, text)
    return 0


def _labelled(text: str) -> tuple[str, Path]:
    label, found, folder = text.partition("=")
    if not (label and found and folder) or "|" in label:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR, NAME without |")
    return label, Path(folder)
