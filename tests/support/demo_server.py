"""The server of the demo's page in a thread, and requests to it as a program other than a browser sends them."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io as memory
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import soundfile

from audiocodec.demo.desk import Desk
from audiocodec.demo.page import make_page
from audiocodec.demo.server import Server
from audiocodec.demo.versions import Version


@contextlib.contextmanager
def serving(versions: Mapping[str, Version], note: str = "") -> Iterator[Server]:
    """A server that answers until the end."""
    with Server(Desk(versions), make_page(versions, note)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(
    server: Server, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, token: str = ""
) -> tuple[int, Mapping[str, str], bytes]:
    """(status, headers, content) of a GET, or of a POST with a body, below the token."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        method, path = "GET" if body is None else "POST", f"/{token or server.token}/{path}"
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def post(server: Server, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, Any]]:
    """(status, JSON) of a POST."""
    status, _, content = ask(server, path, body, headers)
    return status, json.loads(content)


def wav_bytes(wav: np.ndarray, rate: int, subtype: str = "PCM_16") -> bytes:
    """Samples `[S]` or `[S, C]` as a WAV file."""
    file = memory.BytesIO()
    soundfile.write(file, wav, rate, subtype, format="WAV")
    return file.getvalue()


def played(clip: Mapping[str, Any]) -> tuple[np.ndarray, int]:
    """(samples as a player of the page plays them, rate)."""
    wav, rate = soundfile.read(memory.BytesIO(base64.b64decode(clip["flac"])))
    return wav * clip["gain"], rate
