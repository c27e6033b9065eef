"""Freed memory stays with the process where the C library is glibc."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import sys, torch
from pathlib import Path
from audiocodec.machine import keep_freed
def held():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmRSS"))
if sys.argv[1] == "keep":
    keep_freed()
before = held()
torch.ones(16 * 2**20)
print(held() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept_only_when_asked() -> None:
    kept = {
        how: int(subprocess.run([sys.executable, "-c", SCRIPT, how], stdout=subprocess.PIPE, check=True).stdout)
        for how in ("keep", "default")
    }
    assert kept["keep"] > 60_000  # of 65,536 kB
    assert kept["default"] < 10_000
