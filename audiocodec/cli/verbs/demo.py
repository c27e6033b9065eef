"""`audiocodec demo`: a page on this machine on which anyone can hear what the codecs do."""

from __future__ import annotations

import argparse
import os
import sys

from audiocodec import model_places
from audiocodec.cli.console import say, show

EXAMPLE = "audiocodec demo --port 8765 --no-browser"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-m",
        "--model",
        action="append",
        default=[],
        metavar="MODEL",
        help="a further model beside those of the package, any number of times: a name of `audiocodec models`, "
        ".safetensors file, experiment folder, exported folder or org/name on a hub",
    )
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="on 127.0.0.1 (default: one that is free)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from audiocodec.demo.desk import Desk
    from audiocodec.demo.page import make_page
    from audiocodec.demo.server import Server
    from audiocodec.demo.versions import all_versions

    versions, note = all_versions([*model_places.available(), *args.model])
    with Server(Desk(versions), make_page(versions, note), args.port) as server:
        show(server.address)
        sys.stdout.flush()
        if note:
            say(f"audiocodec: {note}")
        if not args.no_browser and not _opened(server.address):
            say("audiocodec: found no browser to open it with")
        say("audiocodec: serves this machine only; Ctrl-C stops it")
        server.serve_forever()
    return 0


def _opened(address: str) -> bool:
    """Whether a browser with windows could be told; one that runs in the terminal would take it."""
    import webbrowser

    windows = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    )
    return windows and webbrowser.open(address)


def _port(text: str) -> int:
    """A port, or 0."""
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)
