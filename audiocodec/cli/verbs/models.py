"""`audiocodec models`: the models in the package and in the user's folder, without torch and without the weights."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from audiocodec import model_places, models
from audiocodec.cli.align import align
from audiocodec.errors import AudioCodecError
from audiocodec.model_header import ModelHeader

EXAMPLE = "audiocodec models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "The models in the package and in the folder that AUDIOCODEC_MODELS names (default: "
        f"{model_places.folder()}), by the names that -m takes. decode finds the right one of them by itself."
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON per model")


def run(args: argparse.Namespace) -> int:
    """List them; returns 1 when one cannot be read."""
    rows, failed = [], 0
    for name, header in models.at_hand().items():
        try:
            if isinstance(header, AudioCodecError):
                raise header
            rows.append(_facts(name, header))
        except AudioCodecError as error:
            failed += 1
            print(f"audiocodec: error: {error}", file=sys.stderr)
    if args.json:
        for row in rows:
            print(json.dumps(row))
    elif rows:
        heads = ["name", "fingerprint", "Hz", "kbps", "codebooks", "MB"]
        print(align([heads, *map(_cells, rows)], right=[2, 3, 4, 5]))
    else:
        print(f"audiocodec: no models in the package or in {model_places.folder()}", file=sys.stderr)
    return 1 if failed else 0


def _facts(name: str, header: ModelHeader) -> dict[str, Any]:
    config = header.config
    return {
        "name": name,
        "fingerprint": header.fingerprint,
        "sample_rate": config.sample_rate,
        "channels": config.channels,
        "kbps": config.bitrate_bps / 1000,
        "num_codebooks": config.quantizer.num_codebooks,
        "codebook_size": config.quantizer.codebook_size,
        "bytes": header.bytes,
        "path": header.path,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    codebooks = f"{row['num_codebooks']} x {row['codebook_size']:,}"
    size = f"{row['bytes'] / 1e6:.1f}"
    return [row["name"], row["fingerprint"], f"{row['sample_rate']:,}", f"{row['kbps']:g}", codebooks, size]
