"""The option that chooses between torch and onnxruntime."""

from __future__ import annotations

import argparse

from audiocodec.loading import AUTO, PACKAGES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--runtime`."""
    parser.add_argument(
        "--runtime", choices=(AUTO, *PACKAGES), default=AUTO, help="default: torch where it is installed, else onnx"
    )
