"""Environments with some packages and nothing more, made without network: what `pip install audiocodec` brings, say.

A virtual environment of its own, into which the packages that are asked for, and those that they ask for in turn, are linked
from this environment.
"""

from __future__ import annotations

import configparser
import sys
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from support.workspace import CHECKOUT


def make_light_environment(folder: Path, extra: str = "", without: str = "") -> Path:
    """Make in `folder` what `setup.cfg` asks for, but for one package, with ours; returns its interpreter."""
    python = make_environment(folder, [line for line in _asked_for(extra) if Requirement(line).name != without])
    site = next((folder / "lib").glob("python3*")) / "site-packages"
    (site / "audiocodec").symlink_to(CHECKOUT / "audiocodec")
    return python


def make_environment(folder: Path, requirements: list[str]) -> Path:
    """Make in `folder` what meets `requirements`; returns its interpreter."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = next((folder / "lib").glob("python3*")) / "site-packages"
    for name in sorted(_closure(requirements)):
        for entry in {Path(file.parts[0]) for file in metadata.files(name) or [] if file.parts[0] != ".."}:
            source = Path(str(metadata.distribution(name).locate_file(entry)))
            if entry.name != "__pycache__" and source.exists() and not (site / entry).exists():
                (site / entry).symlink_to(source)
    return folder / "bin" / Path(sys.executable).name


def _asked_for(extra: str) -> list[str]:
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    both = setup["options"]["install_requires"] + "\n" + (setup["options.extras_require"][extra] if extra else "")
    return [line for line in both.splitlines() if line and not line.startswith("#")]


def _closure(requirements: list[str]) -> set[str]:
    found: set[str] = set()
    for text in requirements:
        wanted = Requirement(text)
        if wanted.name not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            found |= {wanted.name} | _closure(metadata.requires(wanted.name) or [])
    return found
