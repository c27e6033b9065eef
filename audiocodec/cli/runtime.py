"""Which runtime encodes and decodes: torch, or onnxruntime where torch is not installed or not wanted."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from audiocodec.cli.usage import UsageError
from audiocodec.codec.interface import BlockCodec
from audiocodec.onnx import folder

PACKAGES = {"torch": "torch", "onnx": "onnxruntime"}  # what each runtime imports


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--runtime`."""
    parser.add_argument(
        "--runtime", choices=("auto", *PACKAGES), default="auto", help="default: torch where it is installed, else onnx"
    )


def choose(asked: str, model: str | None) -> str:
    """`torch` or `onnx`.

    Args:
        asked: the option's value.
        model: the option `--model`: an exported folder is for onnxruntime.

    Raises:
        UsageError: what was asked for is not installed or cannot read the model.
    """
    exported = folder.is_folder(model)
    if asked == "torch" and exported:
        raise UsageError(f"{model}: was exported for onnxruntime; leave --runtime torch out, or name the model file")
    wanted = ["onnx"] if exported else list(PACKAGES) if asked == "auto" else [asked]
    for runtime in wanted:
        if find_spec(PACKAGES[runtime]) is not None:
            return runtime
    extras = " or ".join(f'pip install "audiocodec[{runtime}]"' for runtime in wanted)
    missing = f"{PACKAGES[wanted[0]]} is not" if len(wanted) == 1 else f"neither {' nor '.join(PACKAGES.values())} is"
    raise UsageError(f"{missing} installed; {extras}")


def load_onnx(path: str, device: str, threads: int | None, quiet: bool) -> BlockCodec:
    """The codec on onnxruntime; says on which device unless quiet.

    Raises:
        UsageError: CUDA was asked for, and this onnxruntime has none.
    """
    from audiocodec.onnx.codec import CUDA, providers
    from audiocodec.onnx.load import load

    if device == "cuda" and CUDA not in providers():
        raise UsageError("--device cuda: this onnxruntime has none; pip install onnxruntime-gpu, or use --device cpu")
    if device == "auto":
        device = "cuda" if CUDA in providers() else "cpu"
    if not quiet:
        print(f"audiocodec: model {path} on {device}, with onnxruntime{_precision(path)}", file=sys.stderr)
    return load(path, device, threads)


def _precision(path: str) -> str:
    """What an int8 model says of its tokens."""
    agreement = folder.describe(path)["token_agreement"] if folder.is_folder(path) else None
    if agreement is None:
        return ""
    return f", int8: {100 * agreement['equal']:.2f} % of {agreement['codes']:,} tokens were those of float32"
