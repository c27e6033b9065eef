"""`audiocodec info`: what a file holds, without torch and without the weights."""

from __future__ import annotations

import argparse
import json
from typing import Any

from audiocodec import model_places
from audiocodec.cli.console import say, show
from audiocodec.cli.jobs import STREAM, local_file
from audiocodec.contents import recognise
from audiocodec.errors import AudioCodecError

EXAMPLE = "audiocodec info tokens/a.act"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="token file, model, experiment folder or audio; - stdin"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON per file")


def run(args: argparse.Namespace) -> int:
    """Describe every path; returns 1 when one cannot be read."""
    failed = 0
    for path in args.paths or model_places.available():
        try:
            found = _describe(path)
        except (AudioCodecError, OSError) as error:
            failed += 1
            text = str(error) if path in str(error) or path == "-" else f"{path}: {error}"
            say(f"audiocodec: error: {text}")
            if args.json:
                print(json.dumps({"path": path, "error": text}))
            continue
        if args.json:
            print(json.dumps(found))
        else:
            show(_text(found))
    if not args.paths and not model_places.available():
        say("audiocodec: this installation holds no models")
    return 1 if failed else 0


def _describe(path: str) -> dict[str, Any]:
    """What a file or stdin holds."""
    if path != STREAM:
        return recognise(path)
    with local_file(path, allow_pipes=False) as spooled:
        return {**recognise(spooled), "path": path}


def _text(found: dict[str, Any]) -> str:
    title = found.get("name") or found["path"]
    lines = [f"{title}: {found['kind']}"]
    for key, value in found.items():
        if key not in ("name", "kind") and value not in (title, {}, [], None):
            shown = f"{value:.6g}" if isinstance(value, float) else str(value).replace("\n", "\\n")
            lines.append(f"  {key.replace('_', ' '):22} {shown}")
    return "\n".join(lines)
