"""What is packed besides audio: readers of audio for the card's Python, and the weights to begin with."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from common import LeaseError, sha256_of
from lean import BELONGS_TO, DISCRIMINATORS, MODEL

from audiocodec.config.schema import Config

READERS = ("soundfile", "cffi", "pycparser", "soxr")
GLIBC = ("2_28", "2_27", "2_17")  # of the wheels that the card's machine can use
SCORES_THERE = ("level",)  # of train.valid_scores, those that need no library


def refuse_scores(config: Config) -> None:
    """Refuse a configuration whose validation needs what is not there.

    Raises:
        LeaseError: naming the scores.
    """
    wanted = [name for name in config.train.valid_scores if name not in SCORES_THERE]
    if wanted:
        names = ", ".join(wanted)
        raise LeaseError(f"train.valid_scores: {names}: cannot be computed there; --settings train.valid_scores=[]")


def get_wheels(folder: Path, source: str, python_version: str, constraints: Path) -> None:
    """Put readers of audio into a folder.

    Args:
        folder: made here.
        source: folder of wheels; empty: the package index.
        python_version: of the card's machine, as 3.12.
        constraints: versions to take from the index.

    Raises:
        LeaseError: one lacks.
    """
    if source:
        shutil.copytree(source, folder, ignore=lambda _, names: {name for name in names if not name.endswith(".whl")})
    else:
        words = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
        words += ["--python-version", python_version, "--implementation", "cp", "--constraint", str(constraints)]
        words += [word for glibc in GLIBC for word in ("--platform", f"manylinux_{glibc}_x86_64")]
        words += ["--platform", "manylinux2014_x86_64", *READERS]
        if subprocess.run([sys.executable, *words], stdout=sys.stderr, check=False).returncode:
            raise LeaseError(
                f"no wheels of {', '.join(READERS)} for Python {python_version}; --wheels takes a folder of them"
            )
    lacking = [name for name in READERS if not list(folder.glob(f"{name}-*.whl"))]
    if lacking:
        raise LeaseError(f"{source or folder}: has no wheel of {', '.join(lacking)}")


def make_start(source: str, config: Config, folder: Path) -> None:
    """The weights to begin with as 16 bits, and discriminators that come with them; says what of them fits.

    Args:
        source: what `model_places.resolve` takes.
        config: of the run.
        folder: made here.

    Raises:
        CheckpointError: no such model, or nothing of it fits.
    """
    from safetensors.torch import load_file, save_file

    from audiocodec import model_file, model_places
    from audiocodec.build import build_codec
    from audiocodec.training.checkpoints.initial import take_codec
    from audiocodec.training.checkpoints.lean import discriminators_beside

    path = model_places.resolve(source)
    taken, _ = take_codec(build_codec(config), config, path)
    print(f"{path}: {'; '.join(taken.lines())}", file=sys.stderr)
    folder.mkdir()
    described = model_file.describe(path)
    theirs, notes = described.config, dict(described.notes)
    model_file.save(model_file.load(path), theirs, folder / MODEL, half=True, notes=notes)
    if found := discriminators_beside(path):
        halves = {name: t.half() if t.is_floating_point() else t for name, t in load_file(found).items()}
        save_file(halves, folder / DISCRIMINATORS, {BELONGS_TO: sha256_of(folder / MODEL)})
