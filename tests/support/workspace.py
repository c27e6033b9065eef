"""A copy of the checkout to run commands in, so that tests write nothing into the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

CHECKOUT = Path(__file__).parents[2]

# What is made by running things; a copy holds what a fresh clone holds.
_MADE = shutil.ignore_patterns(
    ".git",
    ".venv*",
    "__pycache__",
    "*.egg-info",
    ".*_cache",
    ".hypothesis",
    "exp",
    "data",
    "data.tmp",
    "corpus",
    "demo_out",
    "build",
    "dist",
)


def _made(folder: str, names: list[str]) -> set[str]:
    """Which of the names in a folder are made by running things."""
    return _MADE(folder, names) | ({"audio", "lease"} & set(names) if Path(folder).name == "codec" else set())


def copy_of(folder: Path, *names: str) -> Path:
    """Copy files and folders of the checkout (everything, if none is named) to `folder`; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or [path.name for path in CHECKOUT.iterdir()]:
        source = CHECKOUT / name
        if name in _made(str(CHECKOUT), [name]):
            continue
        if source.is_dir():
            keep_data = name == "audiocodec"  # the package's data/ is source
            ignore = shutil.ignore_patterns("__pycache__") if keep_data else _made
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy2(source, folder / name)
    return folder


def run(
    command: Sequence[str | Path], folder: Path, status: int | None = 0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command with this interpreter's programs first on PATH; checks the exit status unless it is None."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, "PATH": path, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if status is not None:
        assert done.returncode == status, f"{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def benchmark_table(name: str, folder: Path, *arguments: str | Path, repeats: bool = True) -> list[dict[str, str]]:
    """Run a benchmark once, whether or not it repeats what it measures; its rows by column, the same on stdout and in the file."""
    output = folder / "table.md"
    command = [
        sys.executable,
        "-m",
        f"benchmarks.{name}",
        *arguments,
        *(["--rounds", "1"] if repeats else []),
        "-o",
        output,
    ]
    text = run(command, CHECKOUT).stdout
    assert text.strip() == output.read_text().strip()
    assert f"benchmarks.{name}" in text.split("\n")[2]
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    header, ruler, *rows = lines
    assert len(ruler) == len(header)
    return [dict(zip(header, row, strict=True)) for row in rows]


def write_noise(path: Path, frames: int) -> None:
    """A file of noise, so many frames of the model `tiny_model_path` (24 kHz, hop 320); its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(frames).standard_normal(320 * frames), 24_000)


def fingerprint(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Inode, modification time and content of every file below a folder: equal if nothing was touched."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): (p.stat().st_ino, p.stat().st_mtime_ns, p.read_bytes()) for p in files}
