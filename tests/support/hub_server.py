"""A stand-in for a hub, served from this machine: repositories in memory, with what can go wrong.

It answers what huggingface_hub asks: HEAD and GET of a file, and to upload `create`, `preupload`, LFS and `commit`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

TOKEN = "hf_of_the_tests"


@dataclass
class Repo:
    """Commits, oldest first, as file name -> bytes; `main` is the last.

    Attributes:
        fault: what its answers suffer from: `truncated`, `slow`, `wrong bytes`, `unauthorised`, `forbidden`, `gated`.
        tags: name -> number of a commit.
    """

    commits: list[dict[str, bytes]] = field(default_factory=list)
    fault: str = ""
    tags: dict[str, int] = field(default_factory=dict)

    def number_of(self, revision: str) -> int | None:
        """Of a branch, tag or commit; None: there is none."""
        known = {commit_id(n): n for n in range(len(self.commits))} | self.tags
        return len(self.commits) - 1 if revision == "main" and self.commits else known.get(revision)


def commit_id(number: int) -> str:
    """40 hexadecimal digits."""
    return hashlib.sha1(str(number).encode()).hexdigest()


class Hub:
    """The repositories, and what was asked.

    Attributes:
        asked: method and path of each request.
        lfs: SHA-256 -> bytes that were uploaded.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.asked: list[str] = []
        self.lfs: dict[str, bytes] = {}
        self.url = ""

    def add(self, name: str, folder: Path, fault: str = "") -> Repo:
        """A repository with a commit of the files of a folder; another commit where it is there."""
        repo = self.repos.setdefault(name, Repo())
        repo.commits.append({path.name: path.read_bytes() for path in folder.iterdir()})
        repo.fault = fault
        return repo


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        self._file(body=True)

    def do_PUT(self) -> None:
        self.hub.asked.append(f"PUT {self.path}")
        data = self._body()
        self.hub.lfs[hashlib.sha256(data).hexdigest()] = data
        self._answer(200)

    def do_POST(self) -> None:
        self.hub.asked.append(f"POST {self.path}")
        data = self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif self.path == "/api/repos/create":
            self._create(json.loads(data))
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(data)["objects"]
            put = [{**o, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{o['oid']}"}}} for o in objects]
            self._answer(200, {"transfer": "basic", "objects": put})
        elif "/preupload/" in self.path and not self.path.endswith("/preupload/main"):
            self._refuse(404, "RevisionNotFound")
        elif "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
                for f in json.loads(data)["files"]
            ]
            self._answer(200, {"files": [{**f, "shouldIgnore": False} for f in files]})
        elif "/commit/" in self.path:
            self._commit(data)
        else:
            self._answer(404)

    def _create(self, said: Mapping[str, Any]) -> None:
        name = f"{said['organization']}/{said['name']}"
        there = self.hub.repos.get(name)
        if there is not None and there.fault == "forbidden":
            return self._answer(403, {"error": "You don't have the rights"})
        self.hub.repos.setdefault(name, Repo())
        return self._answer(409 if there else 200, {"url": f"{self.hub.url}/{name}", "id": name, "name": name})

    def _commit(self, data: bytes) -> None:
        name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
        repo = self.hub.repos[name]
        files = dict(repo.commits[-1]) if repo.commits else {}
        for line in map(json.loads, data.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
        repo.commits.append(files)
        oid = commit_id(len(repo.commits) - 1)
        self._answer(200, {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{name}/commit/{oid}"})

    def _file(self, body: bool) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        name, found, rest = self.path.lstrip("/").partition("/resolve/")
        repo = self.hub.repos.get(name)
        if not found or repo is None:
            return self._refuse(404, "RepoNotFound")
        if repo.fault in ("unauthorised", "forbidden", "gated"):
            status, code = {"unauthorised": (401, ""), "forbidden": (403, ""), "gated": (403, "GatedRepo")}[repo.fault]
            return self._refuse(status, code)
        revision, _, file = rest.partition("/")
        number = repo.number_of(revision)
        if number is None:
            return self._refuse(404, "RevisionNotFound")
        data = repo.commits[number].get(file)
        commit = {"X-Repo-Commit": commit_id(number)}
        if data is None:
            return self._refuse(404, "EntryNotFound", commit)
        large = file.endswith(".safetensors")
        etag = hashlib.sha256(data).hexdigest() if large else hashlib.sha1(data).hexdigest()
        self.send_response(200)
        for key, value in {**commit, "ETag": f'"{etag}"', "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self._send(data, repo.fault if large else "")
        return None

    def _send(self, data: bytes, fault: str) -> None:
        if fault == "truncated":
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif fault == "slow":
            self.wfile.write(data[:100])
            self.wfile.flush()
            threading.Event().wait(1.5)  # time.sleep is no wait in these tests, see `use`
            self.close_connection = True
        elif fault == "wrong bytes":
            self.wfile.write(data[:-4] + bytes(4))
        else:
            self.wfile.write(data)

    def _refuse(self, status: int, code: str, more: Mapping[str, str] | None = None) -> None:
        self._answer(status, headers={**({"X-Error-Code": code} if code else {}), **(more or {})})

    def _answer(self, status: int, said: Any = None, headers: Mapping[str, str] | None = None) -> None:
        data = b"" if said is None or self.command == "HEAD" else json.dumps(said).encode()
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub on a free port of this machine."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub of this process ask the stand-in, with a cache and a token of the tests'."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # uploads go by LFS
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between attempts
