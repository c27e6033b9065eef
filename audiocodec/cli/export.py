"""`audiocodec export`: a model file to give away, from a training run or another model file."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace

from audiocodec import checkpoint
from audiocodec.cli.usage import UsageError
from audiocodec.config.load import config_from_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help="experiment folder (its newest checkpoint), checkpoint or model")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the model file, .safetensors")
    parser.add_argument("--half", action="store_true", help="16-bit weights: half the size, another fingerprint")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")


def run(args: argparse.Namespace) -> int:
    """Write the averaged weights for inference; where the training data lay is not written down."""
    if os.path.exists(args.output) and not args.force:
        raise UsageError(f"{args.output} already exists; --force overwrites it")
    described = checkpoint.describe(args.model)
    config = config_from_text(described["config"], f"{described['path']} (header)")
    codec = checkpoint.load(args.model)
    public = replace(config, data=replace(config.data, train="", valid=""))
    checkpoint.save(codec, public, args.output, half=args.half, notes=described["notes"])
    made = checkpoint.describe(args.output)
    print(f"audiocodec: {args.output}: {made['bytes']:,} bytes, fingerprint {made['fingerprint']}", file=sys.stderr)
    return 0
