"""What the machine has: processor and free memory, as far as the system tells; and keeping what was freed."""

from __future__ import annotations

import contextlib
import ctypes
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_BYTES = 2**29  # more than coding a piece of audio ever frees at once


def cpu_name() -> str:
    """Model of the first processor."""
    return _cpu_entry("model name") or platform.processor() or platform.machine()


def cpu_flags() -> set[str] | None:
    """Instruction sets of the first processor, as the kernel names them; None where the system does not list them."""
    found = _cpu_entry("flags", "Features")  # x86, Arm
    return None if found is None else set(found.split())


def free_bytes(device: torch.device) -> int | None:
    """Bytes that can still be allocated on `device`; None where that is not known.

    On the CPU the smaller of the machine's and, in a container, its own allowance (cgroup version 2).
    """
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    known = [free for free in (_of_machine(), _of_container()) if free is not None]
    return min(known, default=None)


def keep_freed() -> None:
    """Have the C library of this process keep freed memory; for a program of its own, not for a library.

    Each layer's output at the full rate is tens of megabytes, and glibc gives so much back to the system as soon as it
    is freed: the next layer faults the same pages in again, which took a third of the encoder's time. The peak does
    not change. Other C libraries are left as they are.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        if mallopt(M_MMAP_THRESHOLD, KEPT_BYTES):  # 0 where an old glibc refuses: then its own rule is the better one
            mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def _cpu_entry(*names: str) -> str | None:
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    entries = (line.split(":", 1) for line in lines if ":" in line)
    return next((value.strip() for name, value in entries if name.strip() in names), None)


def _of_machine() -> int | None:
    try:
        lines = MEMINFO.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def _of_container() -> int | None:
    try:
        limit, held = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        cached = next(
            int(line.split()[1])
            for line in (CGROUP / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        )
        return int(limit) - int(held) + cached
    except (OSError, StopIteration, ValueError):  # no limit is the word max
        return None
