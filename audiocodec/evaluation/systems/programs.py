"""External programs: which are there, of which version, and running one without a shell."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from audiocodec.errors import AudioCodecError

TIMEOUT_SECONDS = 600
_SHOWN = 300  # characters of what a failing program said


def available(*names: str) -> bool:
    """Whether all these programs are on the path."""
    return all(shutil.which(name) is not None for name in names)


def ffmpeg_encodes(encoder: str) -> bool:
    """Whether there is an ffmpeg with this encoder compiled in."""
    if not available("ffmpeg"):
        return False
    listed = run(["ffmpeg", "-hide_banner", "-encoders"]).decode(errors="replace")
    return any(line.split()[1:2] == [encoder] for line in listed.splitlines())


def version(program: str, option: str) -> str:
    """The first line that a program prints when it is asked for its version."""
    return run([program, option]).decode(errors="replace").partition("\n")[0].partition(" Copyright")[0].strip()


def run(command: Sequence[str], timeout: float = TIMEOUT_SECONDS) -> bytes:
    """Run a program to its end.

    Args:
        command: program and arguments.
        timeout: seconds after which it is killed.

    Returns:
        What it wrote to its standard output.

    Raises:
        AudioCodecError: it is not there, failed (the message ends with what it said), or took too long.
    """
    program = command[0]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise AudioCodecError(f"{program} was stopped after {timeout:g} s") from None
    except OSError as error:
        raise AudioCodecError(f"{program} cannot be run: {error.strerror or error}") from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise AudioCodecError(f"{program} ended with status {done.returncode}: {said[-_SHOWN:] or 'no message'}")
    return done.stdout
