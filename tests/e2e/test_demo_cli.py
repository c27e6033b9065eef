"""`audiocodec demo` as a command: address, browser, ports, models, its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audiocodec.cli.main import main


@contextmanager
def running(folder: Path, *words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """(the command, the address that it printed)."""
    command = [sys.executable, "-m", "audiocodec", "demo", *words]
    plain = {name: value for name, value in os.environ.items() if name not in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    env = {**plain, "TMPDIR": str(folder), **environment}
    with subprocess.Popen(command, text=True, env=env, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_serves_until_it_is_stopped(number: int, status: int, tiny_model_path: Path, tmp_path: Path) -> None:
    """A browser that only notes what it is to open."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    with running(tmp_path, "-m", str(tiny_model_path), BROWSER=f"{browser} %s") as (process, address):
        html = urllib.request.urlopen(address).read().decode()
        assert f"{tiny_model_path} 2 of 2, 0.9 kbps" in html and "speech_24k, 1.2 kbps" in html
        assert [path for path in tmp_path.iterdir() if path.is_dir()]  # for uploads
        line = process.stderr.readline()
        line = line if "Ctrl-C" in line else process.stderr.readline()  # the first may be about Opus
        assert line == "audiocodec: serves this machine only; Ctrl-C stops it\n"
        process.send_signal(number)
        assert process.wait(30) == status and "Traceback" not in process.stderr.read()
    assert (tmp_path / "opened").read_text().strip() == address
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_without_a_browser_it_says_so(tmp_path: Path) -> None:
    with running(tmp_path) as (process, _):
        said = [process.stderr.readline() for _ in range(2)]
        said += [process.stderr.readline()] if "Opus" in said[0] else []
        assert "audiocodec: found no browser to open it with\n" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-m", "none"], "none: no such model"),
        (["--port", "{taken}"], "--port {taken}: Address already in use; leave --port out"),
        (["--port", "70000"], "'70000' is not a port, 0 to 65535"),
        (["--port", "http"], "'http' is not a port"),
    ],
)
def test_what_cannot_be_served(words: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = str(other.getsockname()[1])
        assert main(["demo", "--no-browser", *(word.format(taken=taken) for word in words)]) == 2
    out, err = capfd.readouterr()
    assert message.format(taken=taken) in err and out == ""
