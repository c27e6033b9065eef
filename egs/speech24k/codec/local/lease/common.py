"""What both sides of a lease share, with the standard library alone: errors, sizes, checksums, the packing list."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

MIB = 1 << 20
LIST = "pack.json"
STREAM = "stream"  # the only file of a part
FIRST, THEN = (
    "config",
    "then",
)  # runs, by their configurations in base/: the first, and one that begins with what it made


class LeaseError(Exception):
    """Something that cannot go on; the message says where, what and what to do."""


@dataclass(frozen=True)
class Part:
    """A stretch of the packed tar, which travels in a folder of its own."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Pack:
    """The packing list.

    Attributes:
        id: of this pack; everything that comes back names it.
        call_mib: what one call may carry, the tree included.
        unpacked_bytes: that the packed files take on the card.
        summary: what is in it, in words.
        parts: in their order.
    """

    id: str
    call_mib: float
    unpacked_bytes: int
    summary: str
    parts: list[Part]

    @staticmethod
    def read(folder: Path) -> Pack:
        """Read the packing list of a folder.

        Raises:
            LeaseError: there is none, or it is damaged.
        """
        path = folder / LIST
        try:
            values = json.loads(path.read_text())
            return Pack(**values | {"parts": [Part(**part) for part in values["parts"]]})
        except OSError as error:
            raise LeaseError(f"{path}: {error.strerror}; lease.sh pack makes it") from None
        except (ValueError, TypeError, KeyError) as error:
            raise LeaseError(f"{path}: damaged: {error!r}") from None

    def write(self, folder: Path) -> None:
        """Write it as `pack.json`."""
        (folder / LIST).write_text(json.dumps(asdict(self), indent=1) + "\n")


def runs(base: Path) -> list[str]:
    """Names of the runs that are packed, in their order."""
    return [name for name in (FIRST, THEN) if (base / f"{name}.yaml").exists()]


def sha256_of(path: Path) -> str:
    """Checksum of a file, in hex."""
    with open(path, "rb") as file:
        found = hashlib.sha256()
        while block := file.read(MIB):
            found.update(block)
    return found.hexdigest()


def bytes_below(folder: Path) -> int:
    """Size of all files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def need_space(folder: Path, wanted: int) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        LeaseError: fewer than `wanted` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise LeaseError(f"{folder}: {free / MIB:.0f} MiB are free, {wanted / MIB:.0f} are needed")


def in_mib(count: int) -> str:
    """A size in words."""
    return f"{count / MIB:.1f} MiB"


def extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Unpack files and folders into a folder and nowhere else; `extractall(filter="data")` is too new for Python 3.11.2, of Debian 12.

    Raises:
        tarfile.ExtractError: something else is in it.
    """
    tar.extraction_filter = getattr(tarfile, "data_filter", None)
    inside = folder.resolve()
    for member in tar:
        if not (member.isreg() or member.isdir()) or not (inside / member.name).resolve().is_relative_to(inside):
            raise tarfile.ExtractError(f"{member.name}: no file or folder inside {folder}")
        tar.extract(member, folder)


def exit_status(work: Callable[[], int]) -> int:
    """Do some work; an error of ours, of a tar or of the disk becomes one line and status 1."""
    try:
        return work()
    except (LeaseError, OSError, tarfile.TarError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 1
