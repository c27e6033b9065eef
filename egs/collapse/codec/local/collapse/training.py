"""One run: train it, score it, count and probe its codes, by the `audiocodec` command; what is finished is left alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from audiocodec.config.load import load_config
from collapse.rows import Run

DONE, FAILED, LOG, COMMAND = "done", "failed", "log", "command"
EVAL, USAGE, PROBE = "eval", "usage", "probe.json"
AUTOENCODER = "autoencoder"
METRICS = "pesq,stoi,mel"
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
        steps, warmup: of the profile: all of them, and those of the autoencoder, which is trained once for all runs.
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
        schedule = load_config(config).train
        self.steps, self.warmup = schedule.steps, schedule.warmup_autoencoder_steps
        self._children: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.stopping = False

    def autoencoder(self) -> bool:
        """Train what all runs begin with: encoder and decoder without a quantizer."""
        return self._do(self.exp / AUTOENCODER, [self._train(AUTOENCODER, [f"train.steps={self.warmup}"])])

    def run(self, run: Run) -> bool:
        """Do what is left to do of a run; False when it failed, and `FAILED` in its folder says why."""
        return self._do(self.exp / run.name, self._commands(run))

    def _do(self, folder: Path, commands: list[list[str]]) -> bool:
        said = "\n".join([self.config.read_text(encoding="utf-8"), *(" ".join(words) for words in commands)])
        if (folder / COMMAND).is_file() and (folder / COMMAND).read_text(encoding="utf-8") != said:
            shutil.rmtree(folder)  # made with another configuration or other data
        if finished(folder):
            return True
        folder.mkdir(parents=True, exist_ok=True)
        (folder / COMMAND).write_text(said, encoding="utf-8")
        (folder / FAILED).unlink(missing_ok=True)
        for words in commands:
            reason = self._call(words, folder)
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

    def _train(self, name: str, settings: list[str]) -> list[str]:
        words = ["audiocodec", "train", "--config", str(self.config), "--exp", str(self.exp / name), "--resume"]
        settings = [f"data.train={self.data.train}", f"data.valid={self.data.dev}", *settings]
        return [*words, *(word for setting in settings for word in ("--set", setting))]

    def _commands(self, run: Run) -> list[list[str]]:
        model, test = str(self.exp / run.name), str(self.data.test / "wav.scp")
        tokens, scored = f"{model}/{USAGE}", f"{model}/{EVAL}"
        if run.row.from_scratch:
            train = self._train(run.name, run.settings)
        else:
            schedule = [f"train.steps={self.steps - self.warmup}", "train.warmup_autoencoder_steps=0"]
            train = [*self._train(run.name, [*run.settings, *schedule]), "--init-from", str(self.exp / AUTOENCODER)]
        score = ["audiocodec", "evaluate", "--reference", test, "--model", model, "-d", scored, "--metrics", METRICS]
        probe = ["audiocodec", "probe", model, "--audio", test, "--json"]
        if self.data.usage == self.data.test:  # tokens that are scored are no tokens to learn from
            return [train, [*score, "--resume", "--quiet"], probe]
        code = ["audiocodec", "encode", str(self.data.usage / "wav.scp"), "--model", model, "-d", tokens]
        probe += ["--train-tokens", tokens, "--test-tokens", f"{scored}/tokens"]
        return [train, [*score, "--resume", "--quiet"], [*code, "--resume", "--quiet"], probe]

    def _call(self, words: list[str], folder: Path) -> str:
        """Run a command; why it failed, or nothing. Scoring may end with a status of 1 and yet have a summary."""
        verb, log = words[1], folder / LOG
        if verb == "evaluate":
            words = [*words, "--jobs", str(self.cpus)]
        environment = {"OMP_NUM_THREADS": str(self.cpus), **os.environ}
        begun = log.stat().st_size if log.exists() else 0
        with open(log, "ab") as file, open(folder / PROBE if verb == "probe" else os.devnull, "wb") as printed:
            with self._lock:
                if self.stopping:
                    return "stopped"
                child = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=file,
                    env=environment,
                    start_new_session=True,  # Ctrl-C reaches only this process, which asks them once to stop
                )
                self._children.add(child)
            status = child.wait()
            with self._lock:
                self._children.discard(child)
        if status == 0 or (verb == "evaluate" and (folder / EVAL / "summary.json").is_file()):
            return ""
        return _reason(log.read_bytes()[begun:].decode(errors="replace"), verb, status)


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
