"""`unpack.py FOLDER ...`: what came back, checked and put where the next run begins.

The folders are in the order of the calls; the last whole state in them counts. It is loaded, its fingerprint compared and every
number looked at, before anything is replaced.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import FIRST, THEN, LeaseError, Pack, exit_status, extract, in_mib
from lean import DISCRIMINATORS, MODEL, Returned, join, newest

from audiocodec import model_file
from audiocodec.config.load import load_config
from audiocodec.config.schema import Config
from audiocodec.errors import AudioCodecError
from audiocodec.model_header import ModelHeader

LOGS = "logs.tar.gz"


def unpack(args: argparse.Namespace) -> int:
    """Check what came back and take it over."""
    lease, start = Path(args.lease), Path(args.start)
    pack, config = Pack.read(lease / "base"), load_config(lease / "base" / f"{args.run}.yaml")
    state = newest([Path(folder) for folder in args.folders])
    if state.notes["pack"] != pack.id:
        raise LeaseError(f"{state.folder}: is of pack {state.notes['pack']}, {lease} is pack {pack.id}")
    made = start.with_name(f"{start.name}.tmp")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        files = join(state, made)
        described = _check_model(made / MODEL, config)
        if (made / DISCRIMINATORS).exists():
            _check_discriminators(made, config)
        _refuse_replacing(start / MODEL, described, args.force == "true")
        start.mkdir(exist_ok=True)
        (start / DISCRIMINATORS).unlink(missing_ok=True)
        for path in files:
            path.replace(start / path.name)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    _unpack_logs(state, lease / "logs")
    names = ", ".join(f"{path.name} ({in_mib((start / path.name).stat().st_size)})" for path in files)
    print(f"{start}: {names}, step {state.step}, fingerprint {described.fingerprint}", file=sys.stderr)
    return 0


def _check_model(path: Path, config: Config) -> ModelHeader:
    """Its header; refuses a model of another codec than that of `config`, a damaged one, and numbers that are none."""
    described = model_file.describe(path)
    theirs, ours = described.config, config
    for key in ("sample_rate", "model", "quantizer"):
        if getattr(theirs, key) != getattr(ours, key):
            raise LeaseError(
                f"{path.name}: is a model of another configuration than was packed: {key} differs: {_differing(theirs, ours, key)}"
            )
    _refuse_not_finite(path.name, model_file.load(path).state_dict())
    return described


def _check_discriminators(folder: Path, config: Config) -> None:
    from safetensors.torch import load_file

    from audiocodec.build import build_discriminators
    from audiocodec.training.checkpoints.initial import take_discriminators
    from audiocodec.training.losses import DiscriminatorBundle

    _refuse_not_finite(DISCRIMINATORS, load_file(folder / DISCRIMINATORS))
    taken = take_discriminators(DiscriminatorBundle(build_discriminators(config)), folder / MODEL)
    if taken is None or taken.fresh or taken.resized:
        raise LeaseError(
            f"{DISCRIMINATORS}: is not of the discriminators that were packed: {'; '.join(taken.lines() if taken else [])}"
        )


def _refuse_not_finite(name: str, tensors: dict[str, Any]) -> None:
    bad = [key for key, tensor in tensors.items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
    if bad:
        raise LeaseError(
            f"{name}: {len(bad)} tensors hold numbers that are not finite: {', '.join(bad[:3])}; it is of no use"
        )


def _differing(theirs: Config, ours: Config, key: str) -> str:
    a, b = getattr(theirs, key), getattr(ours, key)
    if key == "sample_rate":
        return f"{a}, packed was {b}"
    then, now = asdict(a), asdict(b)
    return ", ".join(f"{name} is {then[name]}, packed was {now[name]}" for name in now if then[name] != now[name])


def _refuse_replacing(old: Path, new: ModelHeader, force: bool) -> None:
    """Refuse to put a model in place of one of another shape."""
    if force or not old.exists():
        return
    theirs, ours = model_file.describe(old).config, new.config
    if (theirs.model, theirs.quantizer) != (ours.model, ours.quantizer):
        raise LeaseError(
            f"{old}: is a model of another shape ({theirs.name}); --force true puts {ours.name} in its place"
        )


def _unpack_logs(state: Returned, into: Path) -> None:
    """The logs beside the state, if they came back."""
    path = state.folder.parent / LOGS
    if not path.is_file():
        return
    shutil.rmtree(into, ignore_errors=True)
    try:
        with tarfile.open(path) as tar:
            extract(tar, into)
        print(f"{into}: log and TensorBoard's files", file=sys.stderr)
    except (tarfile.TarError, OSError, EOFError) as error:
        print(f"{path}: the logs are damaged and left out: {error}", file=sys.stderr)


def main() -> int:
    """Read the arguments and take over what came back."""
    parser = argparse.ArgumentParser()
    for name in ("--lease", "--start"):
        parser.add_argument(name, required=True)
    parser.add_argument("--run", choices=(FIRST, THEN), required=True)
    parser.add_argument("--force", choices=("true", "false"), default="false")
    parser.add_argument("folders", nargs="+")
    try:
        return unpack(parser.parse_args())
    except AudioCodecError as error:
        raise LeaseError(str(error)) from error


if __name__ == "__main__":
    sys.exit(exit_status(main))
