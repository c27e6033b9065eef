"""Commands that are killed on their way: a server that has imported what takes long and forks a process for each.

Run as a program it is that server: a line of JSON comes in for each command, a line goes out when it has ended. A process
ends itself by SIGKILL at the n-th time that it opens, renames, makes or removes something below a folder, or is killed
after some seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

TESTS = Path(__file__).parents[1]
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status (-9: killed), events below the folder, seconds, what it wrote to stderr."""

    status: int
    events: int
    seconds: float
    errors: str


class Server:
    """Runs commands one after the other; a context."""

    def __enter__(self) -> Self:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RANK": "0", "WORLD_SIZE": "1"}
        words = [sys.executable, "-m", "support.killing"]
        self._process = subprocess.Popen(
            words, cwd=TESTS, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(
        self, words: Sequence[str], folder: Path, *, at_event: int | None = None, after: float | None = None
    ) -> Ended:
        """Run `audiocodec WORDS`; kill it at an event below `folder`, or after so many seconds."""
        assert self._process.stdin is not None and self._process.stdout is not None
        asked = {"words": list(words), "folder": str(folder), "at_event": at_event, "after": after}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))


def _serve() -> None:
    import accelerate  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401

    import audiocodec.evaluation.compare
    import audiocodec.onnx.load
    import audiocodec.training.run  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(_run(**json.loads(line))), flush=True)


def _run(words: list[str], folder: str, at_event: int | None, after: float | None) -> dict[str, Any]:
    counts, errors = os.memfd_create("counts"), os.memfd_create("errors")
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        os.dup2(errors, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _command(words, folder, at_event, counts)
    while after is not None and os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > begun + after:
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(0.002)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seconds = time.monotonic() - begun
    events, text = (os.pread(one, 1 << 20, 0).decode(errors="replace") for one in (counts, errors))
    os.close(counts)
    os.close(errors)
    return {"status": status, "events": int(events or 0), "seconds": seconds, "errors": text[-2000:]}


def _command(words: list[str], folder: str, at_event: int | None, counts: int) -> None:
    from audiocodec.cli.main import main

    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in EVENTS and folder in str(arguments[0] if event != "os.rename" else arguments[1]):
            seen += 1
            if seen == at_event:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    try:
        status = main(words)
        sys.stderr.flush()
        os.pwrite(counts, str(seen).encode(), 0)
    except BaseException:  # noqa: BLE001 - the process must not go on as the server
        sys.excepthook(*sys.exc_info())
        status = 70
    os._exit(status)


if __name__ == "__main__":
    _serve()
