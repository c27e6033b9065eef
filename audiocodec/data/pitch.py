"""Pitch of the utterances of a data folder, found once and kept beside them in `pitch.safetensors`.

Values are hundredths of a hertz, 0 where unvoiced, every `f0.STEP_SECONDS`. An utterance whose number of samples has
changed, or that is new, is looked at again. Whoever has the file needs no pitch tracker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from audiocodec.audio import f0, io
from audiocodec.data.manifest import Utterance
from audiocodec.data.pipes import audio_file
from audiocodec.data.tables import refuse
from audiocodec.errors import AudioError, ConfigError, ManifestError
from audiocodec.files import replacing
from audiocodec.installing import advice

FILE = "pitch.safetensors"
FORMAT = "audiocodec pitch 1"
LEVEL_DB = -24.0  # that audio is brought to before it is looked at

Track = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class _Kept:
    num_samples: int
    track: Track


def tracks(
    folder: Path,
    utterances: Sequence[Utterance],
    allow_pipes: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Track]:
    """The pitch of `utterances`, from the file of their folder; what it lacks is found and added.

    Args:
        folder: data folder they were read from.
        utterances: any of them, in any order.
        allow_pipes: run commands that stand in place of paths.
        progress: called with (utterances done, of how many).

    Returns:
        Hundredths of a hertz, uint16 `[T]` each.

    Raises:
        ManifestError: the file cannot be used or written, or audio cannot be read; names them.
        ConfigError: pitch is missing and swift-f0 is not installed.
    """
    path = folder / FILE
    kept = _read(path) if path.exists() else {}
    missing = [u for u in utterances if u.id not in kept or kept[u.id].num_samples != u.num_samples]
    if missing:
        kept |= _found(missing, folder, allow_pipes, progress)
        _write(path, kept)
    return [kept[u.id].track for u in utterances]


def _found(
    missing: Sequence[Utterance], folder: Path, allow_pipes: bool, progress: Callable[[int, int], None] | None
) -> dict[str, _Kept]:
    if find_spec("swift_f0") is None:
        raise ConfigError(
            f"{folder / FILE}: {len(missing)} utterances have no pitch in it, and finding it needs swift-f0; "
            f"{advice('train')}, or bring the file from where it was made"
        )
    found: dict[str, _Kept] = {}
    problems: list[object] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        work = [pool.submit(_track, u, allow_pipes) for u in missing]
        for done, (utterance, future) in enumerate(zip(missing, work), 1):
            try:
                found[utterance.id] = _Kept(utterance.num_samples, future.result())
            except (AudioError, ManifestError) as error:
                problems.append(f"{utterance.id}: {error}")
            if progress is not None:
                progress(done, len(missing))
    refuse(problems)
    return found


def _track(utterance: Utterance, allow_pipes: bool) -> Track:
    with audio_file(utterance.path, allow_pipes) as path:
        wav, rate = io.read(path)
    mono = wav.mean(0)
    rms, peak = float(np.sqrt(np.mean(np.square(mono, dtype=np.float64)))), float(np.abs(mono).max())
    gain = min(10 ** (LEVEL_DB / 20) / max(rms, 1e-9), 1 / max(peak, 1e-9))
    hertz, voiced = f0.track((mono * np.float32(gain)).astype(np.float32), rate)
    values: Track = np.where(voiced, np.rint(hertz * 100), 0).astype(np.uint16)
    return values


def _read(path: Path) -> dict[str, _Kept]:
    try:
        with safe_open(path, "numpy") as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise ManifestError(f"{path}: is no file of pitch; remove it to have it made again")
            names, counts, samples, values = (
                file.get_tensor(key) for key in ("ids", "frames", "num_samples", "values")
            )
        ids = names.tobytes().decode().split("\n") if len(names) else []
    except (OSError, SafetensorError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot read it ({error}); remove it to have it made again") from error
    whole = (counts.dtype, samples.dtype, values.dtype) == (np.int64, np.int64, np.uint16)
    if (
        not whole
        or not len(ids) == len(counts) == len(samples)
        or counts.min(initial=0) < 0
        or counts.sum() != len(values)
    ):
        raise ManifestError(f"{path}: its tables do not fit each other; remove it to have it made again")
    pieces = np.split(values, np.cumsum(counts)[:-1]) if len(ids) else []
    return {name: _Kept(int(n), piece) for name, n, piece in zip(ids, samples, pieces)}


def _write(path: Path, kept: dict[str, _Kept]) -> None:
    tensors: dict[str, npt.NDArray[Any]] = {
        "ids": np.frombuffer("\n".join(kept).encode(), np.uint8),
        "frames": np.array([len(k.track) for k in kept.values()], np.int64),
        "num_samples": np.array([k.num_samples for k in kept.values()], np.int64),
        "values": np.concatenate([k.track for k in kept.values()]),
    }
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(save(tensors, {"format": FORMAT}))
    except (OSError, SafetensorError) as error:
        raise ManifestError(f"{path}: cannot write the pitch of the utterances: {error}") from error
