"""`discriminators.py EXP FILE`: those of an experiment's newest checkpoint in float16, for whoever goes on with its model."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


def main(exp: Path, out: Path) -> None:
    """Write them; nothing where the run has none."""
    newest = max(path for path in (exp / "checkpoints").glob("step_*") if path.is_dir())
    found = newest / "discriminators.safetensors"
    if found.exists():
        save_file({name: array.astype(np.float16) for name, array in load_file(found).items()}, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
