"""The audio behind a `wav.scp` value: a file, or a command whose output it is."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator

from audiocodec.errors import AudioCodecError, AudioError, ManifestError


def is_pipe(path: str) -> bool:
    """Whether a `wav.scp` value is a command whose output is the audio."""
    return path.endswith("|")


@contextlib.contextmanager
def audio_file(path: str, allow_pipes: bool = False) -> Iterator[str]:
    """The file behind a `wav.scp` value; a command's output is kept in a temporary file while the context is open.

    Raises:
        AudioError: the command failed.
        ManifestError: it is a command and pipes are not allowed.
    """
    if not is_pipe(path):
        yield path
        return
    if not allow_pipes:
        raise ManifestError(f"{path}: is a command; commands run only with --allow-pipes")
    if "\0" in path:
        raise AudioError(f"{path}: a command cannot hold a NUL byte")
    with tempfile.NamedTemporaryFile(prefix="audiocodec-pipe-") as spool:
        done = subprocess.run(
            path[:-1], shell=True, check=False, stdin=subprocess.DEVNULL, stdout=spool, stderr=subprocess.PIPE
        )
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise AudioError(
                f"{path}: the command ended with status {done.returncode}{''.join(f' ({x})' for x in last)}"
            )
        try:
            yield spool.name
        except AudioCodecError as error:  # about the temporary file
            raise type(error)(str(error).replace(spool.name, path)) from None
