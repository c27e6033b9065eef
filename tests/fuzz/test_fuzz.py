"""Damaged files of every kind, for so many seconds: only the toolkit's own errors, in bounded time and memory.

FUZZ_SECONDS (30) is the time of all targets together, FUZZ_SEED (0) the first seed. A failure names target and seed.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from audiocodec.errors import AudioCodecError

from .targets import OWN, TARGETS, Round

SECONDS = float(os.environ.get("FUZZ_SECONDS", "30"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
SLOW = 10.0  # seconds of CPU time that no single input may take
MEMORY = 2 << 30  # bytes that none may take beside what is there


@pytest.fixture
def limited() -> Iterator[None]:
    """More memory cannot be had: a bomb is a MemoryError, which is a failure."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_only_own_errors(target, tmp_path: Path, tiny_model_path: Path, limited: None) -> None:  # type: ignore[no-untyped-def]
    again: Round = target(tmp_path, tiny_model_path)
    end, seed, refused = time.monotonic() + SECONDS / len(TARGETS), SEED, 0
    while seed == SEED or time.monotonic() < end:
        begun = time.process_time()
        try:
            again(Random(seed))
        except (AudioCodecError, OSError, *OWN):
            refused += 1
        except BaseException as error:  # noqa: BLE001 - whatever it is
            pytest.fail(f"{target.__name__}, FUZZ_SEED={seed}: {type(error).__name__}: {error}".replace("\0", "?"))
        assert time.process_time() - begun < SLOW, f"{target.__name__}, FUZZ_SEED={seed}"
        seed += 1
    print(f"{target.__name__}: {seed - SEED} inputs, {refused} refused")
    assert refused or seed - SEED < 20, "no input was damaged"
