"""On the card's machine: the training, by the clock, and what of it comes back.

Lean states are sent on as the trainer writes them, so that whatever ends the job leaves the last one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from common import FIRST, MIB, LeaseError, Pack, in_mib
from lean import MODEL, send
from receive import begun, environment, unpack

FILE_BYTES = 15 * MIB
SENDING_SECONDS = 5  # the last state
BETWEEN_SECONDS = 25  # from the end of a training call to the beginning of the next
WARMING_SECONDS = 60  # that compilation is waited for
GRACE_SECONDS = 10  # between asking the trainer to stop and stopping it
ASKED = -signal.SIGTERM, 128 + signal.SIGTERM  # exit statuses of a trainer that was asked to end
LOGS = "logs.tar.gz"


@dataclass(frozen=True)
class Times:
    """When a training call ends.

    Attributes:
        until: seconds from the first command on this machine on.
        seconds: from now on, if that is less.
        starting: seconds of every training call before its first step.
        later: `until` of the calls that will go on, over which the schedule is spread, too.
    """

    until: float
    seconds: float
    starting: float
    later: Sequence[float]


def train(there: Path, out: Path, times: Times, run: str) -> int:
    """Train for the time that there is, going on where an earlier call ended.

    Args:
        there: what was received.
        out: what comes back.
        times: of this call.
        run: one of `common.runs`.

    Returns:
        The trainer's exit status.

    Raises:
        LeaseError: something lacks, or too little time or disk; no state came of it.
    """
    end = min(time.monotonic() + times.seconds, begun(there) + times.until)
    pack = Pack.read(there / "base")
    unpack(there, pack)
    config, start = config_of(there, run), start_of(there, run)
    compiles = config.train.compile and _warmed(there, end)
    left = end - time.monotonic() - SENDING_SECONDS
    if left < times.starting:
        raise LeaseError(f"{left:.0f} s are left, and starting alone takes {times.starting:g}")
    used = _used_seconds(there / experiment(run))
    ends = [times.until, *times.later]
    legs = [left, *(after - before - BETWEEN_SECONDS for before, after in pairwise(ends))]
    budget = used + sum(max(0.0, leg - times.starting) for leg in legs)
    print(
        f"pack {pack.id}: {pack.summary}\ntrains for {left:.0f} s, {used:.0f} are behind it: {_phases(config, budget, start)}",
        flush=True,
    )
    process = subprocess.Popen(_words(run, start, left, budget, compiles), cwd=there, env=environment(there))
    watcher = _Watcher(there / experiment(run), out, pack.id)
    status = _wait(process, end, watcher)
    watcher.look()
    watcher.send_logs()
    if watcher.sent is None:
        raise LeaseError(f"the trainer ended with status {status} and wrote no lean state")
    print(f"{watcher.sent.name} comes back; the trainer's exit status is {status}")
    return status


def experiment(run: str) -> str:
    """Name of a run's folder."""
    return f"exp-{run}"


def start_of(there: Path, run: str) -> Path | None:
    """The model that a run begins with; None: random weights.

    Raises:
        LeaseError: a later run, and the first has left no state.
    """
    if run == FIRST:
        path = there / "start" / MODEL
        return path if path.exists() else None
    path = there / experiment(FIRST) / "lean" / MODEL
    if not path.exists():
        raise LeaseError(f"{path}: the run that {run} begins with has left no state")
    return path


def config_of(there: Path, run: str) -> Any:
    """The configuration of a run, as it was packed."""
    for name in ("site", "code"):
        if str(there / name) not in sys.path:
            sys.path.insert(0, str(there / name))
    from audiocodec.config.load import load_config

    return load_config(there / "base" / f"{run}.yaml")


def _words(run: str, start: Path | None, left: float, budget: float, compiles: bool) -> list[str]:
    settings = [f"train.minutes={budget / 60:.4f}", "data.train=data/train", "data.valid=data/valid"]
    settings += [] if compiles else ["train.compile=false"]
    words = [sys.executable, "-m", "audiocodec", "train", "--config", f"base/{run}.yaml"]
    words += ["--exp", experiment(run), "--resume"]
    words += ["--max-minutes", f"{left / 60:.4f}"] + [word for setting in settings for word in ("--set", setting)]
    return words + (["--init-from", str(start)] if start else [])


def _wait(process: subprocess.Popen[bytes], end: float, watcher: _Watcher) -> int:
    """Until the trainer has ended; it is asked to at `end`, or when this job is, and made to soon after.

    Returns:
        Its exit status; 0 where it was asked to end and did.
    """
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    asked = False
    while process.poll() is None:
        time.sleep(0.25)
        watcher.look()
        late = time.monotonic() - end
        if late > 0 and not asked:
            process.terminate()
            asked = True
        if late > GRACE_SECONDS:
            process.kill()
    return 0 if asked and process.returncode in ASKED else process.returncode


def _warmed(there: Path, end: float) -> bool:
    """Whether compiled steps have been tried and work; waits for that a while, and stops it then."""
    until = min(time.monotonic() + WARMING_SECONDS, end)
    result, running = there / "warmed", there / "warming"
    while running.exists() and not result.exists() and time.monotonic() < until:
        time.sleep(0.25)
    if result.exists() and result.read_text() == "0":
        return True
    if result.exists():
        print(f"compiled steps fail here: {_tail(there / 'warm.log')}\ntrains without compiling")
        return False
    if running.exists():
        os.killpg(int(running.read_text()), signal.SIGKILL)
        running.unlink()
        print("compiling has taken too long to be waited for; what it has done so far is used")
    return True


def _used_seconds(exp: Path) -> float:
    """Seconds of the schedule that earlier legs have used."""
    states = sorted(exp.glob("checkpoints/step_*[0-9]/state.json"))
    return float(json.loads(states[-1].read_text())["seconds"]) if states else 0.0


def _phases(config: Any, budget: float, source: Path | None) -> str:
    """What begins when, on the clock of the schedule."""
    warm_up, start = config.train.warmup_autoencoder_steps, config.discriminator.start_step
    begins = {"quantized, if it was not yet" if source else "quantized": warm_up}
    if config.discriminator.kinds:
        begins |= {"discriminators alone": start, "against them": start + config.discriminator.alone_steps}
    begins = {what: budget * step / config.train.steps for what, step in begins.items() if step < config.train.steps}
    words = [f"0:00 goes on from {source.parent.name}" if source else "0:00 without quantization"]
    for what, at in [*begins.items(), ("the end", budget)]:
        words.append(f"{int(at) // 60}:{int(at) % 60:02d} {what}")
    return ", ".join(words)


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-2000:]


def _changed(folder: Path) -> list[tuple[str, int]]:
    """Names and times of the files in a folder, which may be changing."""
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        with contextlib.suppress(FileNotFoundError):
            found.append((path.name, path.stat().st_mtime_ns))
    return found


class _Watcher:
    """Sends what the trainer writes."""

    def __init__(self, exp: Path, out: Path, pack: str) -> None:
        self.sent: Path | None = None
        self._exp, self._out, self._pack = exp, out, pack
        self._seen: list[tuple[str, int]] = []  # the lean state that was sent

    def look(self) -> None:
        """Send the lean state, if it is a new one."""
        state = self._exp / "lean"
        now = _changed(state)
        if now == self._seen or not (sent := send(state, self._out, self._pack, FILE_BYTES)):
            return
        self._seen = now
        if sent != self.sent:
            self.sent = sent
            self.send_logs()

    def send_logs(self) -> None:
        """Send the log, the run's history, its configuration and, where they are small enough, TensorBoard's files."""
        staged = self._out / "new" / "a" / "b" / LOGS
        staged.parent.mkdir(parents=True, exist_ok=True)
        for names in (("tensorboard",), ()):
            with tarfile.open(staged, "w:gz") as tar:
                for name in ("train.log", "runs.jsonl", "config.yaml", *names):
                    if (self._exp / name).exists():
                        tar.add(self._exp / name, name)
            if staged.stat().st_size <= FILE_BYTES:
                break
            print(f"{in_mib(staged.stat().st_size)} of logs are too large; those of TensorBoard stay behind")
        os.replace(staged, self._out / LOGS)
