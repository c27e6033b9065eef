"""The server of the page: HTTP on this machine alone, for those who know the address.

Every path begins with a random word, which only the printed address has. Other names of this machine in `Host` (a page that
has its own name point here) and other pages in `Origin` are refused.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import select
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

from audiocodec.demo.desk import Desk
from audiocodec.demo.page import POLICY, Page
from audiocodec.demo.recording import MAX_BYTES, Recording
from audiocodec.demo.versions import Version
from audiocodec.demo.watch import Gone
from audiocodec.errors import AudioCodecError, UsageError

HOST, HTTP_PORT = "127.0.0.1", 80
_PIECE = 1 << 20  # bytes of an upload read at once
_DIGITS = 18  # of a length that are looked at: Python refuses thousands
_LINGER_SECONDS = 2.0  # in which an upload that was refused may read the answer
_STOP_SECONDS = 10.0  # that work under way is waited for

_ELSEWHERE = "this server answers only on the address that `audiocodec demo` printed"


class Refused(Exception):
    """A request that is answered with a status and words."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        """Take both."""
        super().__init__(words)
        self.status = status


class Server(ThreadingTCPServer):
    """Serves one `Desk`; use as a context, within which `serve_forever` answers.

    Attributes:
        desk: does the work.
        page: what is shown.
        folder: for uploads while they are read.
        token: what every path begins with.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, desk: Desk, page: Page, port: int = 0) -> None:
        """Bind.

        Args:
            desk, page: see `Server`.
            port: 0: any that is free.

        Raises:
            UsageError: the port is taken, or not ours to take.
        """
        self.desk, self.page, self.token = desk, page, secrets.token_urlsafe(16)
        self._temporary = tempfile.TemporaryDirectory(prefix="audiocodec-demo-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            said = error.strerror or error
            raise UsageError(f"--port {port}: {said}; leave --port out to get a free one") from None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{HOST}:{self.port}/{self.token}/"

    @property
    def names(self) -> tuple[str, ...]:
        """What a browser may call it in `Host`, where the port of HTTP is left out."""
        named = (f"{HOST}:{self.port}", f"localhost:{self.port}")
        return (*named, HOST, "localhost") if self.port == HTTP_PORT else named

    def server_close(self) -> None:
        """Stop listening, end the work, remove what lies about."""
        super().server_close()
        self.desk.stop(_STOP_SECONDS)
        self._temporary.cleanup()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has gone: nobody is there to be told."""


class _Handler(BaseHTTPRequestHandler):
    """One request; the connection is closed after it."""

    server: Server
    timeout = 60
    server_version, sys_version = "audiocodec", ""

    def do_GET(self) -> None:
        """Files of the page."""
        self._answer(self._file)

    def do_POST(self) -> None:
        """Recordings, and their versions."""
        self._answer(self._work)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, find: Callable[[list[str]], tuple[str, bytes]]) -> None:
        try:
            kind, data = find(self._steps())
            self._send(HTTPStatus.OK, kind, data)
        except Gone:
            self.close_connection = True
        except Refused as error:
            self._send_words(error.status, str(error))
        except (AudioCodecError, OSError) as error:
            if not isinstance(error, ConnectionError):
                self._send_words(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is shown on the page, and the server goes on
            words = f"the server failed ({type(error).__name__}: {error}); please report it"
            self._send_words(HTTPStatus.INTERNAL_SERVER_ERROR, words)

    def _steps(self) -> list[str]:
        """The path behind the token, in parts.

        Raises:
            Refused: the request comes from elsewhere, or does not know the token.
            Gone: it came on a connection that was open when the server was stopped.
        """
        if self.server.desk.stopping.is_set():
            raise Gone
        if self.headers.get("Host", "") not in self.server.names:
            raise Refused(HTTPStatus.FORBIDDEN, _ELSEWHERE)
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{name}" for name in self.server.names]:
            raise Refused(HTTPStatus.FORBIDDEN, _ELSEWHERE)
        token, *steps = self.path.partition("?")[0].removeprefix("/").split("/")
        if not steps or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise Refused(HTTPStatus.NOT_FOUND, _ELSEWHERE)
        return steps

    def _file(self, steps: list[str]) -> tuple[str, bytes]:
        found = self.server.page.files.get("/".join(steps))
        if found is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such file")
        return found

    def _work(self, steps: list[str]) -> tuple[str, bytes]:
        desk = self.server.desk
        if steps == ["recordings"]:
            with self._upload() as path:
                made = desk.take(path, self._watch)
        elif len(steps) == 3 and steps[0] == "recordings":
            made = desk.code(*self._found(*steps[1:]), self._watch)
        elif len(steps) == 4 and steps[0] == "recordings" and steps[3] == "compressed":
            made = desk.compress(*self._found(*steps[1:3]), self._watch)
        else:
            raise Refused(HTTPStatus.NOT_FOUND, "there is nothing of that name")
        return "application/json", json.dumps(made, allow_nan=False).encode()

    def _found(self, name: str, key: str) -> tuple[Recording, Version]:
        try:
            return self.server.desk.find(name, key)
        except KeyError:
            raise Refused(HTTPStatus.NOT_FOUND, "the server no longer has this recording; give it again") from None

    @contextlib.contextmanager
    def _upload(self) -> Iterator[Path]:
        """The body in a temporary file, which goes on leaving."""
        left = self._length()
        path = self.server.folder / secrets.token_hex(8)
        try:
            with path.open("wb") as file:
                while left:
                    data = self.rfile.read(min(left, _PIECE))
                    if not data:
                        raise Gone
                    left -= file.write(data)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _length(self) -> int:
        """Bytes of the body.

        Raises:
            Refused: they are not stated, or too many.
        """
        stated = self.headers.get("Content-Length", "")
        if not (stated.isascii() and stated.isdecimal()):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "the request does not say how long it is")
        length = int(stated[:_DIGITS])
        if length > MAX_BYTES:
            size = f"has {length / 2**20:,.0f} MiB; at most {MAX_BYTES >> 20} are taken"
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{size}; cut out the part you want to hear")
        return length

    def _watch(self) -> None:
        """Raise Gone when the other side has closed the connection."""
        ready, _, _ = select.select([self.connection], [], [], 0)
        if ready and not self.connection.recv(1, socket.MSG_PEEK):
            raise Gone

    def _send_words(self, status: HTTPStatus, words: str) -> None:
        self._send(status, "application/json", json.dumps({"error": words}).encode())
        if self.command == "POST":
            self._linger()

    def _send(self, status: HTTPStatus, kind: str, data: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _linger(self) -> None:
        """Read on for a moment: closing at once would take back the answer while the other side still sends."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_SECONDS)
            end = time.monotonic() + _LINGER_SECONDS
            while time.monotonic() < end and self.connection.recv(_PIECE):
                pass
