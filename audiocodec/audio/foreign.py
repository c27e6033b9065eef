"""Audio that libsndfile does not read, through the program `ffmpeg` where it is installed: m4a, mp4, webm, wma, amr, ...

A kind is found by content, and ffmpeg is told which: left to guess, it would follow playlists to other files. What it
complains about is an error, because it gives what it could read all the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

from audiocodec.audio.container import read_at
from audiocodec.errors import AudioError

# How a file begins, at which byte, and ffmpeg's name of that kind.
_KINDS = (
    (4, b"ftyp", "mov"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"wide", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "asf"),
    (0, b"#!AMR", "amr"),
    (0, b"\xff\xf1", "aac"),
    (0, b"\xff\xf9", "aac"),
    (0, b"\x0bw", "ac3"),
    (0, b"wvpk", "wv"),
    (0, b"MAC ", "ape"),
    (0, b"TTA1", "tta"),
    (0, b"MPCK", "mpc8"),
    (0, b"MP+", "mpc"),
    (0, b".RMF", "rm"),
    (0, b"FLV\x01", "flv"),
    (8, b"AVI ", "avi"),
    (0, b"\0\0\x01\xba", "mpeg"),
    (188, b"G", "mpegts"),
    (0, b"NIST", "nistsphere"),
    (0, b"OggS", "ogg"),
    (0, b"caff", "caf"),
    (8, b"WAVE", "wav"),
)
_SHARED = ("nistsphere", "ogg", "caf", "wav")  # kinds that libsndfile reads too, but for some of their codecs
_GSM_FRAME = 33  # bytes, of which the first begins with 0xD


def kind_of(descriptor: int) -> str:
    """What ffmpeg calls the kind of a file; empty for a kind that is not known."""
    head = read_at(descriptor, 1024, 0)
    for at, magic, kind in _KINDS:
        if head[at:].startswith(magic) and (kind != "mpegts" or head[:1] == b"G"):
            return kind
    is_gsm = len(head) >= 4 * _GSM_FRAME and all(byte >> 4 == 0xD for byte in head[::_GSM_FRAME])
    return "gsm" if is_gsm else ""


def converted(path: str | os.PathLike[str], kind: str, cause: str, seconds: float | None = None) -> int:
    """Descriptor of a temporary WAV file of float samples with the audio of a file; it goes when it is closed.

    Args:
        path: of the file.
        kind: as `kind_of` calls it.
        cause: why libsndfile does not read it.
        seconds: of audio that are wanted, from the start; None: all.

    Raises:
        AudioError: without the file's name: ffmpeg is not installed, or has something to complain about.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        cause = cause if kind in _SHARED else f"libsndfile does not read files of its kind ({kind})"
        raise AudioError(f"{cause}; install the program ffmpeg to read it, or convert it to WAV or FLAC")
    with tempfile.TemporaryDirectory(prefix="audiocodec-", ignore_cleanup_errors=True) as folder:
        target = os.path.join(folder, "audio.wav")
        # All tracks of audio: the WAV writer refuses more than one, and none is passed over.
        words = ["-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file", "-f", kind]
        words += [
            "-i",
            f"file:{os.path.abspath(path)}",
            "-map",
            "0:a",
            *([] if seconds is None else ["-t", f"{seconds:g}"]),
            "-c:a",
            "pcm_f32le",
            "-rf64",
            "auto",
            "-f",
            "wav",
        ]
        done = subprocess.run(
            [program, *words, f"file:{target}"], check=False, stdin=subprocess.DEVNULL, capture_output=True
        )
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if done.returncode or said or not os.path.isfile(target):
            why = said[-1] if said else f"status {done.returncode}"
            raise AudioError(f"{cause if kind in _SHARED else 'not read'}; ffmpeg as {kind}: {why}")
        return os.open(target, os.O_RDONLY | getattr(os, "O_BINARY", 0))
