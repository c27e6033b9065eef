"""What travels with every call: the files of the checkout that git does not ignore."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from common import MIB, LeaseError

HEAVY = 4 * MIB


def travelling(root: Path) -> dict[Path, int]:
    """Tracked files and untracked ones that are not ignored, as they lie there now, with their sizes; relative to `root`.

    Raises:
        LeaseError: no checkout of git.
    """
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(words, cwd=root, capture_output=True, check=False)
    except OSError as error:
        raise LeaseError(f"git: {error.strerror}; it says which files travel") from None
    if done.returncode:
        raise LeaseError(f"{root}: {os.fsdecode(done.stderr).strip()}; git says which files travel")
    names = {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}
    return {Path(name): (root / name).lstat().st_size for name in sorted(names) if os.path.lexists(root / name)}


def heavy(sizes: dict[Path, int]) -> str:
    """The largest of the files, in words: what one might leave out."""
    names = [f"{path} ({size / MIB:.0f} MiB)" for path, size in sizes.items() if size >= HEAVY]
    return ", ".join(names) or "no single file is large"
