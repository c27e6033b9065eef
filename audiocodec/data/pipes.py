"""The audio behind a `wav.scp` value: a file, a command whose output it is, or a part of either."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import tempfile
from collections.abc import Iterator

import numpy as np

from audiocodec.audio import io
from audiocodec.data.excerpt import Excerpt, samples_of
from audiocodec.errors import AudioCodecError, AudioError, ManifestError


def is_pipe(path: str) -> bool:
    """Whether a `wav.scp` value is a command whose output is the audio."""
    return path.endswith("|")


def files_behind(path: str) -> tuple[str, ...]:
    """The files that decide what audio a `wav.scp` value is."""
    return (path.recording, path.listed) if isinstance(path, Excerpt) else (path,)


@contextlib.contextmanager
def audio_file(path: str, allow_pipes: bool = False) -> Iterator[str]:
    """The file behind a `wav.scp` value; a command's output, or a part as mono, is a temporary file in the context.

    Raises:
        AudioError: the command failed, or the recording has no such part.
        ManifestError: it is a command and pipes are not allowed.
    """
    if isinstance(path, Excerpt):
        with audio_file(path.recording, allow_pipes) as whole:
            part, rate = _cut(path, whole)
        with tempfile.NamedTemporaryFile(prefix="audiocodec-part-", suffix=".wav") as spool:
            spool.write(_wav_header(len(part), rate) + part.astype("<f4").tobytes())
            spool.flush()
            yield spool.name
    elif not is_pipe(path):
        yield path
    elif not allow_pipes:
        raise ManifestError(f"{path}: is a command; commands run only with --allow-pipes")
    elif "\0" in path:
        raise AudioError(f"{path}: a command cannot hold a NUL byte")
    else:
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


def info(path: str, allow_pipes: bool = False) -> io.AudioInfo:
    """Rate, channels and exact length of the audio behind a `wav.scp` value, of a part without decoding it.

    Raises:
        AudioError, ManifestError: see `audio_file`.
    """
    if not isinstance(path, Excerpt):
        with audio_file(path, allow_pipes) as file:
            return io.info(file)
    with audio_file(path.recording, allow_pipes) as whole:
        return _part_of(path, whole)[1]


def _cut(path: Excerpt, whole: str) -> tuple[np.ndarray, int]:
    first, found = _part_of(path, whole)
    part = io.read_part(whole, first, found.num_samples)
    if len(part) < found.num_samples:
        raise AudioError(f"{path}: truncated: {len(part)} of {found.num_samples} samples from {first} on")
    return part, found.sample_rate


def _part_of(path: Excerpt, whole: str) -> tuple[int, io.AudioInfo]:
    """First sample of a part, and what it holds."""
    header = io.info(whole)
    try:
        first, count = samples_of(path.start, path.seconds, header.sample_rate, header.num_samples)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None
    return first, io.AudioInfo(header.sample_rate, 1, count)


def _wav_header(num_samples: int, sample_rate: int) -> bytes:
    """Of a mono file of 32-bit floats, which keeps samples beyond full scale."""
    size = 4 * num_samples
    form = struct.pack("<IHHIIHH", 16, 3, 1, sample_rate, 4 * sample_rate, 4, 32)
    return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size)
