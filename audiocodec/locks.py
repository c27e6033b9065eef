"""A folder for one process at a time. The operating system drops the lock with the process, however that ends."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from audiocodec.errors import UsageError

FILE = ".lock"
_BYTE = 1 << 30  # Windows locks a byte, which nobody else can read then: one far behind the text


@contextlib.contextmanager
def alone(folder: str | os.PathLike[str], doing: str) -> Iterator[None]:
    """Have `folder` for this process until the context is left; one that was made for it and stays empty goes again.

    Args:
        folder: what is written to.
        doing: words for the message, `trained`.

    Raises:
        UsageError: another process has it; names that.
    """
    made = not os.path.isdir(folder)
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / FILE
    descriptor = _taken(path)
    if descriptor is None:
        raise UsageError(f"{folder}: is being {doing} by {_holder(path)}; wait for it, or choose another folder")
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(errors="replace"))
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no file that is open
            path.unlink()
        os.close(descriptor)
        if made:
            with contextlib.suppress(OSError):  # it is not empty
                os.rmdir(folder)


def _taken(path: Path) -> int | None:
    """The open lock file, locked; None: another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = _lock(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if locked and _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)
        if not locked:
            return None


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the file is the one of that name: the process that had it before may have removed it meanwhile."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
    except OSError:
        return "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(descriptor, 0, os.SEEK_SET)
        return True
else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks: nothing to hold on to
            return True
        return True
