"""A card's machine that is lent, imitated on this one: commands run on a copy of the checkout, and its limits are kept.

What a call carries, how long its command runs and what comes back is checked here, without the code that plans it. Its
Python has what `PACKAGES` need and nothing more: no reader of audio, no metric. It has no network.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from support.light import make_environment

PACKAGES = ["torch", "numpy", "accelerate", "safetensors", "tensorboard", "tqdm", "PyYAML"]
MIB = 1 << 20
CALL_BYTES, FILES_BACK, FILE_BYTES, BYTES_BACK = 62 * MIB, 8, 16 * MIB, 64 * MIB
COMMAND_CHARACTERS = 2000
MOST_SECONDS = 4  # between the first state and the moment at which a machine vanishes
NAME = re.compile(r"[A-Za-z0-9._-]+")
NO_NETWORK = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}


class LimitError(AssertionError):
    """A call that the machine's rules do not allow."""


@dataclass(frozen=True)
class Result:
    """What a call gives.

    Attributes:
        status: of the command; 137: killed.
        seconds: that it ran.
        carried: bytes that travelled to it.
        output: what it printed.
        back: folder with the files that came back.
    """

    status: int
    seconds: float
    carried: int
    output: str
    back: Path

    @property
    def files(self) -> dict[str, int]:
        """What came back, with sizes."""
        return {str(p.relative_to(self.back)): p.stat().st_size for p in sorted(self.back.rglob("*")) if p.is_file()}


class Machine:
    """A machine, until `release`."""

    def __init__(self, folder: Path, python: Path | None = None) -> None:
        """Start it.

        Args:
            folder: of everything that lies on it, made here.
            python: its interpreter; None: one with `PACKAGES`, made from this environment.
        """
        folder.mkdir(parents=True)
        self.folder, self.there, self.calls = folder, folder / "there", 0
        self.python = python or make_environment(folder / "python", PACKAGES)
        (folder / "home").mkdir()

    def call(self, checkout: Path, command: str, carry: list[str], seconds: float, vanish: bool = False) -> Result:
        """Run a command in a copy of the checkout.

        Args:
            checkout: a git checkout.
            command: for bash.
            carry: ignored folders of it that travel, too.
            seconds: the command is killed after so many.
            vanish: it is killed at a random moment once a state lies in `$OUT`, as if the machine were taken away.

        Raises:
            LimitError: it carries or brings back what is not allowed.
        """
        self.calls += 1
        if len(command) > COMMAND_CHARACTERS:
            raise LimitError(f"the command has {len(command)} characters")
        carried = self._bring(checkout, carry)
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        begun = time.monotonic()
        status, output = self._run(command, out, seconds, vanish)
        ran = time.monotonic() - begun
        back = self.folder.parent / f"{self.folder.name}-back-{self.calls}"
        _collect(out, back)
        return Result(status, ran, carried, output, back)

    def release(self) -> None:
        """Give it back: everything that runs on it ends, and what lies on it is gone."""
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _bring(self, checkout: Path, carry: list[str]) -> int:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=checkout,
            capture_output=True,
            check=True,
        )
        paths = {checkout / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name}
        for folder in carry:
            paths |= set((checkout / folder).rglob("*"))
        paths = {path for path in paths if path.is_file()}
        carried = sum(path.stat().st_size for path in paths)
        if carried > CALL_BYTES:
            raise LimitError(f"{carried / MIB:.1f} MiB would travel")
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        for path in paths:
            target = copy / path.relative_to(checkout)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        return carried

    def _run(self, command: str, out: Path, seconds: float, vanish: bool) -> tuple[int, str]:
        """Run a command; what it leaves running ends with it, unless it began a session of its own."""
        variables = {
            "PATH": f"{self.python.parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "OUT": str(out),
            "OMP_NUM_THREADS": "1",
            "LANG": "C.UTF-8",
            **NO_NETWORK,
        }
        with open(self.folder / "output", "w+") as output:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.folder / "copy",
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            until = time.monotonic() + seconds
            while process.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
                if vanish and any(out.glob("state-*")):
                    until, vanish = min(until, time.monotonic() + random.uniform(0, MOST_SECONDS)), False
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
            output.seek(0)
            return (137 if status < 0 else status), output.read()

    def _processes(self) -> list[int]:
        """Processes whose environment names this machine's folder for what comes back."""
        mine = f"OUT={self.folder / 'out'}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mine in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found


def _collect(out: Path, back: Path) -> None:
    """Copy what may come back; what lies deeper stays behind."""
    back.mkdir()
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and len(path.relative_to(out).parts) <= 3]
    sizes = [path.stat().st_size for path in files]
    wrong = [
        str(p.relative_to(out)) for p in files if not all(NAME.fullmatch(part) for part in p.relative_to(out).parts)
    ]
    if wrong:
        raise LimitError(f"names that cannot come back: {wrong}")
    if len(files) > FILES_BACK or max(sizes, default=0) > FILE_BYTES or sum(sizes) > BYTES_BACK:
        raise LimitError(f"would come back: {len(files)} files of {[f'{size / MIB:.1f} MiB' for size in sizes]}")
    for path in files:
        target = back / path.relative_to(out)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
