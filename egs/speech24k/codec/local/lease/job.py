"""`job.py receive|smoke|train --there DIR`: what runs on a borrowed card, in a copy of the checkout.

Needs nothing but Python to receive, and what `smoke` looks for to train. What comes back lies in the folder `$OUT`: the newest
lean state, replaced as training writes one, and logs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from common import FIRST, MIB, THEN, LeaseError, Pack, bytes_below, exit_status, in_mib, runs
from lean import send
from receive import environment, receive
from train import FILE_BYTES, Times, config_of, train

BACK_BYTES = 60 * MIB  # of a lean state; with the logs 64 MiB
MODULES = ("torch", "numpy", "yaml", "safetensors", "accelerate", "tensorboard", "tqdm", "soundfile", "soxr")
REPORT = f"""
import importlib, os, platform, shutil
found = [f"{{n}} {{getattr(importlib.import_module(n), '__version__', '')}}".strip() for n in {MODULES!r}]
print(f"Python {{platform.python_version()}}; " + "; ".join(found))
import torch
card = "no card"
if torch.cuda.is_available():
    p = torch.cuda.get_device_properties(0)
    card = f"{{p.name}}, {{p.total_memory / 2**30:.0f}} GiB"
print(f"{{card}}; {{os.cpu_count()}} cores; {{shutil.disk_usage('.').free / 2**30:.0f}} GiB of disk are free")
"""
# Ten steps that see every phase: without quantization, quantized, discriminators alone, against them; a save and a validation.
PHASES = {
    "train.minutes": "0",
    "train.steps": "10",
    "train.warmup_autoencoder_steps": "2",
    "discriminator.start_step": "4",
    "discriminator.alone_steps": "3",
    "train.lr_warmup_steps": "1",
    "train.checkpoint_interval": "10",
    "train.valid_interval": "10",
    "train.valid_utterances": "2",
    "train.log_interval": "1",
    "train.lean_minutes": "1",
}


def phases(there: Path, run: str, compiled: bool) -> int:
    """Train a run through every phase on a few clips; the exit status of the trainer."""
    exp = there / f"{'warm' if compiled else 'smoke'}-{run}"
    shutil.rmtree(exp, ignore_errors=True)
    wanted = {**PHASES, "data.train": "base/data", "data.valid": "base/data"} | (
        {} if compiled else {"train.compile": "false"}
    )
    words = [sys.executable, "-m", "audiocodec", "train", "--config", f"base/{run}.yaml", "--exp", exp.name]
    words += [word for key, value in wanted.items() for word in ("--set", f"{key}={value}")]
    return subprocess.run(words, cwd=there, env=environment(there), check=False).returncode


def smoke(there: Path) -> int:
    """Try imports and every phase, say what was found, and have code compiled while the next parts travel."""
    begun = time.monotonic()
    pack = Pack.read(there / "base")
    if subprocess.run([sys.executable, "-c", REPORT], cwd=there, env=environment(there), check=False).returncode:
        raise LeaseError("something that training needs cannot be imported here, see above")
    for run in runs(there / "base"):
        _try(there, run, pack)
    if any(config_of(there, run).train.compile for run in runs(there / "base")):
        _begin_warming(there)
    print(f"all phases work ({time.monotonic() - begun:.0f} s); pack {pack.id}: {pack.summary}")
    return 0


def _try(there: Path, run: str, pack: Pack) -> None:
    """Ten steps of a run, and what of them would come back."""
    if phases(there, run, compiled=False):
        raise LeaseError(f"a step of {run}.yaml failed, see above; nothing was trained")
    log = (there / f"smoke-{run}" / "train.log").read_text()
    if "quantization on" not in log:
        raise LeaseError(f"ten steps of {run}.yaml were taken, and quantization never began")
    sent = send(there / f"smoke-{run}" / "lean", there / "tried" / run, pack.id, FILE_BYTES)
    if sent is None:
        raise LeaseError(f"ten steps of {run}.yaml were taken, and no lean state was written")
    size = bytes_below(sent)
    if size > BACK_BYTES:
        raise LeaseError(f"a lean state has {in_mib(size)}, {in_mib(BACK_BYTES)} can come back; pack a smaller model")
    print(f"a lean state has {in_mib(size)} in {len(list(sent.iterdir()))} files")


def _begin_warming(there: Path) -> None:
    """Compile in a session of its own, which goes on while the next calls bring parts; `train` asks what came of it."""
    (there / "warmed").unlink(missing_ok=True)
    words = [sys.executable, __file__, "warm", "--there", str(there)]
    with open(there / "warm.log", "w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    (there / "warming").write_text(str(process.pid))


def warm(there: Path) -> int:
    """Every phase once more, compiled: the first compilation takes a minute, later ones find its results."""
    status = max(phases(there, run, compiled=True) for run in runs(there / "base"))
    (there / "warmed").write_text(str(status))
    return status


def main() -> int:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    made = {name: verbs.add_parser(name) for name in ("receive", "smoke", "warm", "train")}
    for verb in made.values():
        verb.add_argument("--there", type=Path, required=True)
    made["receive"].add_argument("folders", type=Path, nargs="+")
    for name in ("--until", "--seconds", "--starting"):
        made["train"].add_argument(name, type=float, required=True, help="see train.Times")
    made["train"].add_argument("--later", type=float, nargs="*", default=[])
    made["train"].add_argument("--run", choices=(FIRST, THEN), default=FIRST)
    args = parser.parse_args()
    there = args.there.absolute()
    if args.verb == "receive":
        return receive(there, args.folders)
    if args.verb == "train":
        return train(there, _out(), Times(args.until, args.seconds, args.starting, args.later), args.run)
    return smoke(there) if args.verb == "smoke" else warm(there)


def _out() -> Path:
    out = os.environ.get("OUT")
    if not out or not Path(out).is_dir():
        raise LeaseError("OUT has to name the folder whose files come back")
    return Path(out).absolute()


if __name__ == "__main__":
    sys.exit(exit_status(main))
