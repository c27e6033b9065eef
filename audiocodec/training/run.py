"""Train a codec from a configuration: `audiocodec.train`. Reads the data, builds the trainer, logs, stops on signals,
and writes down what was done."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from audiocodec import locks, model_file
from audiocodec.config.load import dump_config, load_config
from audiocodec.config.schema import Config
from audiocodec.data import pitch
from audiocodec.data.dataset import SegmentDataset
from audiocodec.data.manifest import read_folders
from audiocodec.errors import UsageError
from audiocodec.signals import handled
from audiocodec.terminal import printable
from audiocodec.training import launcher
from audiocodec.training.checkpoints import state
from audiocodec.training.monitor import history
from audiocodec.training.setup import processes
from audiocodec.training.trainer import Trainer

log = logging.getLogger("audiocodec.train")

Progress = Callable[[int, int], None]  # called with files done, of how many


class Watch:
    """Sees nothing of a training; the command line's prints."""

    def say(self, text: str) -> None:
        """A line of information."""

    def reading(self, what: str) -> Progress:
        """Files begin to be read; what to call as they are done."""
        return lambda done, total: None


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended.

    Attributes:
        folder: of the experiment, which `audiocodec.load` takes.
        config: of the run, as it was written there.
        step: reached.
        seconds: of work on the clock of `train.minutes`; 0 where steps are counted.
        signal: that stopped it; None: the last step was reached, or the time was up.
    """

    folder: Path
    config: Config
    step: int
    seconds: float
    signal: int | None


def train(
    config: Config | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    init_from: str | None = None,
    max_minutes: float = math.inf,
    started: float | None = None,
    device: str = "auto",
    allow_pipes: bool = False,
    watch: Watch | None = None,
) -> TrainingResult:
    """Train until the last step, the time, or a signal; ends with a checkpoint.

    Logs to stderr and `folder/train.log`. In the main thread the first Ctrl-C, SIGTERM or hang-up (SIGHUP) finishes the step
    and saves, a second one interrupts at once.

    Args:
        config: a configuration, a YAML file, or the name of a configuration in the package, such as `simvq_24k`.
        folder: of the experiment: gets `config.yaml`, `checkpoints/`, `tensorboard/`, `train.log`, `runs.jsonl`.
        overrides: `KEY=VALUE` each, for a file or a name.
        resume: go on from the newest checkpoint in `folder`, if any.
        init_from: model whose weights a new run begins with, where they fit.
        max_minutes: have saved and stopped so long after `started`.
        started: on the monotonic clock; None: now.
        device: `cpu`, `cuda`, or `auto` for what Accelerate finds.
        allow_pipes: run commands that `wav.scp` holds.
        watch: sees progress; None: nobody does.

    Returns:
        `TrainingResult`.

    Raises:
        UsageError: no training data is named, `folder` holds checkpoints and `resume` is not given, another process trains
            there, or the environment contradicts the configuration.
        ConfigError: a configuration that cannot be read or run.
        ManifestError, AudioError: data that cannot be read.
        CheckpointError: a checkpoint that does not fit or cannot be written.
        TrainingError: not finite again and again, or the device has no room.

    Example:
        >>> done = audiocodec.train("mini", "exp", overrides=["data.train=data", "train.steps=1", "train.batch_size=1"])
        >>> done.step, audiocodec.load(done.folder).sample_rate
        (1, 24000)
    """
    begun = time.monotonic() if started is None else started
    watch, target = watch or Watch(), Path(folder)
    made = config if isinstance(config, Config) else load_config(os.fspath(config), overrides)
    if isinstance(config, Config) and overrides:
        raise UsageError("overrides are for a file or a name; change the configuration itself")
    _check(made, target, device, init_from)
    target.mkdir(parents=True, exist_ok=True)
    main = processes(device).is_main_process  # the others train with it, and need no lock
    with locks.alone(target, "trained") if main else contextlib.nullcontext(), _logging_to(target / "train.log"):
        _check_begun(target, resume)
        trainer = _prepare(made, target, device, resume, init_from, allow_pipes, watch)
        with _stop_on_signal(trainer, watch.say) as signals, _recorded(trainer):
            step = trainer.run(begun + 60 * max_minutes)
    seconds = trainer.schedule.seconds if made.train.minutes else 0.0
    return TrainingResult(target, made, step, seconds, signals[0] if signals else None)


def _check(config: Config, folder: Path, device: str, init_from: str | None) -> None:
    """Refuse what cannot work before anything is written or read."""
    if not config.data.train_folders:
        raise UsageError("train: data.train is not set; give it in the configuration or with --set data.train=FOLDER")
    launcher.check(config, device)
    if init_from and not state.count(folder / "checkpoints"):
        model_file.describe(init_from)


def _check_begun(folder: Path, resume: bool) -> None:
    """Refuse to begin where a run has checkpoints."""
    if state.count(folder / "checkpoints") and not resume:
        raise UsageError(f"train: {folder} holds checkpoints; go on with --resume or choose another --exp")


def _prepare(
    config: Config,
    folder: Path,
    device: str,
    resume: bool,
    init_from: str | None,
    allow_pipes: bool,
    watch: Watch,
) -> Trainer:
    """Read the data, build the trainer, write the resolved configuration."""
    d = config.data
    folders = read_folders(d.train_folders, allow_pipes)
    dataset = SegmentDataset(
        list(itertools.chain(*folders)),
        config.sample_rate,
        config.segment_samples,
        config.seed,
        d.level_db,
        d.level_jitter_db,
        d.memory_gb,
        allow_pipes,
        must_fit=d.on_device,
        skip_bad=d.skip_bad,
        channels=config.channels,
    )
    dataset.preload(watch.reading("reading audio"))
    for problem in dataset.left_out:
        log.warning("left out: %s", problem)
    tracks: list[pitch.Track] = []
    if config.model.decoder.kind == "voiced":
        kept = dataset.utterances()  # in the order of the folders
        for data_folder, listed in zip(d.train_folders, folders):
            here = {u.id for u in listed}
            ours = [u for u in kept if u.id in here]
            tracks += pitch.tracks(Path(data_folder), ours, allow_pipes, watch.reading("finding pitch"))
    trainer = Trainer(
        config,
        folder,
        dataset,
        list(itertools.chain(*read_folders(d.valid_folders, allow_pipes))),
        tracks=tracks,
        device=device,
        resume=resume,
        init_from=init_from,
        allow_pipes=allow_pipes,
    )
    if trainer.accelerator.is_main_process:
        model_file.write_atomically(folder / "config.yaml", lambda path: path.write_text(dump_config(config)))
    log.info(
        "training on %s in %s, %d process(es); %d segments, %d silent%s utterances left out, audio %s",
        trainer.accelerator.device,
        trainer.parts.precision,
        trainer.accelerator.num_processes,
        len(dataset),
        len(dataset.silent),
        f" and {len(dataset.left_out)} bad" if dataset.left_out else "",
        "on the device" if trainer.audio else "in memory" if dataset.in_memory else "read from disk",
    )
    return trainer


@contextlib.contextmanager
def _recorded(trainer: Trainer) -> Iterator[None]:
    """Write into the run's history what steps were done, unless the process is killed."""
    first, started, accelerator = trainer.step, time.monotonic(), trainer.accelerator
    try:
        yield
    finally:
        if accelerator.is_main_process and trainer.step > first:
            clips, hours, speakers = trainer.dataset.extent()
            run = history.Run(
                begins_with=trainer.begins_with,
                first_step=first,
                last_step=trainer.step,
                seconds=round(time.monotonic() - started, 1),
                hardware=history.hardware(accelerator.device),
                processes=accelerator.num_processes,
                threads=torch.get_num_threads(),
                torch=torch.__version__,
                clips=clips,
                hours=round(hours, 4),
                speakers=speakers,
            )
            history.add(trainer.folder, run)


@contextlib.contextmanager
def _stop_on_signal(trainer: Trainer, say: Callable[[str], None]) -> Iterator[list[int]]:
    """First Ctrl-C, SIGTERM or hang-up: finish the step and save; a second one interrupts at once. Yields what came."""
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        trainer.stop_requested = True
        say("stopping after this step; once more to stop at once")

    with handled(stop):
        yield received


class _Printable(logging.Formatter):
    """Names of files in the log may hold anything."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """The log on stderr and in a file."""
    log.setLevel(logging.INFO)
    log.propagate = False
    handlers: list[logging.Handler] = [logging.StreamHandler(), logging.FileHandler(path)]
    for handler in handlers:
        handler.setFormatter(_Printable("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
