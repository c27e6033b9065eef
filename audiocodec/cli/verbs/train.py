"""`audiocodec train`: train a codec from a configuration."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from audiocodec.cli.usage import UsageError
from audiocodec.config.load import dump_config, load_config
from audiocodec.config.schema import Config
from audiocodec.model_file import describe, write_atomically

if TYPE_CHECKING:
    from audiocodec.data.pitch import Track
    from audiocodec.training.trainer import Trainer

TERMINATED = 143


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="CONFIG",
        help="a YAML file, or a configuration in the package, such as simvq_24k",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key; repeatable")
    parser.add_argument("--exp", metavar="DIR", help="experiment folder to write (needed unless --dry-run)")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in DIR, if any")
    parser.add_argument("--init-from", metavar="MODEL", help="begin with the weights of MODEL, where they fit")
    parser.add_argument(
        "--max-minutes",
        type=_minutes,
        default=math.inf,
        metavar="M",
        help="have saved and stopped M minutes after the start",
    )
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto", help="default: %(default)s")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands that wav.scp holds")
    parser.add_argument("--dry-run", action="store_true", help="print what the configuration means, and stop")
    parser.add_argument("--json", action="store_true", help="with --dry-run: as JSON")


def run(args: argparse.Namespace) -> int:
    """Train; 0 when the last step was reached or the time was up."""
    config = load_config(args.config, args.set)
    if args.dry_run:
        return _dry_run(config, args.json)
    if not args.exp:
        raise UsageError("train: --exp DIR is needed (or --dry-run)")
    if not config.data.train:
        raise UsageError("train: data.train is not set; give it in the configuration or with --set data.train=FOLDER")
    folder = Path(args.exp)
    begun = any((folder / "checkpoints").glob("step_*"))
    if begun and not args.resume:
        raise UsageError(f"train: {folder} holds checkpoints; go on with --resume or choose another --exp")
    if args.init_from and not begun:
        describe(args.init_from)  # a wrong name is said before all audio is read
    trainer = _prepare(config, folder, args)
    with _stop_on_signal(trainer) as signals, _recorded(trainer):
        step = trainer.run(args.started + 60 * args.max_minutes)
    print(f"audiocodec: {folder}: at step {step}{_goal(config, trainer)}", file=sys.stderr)
    if signals:
        return 130 if signals[0] == signal.SIGINT else TERMINATED
    return 0


def _goal(config: Config, trainer: Trainer) -> str:
    """What is behind a run of how much, in words that follow `at step 7`."""
    if config.train.minutes:
        return f", after {trainer.schedule.seconds / 60:.1f} of {config.train.minutes:g} minutes"
    return f" of {config.train.steps}"


def _prepare(config: Config, folder: Path, args: argparse.Namespace) -> Trainer:
    """Read the data, build the trainer, write the resolved configuration."""
    from audiocodec.data.dataset import SegmentDataset
    from audiocodec.data.manifest import read_folder
    from audiocodec.machine import keep_freed

    keep_freed()
    folder.mkdir(parents=True, exist_ok=True)
    _log_to(folder / "train.log")
    d = config.data
    dataset = SegmentDataset(
        read_folder(d.train, args.allow_pipes),
        config.sample_rate,
        config.segment_samples,
        config.seed,
        d.level_db,
        d.level_jitter_db,
        d.memory_gb,
        args.allow_pipes,
        must_fit=d.on_device,
    )
    dataset.preload(_progress("reading audio"))
    tracks: list[Track] = []
    if config.model.decoder.kind == "voiced":
        from audiocodec.data import pitch

        tracks = pitch.tracks(Path(d.train), dataset.utterances(), args.allow_pipes, _progress("finding pitch"))
    valid = read_folder(d.valid, args.allow_pipes) if d.valid else []
    from audiocodec.training.trainer import Trainer

    trainer = Trainer(
        config,
        folder,
        dataset,
        valid,
        tracks=tracks,
        device=args.device,
        resume=args.resume,
        init_from=args.init_from,
        allow_pipes=args.allow_pipes,
    )
    if trainer.accelerator.is_main_process:
        write_atomically(folder / "config.yaml", lambda path: path.write_text(dump_config(config)))
    logging.getLogger("audiocodec.train").info(
        "training on %s in %s, %d process(es); %d segments, %d silent utterances left out, audio %s",
        trainer.accelerator.device,
        trainer.parts.precision,
        trainer.accelerator.num_processes,
        len(dataset),
        len(dataset.silent),
        "on the device" if trainer.audio else "in memory" if dataset.in_memory else "read from disk",
    )
    return trainer


def _dry_run(config: Config, as_json: bool) -> int:
    from audiocodec.training.monitor import dry_run

    values = dry_run.describe(config)
    if as_json:
        print(json.dumps(values))
    else:
        width = max(map(len, values))
        for name, value in values.items():
            print(f"{name:{width}}  {value:,}" if isinstance(value, int) else f"{name:{width}}  {value}")
    return 0


@contextlib.contextmanager
def _recorded(trainer: Trainer) -> Iterator[None]:
    """Write into the run's history what steps were done, unless the process is killed."""
    import torch

    from audiocodec.training.monitor import history

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
def _stop_on_signal(trainer: Trainer) -> Iterator[list[int]]:
    """First Ctrl-C or SIGTERM: finish the step and save; a second one interrupts at once. Yields what came."""
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        trainer.stop_requested = True
        print("audiocodec: stopping after this step; once more to stop at once", file=sys.stderr)

    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _log_to(path: Path) -> None:
    logger = logging.getLogger("audiocodec.train")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in (logging.StreamHandler(), logging.FileHandler(path)):
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(handler)


def _progress(what: str) -> Callable[[int, int], None]:
    from tqdm import tqdm

    bar = tqdm(desc=what, unit="file", disable=not sys.stderr.isatty(), leave=False)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return show


def _minutes(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"need minutes above 0, got {text}")
    return value
