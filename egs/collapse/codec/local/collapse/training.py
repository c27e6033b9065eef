"""One run: train it, score it, count its codes, by the `audiocodec` command; what is finished is left alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from collapse.rows import Run

DONE, FAILED, LOG, COMMAND, EVAL, USAGE = "done", "failed", "log", "command", "eval", "usage"
PROGRAM = "audiocodec: "  # what its messages begin with


@dataclass(frozen=True)
class Data:
    """Data folders: to train on, for validation, to score, to count used codes in."""

    train: Path
    dev: Path
    test: Path
    usage: Path


class Trainer:
    """Trains runs, several at a time when called from several threads.

    Attributes:
        stopping: `stop` was called; runs end without a result.
    """

    def __init__(self, config: Path, exp: Path, data: Data, jobs: int) -> None:
        """Remember what is common to all runs.

        Args:
            config: of the profile.
            exp: folder of the runs' folders.
            data: of the study.
            jobs: runs at a time, which share the processors.
        """
        self.config, self.exp, self.data = config, exp, data
        self.cpus = max(1, len(os.sched_getaffinity(0)) // jobs)
        self._children: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.stopping = False

    def run(self, run: Run) -> bool:
        """Do what is left to do of a run; False when it failed, and `FAILED` in its folder says why."""
        folder = self.exp / run.name
        commands = self._commands(run, folder)
        said = "\n".join([self.config.read_text(encoding="utf-8"), *(" ".join(words) for words in commands)])
        if (folder / COMMAND).is_file() and (folder / COMMAND).read_text(encoding="utf-8") != said:
            shutil.rmtree(folder)  # made with another configuration or other data
        if finished(folder):
            return True
        folder.mkdir(parents=True, exist_ok=True)
        (folder / COMMAND).write_text(said, encoding="utf-8")
        (folder / FAILED).unlink(missing_ok=True)
        for words, result in zip(commands, (None, folder / EVAL / "summary.json", folder / USAGE)):
            reason = self._call(words, folder / LOG, result)
            if self.stopping:
                return False
            if reason:
                (folder / FAILED).write_text(reason, encoding="utf-8")
                return False
        (folder / DONE).touch()
        return True

    def stop(self) -> None:
        """End the commands that run; each saves what it can."""
        self.stopping = True
        with self._lock:
            for child in self._children:
                child.send_signal(signal.SIGTERM)

    def _commands(self, run: Run, folder: Path) -> list[list[str]]:
        settings = [f"data.train={self.data.train}", f"data.valid={self.data.dev}", *run.settings]
        train = ["audiocodec", "train", "--config", str(self.config), "--exp", str(folder), "--resume"]
        score = ["audiocodec", "evaluate", "--reference", str(self.data.test / "wav.scp"), "--model", str(folder)]
        score += ["-d", str(folder / EVAL), "--resume", "--quiet"]
        code = ["audiocodec", "encode", str(self.data.usage / "wav.scp"), "--model", str(folder)]
        code += ["-d", str(folder / USAGE), "--resume", "--quiet"]
        commands = [[*train, *(word for setting in settings for word in ("--set", setting))], score]
        return commands if self.data.usage == self.data.test else [*commands, code]

    def _call(self, words: list[str], log: Path, result: Path | None) -> str:
        """Run a command; why it failed, or nothing. Scoring may end with a status of 1 and yet have a summary."""
        if words[1] == "evaluate":
            words = [*words, "--jobs", str(self.cpus)]
        environment = {"OMP_NUM_THREADS": str(self.cpus), **os.environ}
        begun = log.stat().st_size if log.exists() else 0
        with open(log, "ab") as file:
            with self._lock:
                if self.stopping:
                    return "stopped"
                child = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,  # Ctrl-C reaches only this process, which asks them once to stop
                )
                self._children.add(child)
            status = child.wait()
            with self._lock:
                self._children.discard(child)
        if status == 0 or (words[1] == "evaluate" and result is not None and result.is_file()):
            return ""
        return _reason(log.read_bytes()[begun:].decode(errors="replace"), words[1], status)


def finished(folder: Path) -> bool:
    """Whether a run's folder holds all its results."""
    return (folder / DONE).is_file()


def _reason(text: str, verb: str, status: int) -> str:
    """What a command said went wrong, on one line, else how it ended."""
    if status < 0:
        return f"{verb} was killed by signal {-status}"
    lines = text.strip().splitlines()
    said = [index for index, line in enumerate(lines) if line.startswith(PROGRAM)]
    if not lines:
        return f"{verb} ended with status {status}"
    last = lines[said[-1] :] if said else lines[-1:]
    return " ".join(" ".join(last).removeprefix(PROGRAM).removeprefix("error: ").split())
