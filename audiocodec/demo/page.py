"""The files of the page: its own, and the parts of the report page that it shares. They load nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

import audiocodec
from audiocodec.demo.recording import MAX_BYTES, MAX_SECONDS
from audiocodec.demo.versions import Version

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAMPLE = "sample.flac"
_SHARED = "audiocodec.reporting"
_OWN = "audiocodec.demo"


@dataclass(frozen=True)
class Page:
    """All that a browser can load: path below the token -> (kind, content)."""

    files: Mapping[str, tuple[str, bytes]]


def make_page(versions: Mapping[str, Version], note: str) -> Page:
    """The page.

    Args:
        versions: what it offers.
        note: what it says about those that are missing.
    """
    data = {
        "versions": [{"key": key, "label": version.label} for key, version in versions.items()],
        "max_bytes": MAX_BYTES,
        "max_seconds": MAX_SECONDS,
    }
    html = Template(_text(_OWN, "demo.html")).substitute(
        data=json.dumps(data).replace("<", "\\u003c"),
        note=escape(note),
        version=audiocodec.__version__,
        seconds=f"{MAX_SECONDS:g}",
        megabytes=MAX_BYTES >> 20,
    )
    style = _text(_SHARED, "page.css") + _text(_OWN, "demo.css")
    parts = [(_SHARED, "page.js"), (_SHARED, "player.js"), (_OWN, "microphone.js"), (_OWN, "demo.js")]
    program = '"use strict";\n(() => {\n' + "\n".join(_text(*part) for part in parts) + "})();\n"
    sample = files(_OWN).joinpath(SAMPLE).read_bytes()
    return Page(
        {
            "": ("text/html; charset=utf-8", html.encode()),
            "page.css": ("text/css; charset=utf-8", style.encode()),
            "program.js": ("text/javascript; charset=utf-8", program.encode()),
            "recorder.js": ("text/javascript; charset=utf-8", _text(_OWN, "recorder.js").encode()),
            SAMPLE: ("audio/flac", sample),
        }
    )


def _text(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
