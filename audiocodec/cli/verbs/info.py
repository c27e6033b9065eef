"""`audiocodec info`: what a file holds, without torch and without the weights."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from audiocodec import model_file
from audiocodec.audio import io
from audiocodec.cli.jobs import STREAM, local_file
from audiocodec.errors import AudioCodecError, CheckpointError
from audiocodec.onnx import folder
from audiocodec.tokens.layout import MAGIC
from audiocodec.tokens.token_file import TokenFile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="token file, model, experiment folder or audio; - stdin"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON per file")


def run(args: argparse.Namespace) -> int:
    """Describe every path; returns 1 when one cannot be read."""
    failed = 0
    for path in args.paths or model_file.available():
        try:
            found = describe(path)
        except (AudioCodecError, OSError) as error:
            failed += 1
            text = str(error) if path in str(error) or path == "-" else f"{path}: {error}"
            print(f"audiocodec: error: {text}", file=sys.stderr)
            if args.json:
                print(json.dumps({"path": path, "error": text}))
            continue
        print(json.dumps(found) if args.json else _text(found))
    if not args.paths and not model_file.available():
        print("audiocodec: this installation holds no models", file=sys.stderr)
    return 1 if failed else 0


def describe(path: str) -> dict[str, Any]:
    """What a file holds, by its content: `path`, `kind` (tokens, model, audio) and its values."""
    if path == STREAM:
        with local_file(path, allow_pipes=False) as spooled:
            return {**describe(spooled), "path": path}
    if path in model_file.available() or os.path.isdir(path):
        return _describe_model(path)
    with open(path, "rb") as file:
        head = file.read(16)
    if head.startswith(MAGIC) or path.endswith(".act"):
        return {"path": path, "kind": "tokens", **TokenFile.read(path).describe()}
    if head[8:9] == b"{" or path.endswith(".safetensors"):
        return _describe_model(path)
    found = io.info(path)
    return {
        "path": path,
        "kind": "audio",
        "seconds": found.num_samples / found.sample_rate,
        "sample_rate": found.sample_rate,
        "channels": found.channels,
        "num_samples": found.num_samples,
    }


def _describe_model(path: str) -> dict[str, Any]:
    exported = folder.is_folder(path)
    described = folder.describe(path) if exported else model_file.describe(path)
    try:
        config = model_file.config_of(described)
    except AudioCodecError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return {
        "path": described["path"],
        "kind": "model",
        "name": config.name,
        "sample_rate": config.sample_rate,
        "hop_length": config.hop_length,
        "frame_rate": config.frame_rate,
        "num_codebooks": config.quantizer.num_codebooks,
        "codebook_size": config.quantizer.codebook_size,
        "kbps_payload": config.bitrate_bps / 1000,
        "decoder": config.model.decoder.kind,
        "causal": config.model.causal,
        **{key: described[key] for key in (("precision", "token_agreement") if exported else ("parameters",))},
        "bytes": sum(entry.stat().st_size for entry in os.scandir(path)) if exported else described["bytes"],
        "fingerprint": described["fingerprint"],
        "notes": described["notes"],
    }


def _text(found: dict[str, Any]) -> str:
    lines = [f"{found['path']}: {found['kind']}"]
    for key, value in found.items():
        if key not in ("path", "kind") and value not in ({}, [], None):
            shown = f"{value:.6g}" if isinstance(value, float) else value
            lines.append(f"  {key.replace('_', ' '):22} {shown}")
    return "\n".join(lines)
