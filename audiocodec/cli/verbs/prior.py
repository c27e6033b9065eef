"""`audiocodec prior`: train a prior, with which token files of a model can be compressed."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import Any

from audiocodec.cli import arguments
from audiocodec.errors import UsageError

EXAMPLE = "audiocodec prior tokens -o prior.safetensors --valid tokens_of_others"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "tokens", metavar="TOKENS", help="data set of tokens to learn from, made by audiocodec tokenize"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the prior, a .safetensors file")
    arguments.add_model(parser, "the model that made the tokens")
    parser.add_argument(
        "--valid", metavar="TOKENS", help="data set of other speakers: measure the bits it takes at the end"
    )
    parser.add_argument(
        "--init-from", type=Path, metavar="FILE", help="begin with this prior, of an earlier state of the model, say"
    )
    parser.add_argument("--minutes", type=arguments.minutes, default=20.0, help="time to train (default: 20)")
    parser.add_argument("--channels", type=arguments.positive, default=192, help="width of the network (default: 192)")
    parser.add_argument("--hidden", type=arguments.positive, default=256, help="width of its heads (default: 256)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order (default: 0)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")


def run(args: argparse.Namespace) -> int:
    """Train and write; returns the exit status."""
    output = Path(args.output)
    if output.suffix != ".safetensors":
        raise UsageError(f"{output}: a prior is a .safetensors file")
    arguments.refuse_existing([args.output], args.force)
    for folder in (args.tokens, args.valid):
        if folder is not None and not Path(folder).is_dir():
            raise UsageError(f"{folder}: no such folder")
    from audiocodec.prior.training import PriorSettings, train_prior

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    settings = PriorSettings(
        channels=args.channels,
        hidden=args.hidden,
        minutes=args.minutes,
        seed=args.seed,
        device=args.device,
        init_from=args.init_from,
    )
    valid = None if args.valid is None else Path(args.valid)
    prior, score = train_prior(args.model, Path(args.tokens), settings, valid)
    output.parent.mkdir(parents=True, exist_ok=True)
    prior.save(output)
    report: dict[str, Any] = {"prior": str(output), "fingerprint": prior.fingerprint.hex(), "codec": prior.config.codec}
    if score is not None:
        report |= {**dataclasses.asdict(score), "share": score.share}
    print(json.dumps(report))
    return 0
