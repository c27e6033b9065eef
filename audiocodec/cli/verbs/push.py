"""`audiocodec push`: a model to a repository on a hub, as one folder for `audiocodec.load` and transformers."""

from __future__ import annotations

import argparse

from audiocodec.cli import arguments
from audiocodec.cli.console import say, show
from audiocodec.hub import checked

EXAMPLE = "audiocodec push exp/first org/my-codec --license apache-2.0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Upload a model to a repository on a hub, as one commit: weights, configuration, card, and the prior and the "
        "discriminators beside it, where there are such. Log in before with `hf auth login`, or set HF_TOKEN."
    )
    parser.add_argument("model", metavar="EXP", help="experiment folder (its newest checkpoint), or what -m takes")
    parser.add_argument("repository", metavar="ORG/NAME", help="is made where it is not there; ORG/NAME@BRANCH")
    parser.add_argument("--license", default="unknown", help="such as apache-2.0 (default: unknown)")
    parser.add_argument("--tags", type=arguments.words, default=(), metavar="TAG,...", help="more for the page")
    parser.add_argument("--card", metavar="FILE", help="Markdown for the page (default: CARD.md of EXP, if any)")
    parser.add_argument("--private", action="store_true", help="a new repository is for you only")
    parser.add_argument("--message", help="of the commit (default: the fingerprint of the model)")


def run(args: argparse.Namespace) -> int:
    """Upload; what the hub says is the address of the commit."""
    checked(args.repository)  # before weights are read
    from audiocodec.publishing import push

    address = push(
        args.model,
        args.repository,
        license=args.license,
        tags=args.tags,
        card=args.card,
        private=args.private,
        message=args.message,
    )
    say(f"audiocodec: {args.model} is at")
    show(address)
    return 0
