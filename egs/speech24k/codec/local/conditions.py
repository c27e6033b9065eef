"""Changed copies of clips, to see what a codec does away from clean speech: FLAC files at 24 kHz.

The changed audio is the reference of such a set: a codec has to give back what it hears. Most changes are those of training
(`audiocodec.training.batches.augmentation`), on a whole clip at a time; what is drawn hangs on condition and clip
alone; whose voice is added and which clips are silent hangs on their order, too. The music is
chords made here, not recorded.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from audiocodec.audio import io
from audiocodec.config.schema import AugmentConfig
from audiocodec.data.manifest import Utterance
from audiocodec.errors import ManifestError
from audiocodec.training.batches.augmentation import Augmentation

RATE = 24_000
LEVEL_DB = -40.0  # RMS of a quiet clip, dB full scale
MUSIC_DB = 10.0  # chords below the speech
CHORD_SECONDS = 1.0
SILENT_EVERY = 10  # of the clips with silence one is nothing else, the others have a gap


def make(condition: str, utterances: Sequence[Utterance], folder: Path) -> list[Utterance]:
    """Write the changed clips to `folder`; one that would not change is not touched.

    Args:
        condition: level, music, silence, or a kind of `AugmentConfig`.
        utterances: the clips.
        folder: made as a whole or not at all.

    Returns:
        The changed clips: ids and speakers stay.

    Raises:
        AudioError: a clip cannot be read.
        ManifestError: a second talker is asked for, and there is one speaker only.
    """
    temporary = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    made = []
    for number, u in enumerate(utterances):
        wav = _read(u)
        seed = int.from_bytes(hashlib.sha256(os.fsencode(f"{condition} {u.id}")).digest()[:7], "big")
        torch.manual_seed(seed)
        if condition == "level":
            changed = wav * 10 ** (LEVEL_DB / 20) / max(_rms(wav), 1e-9)
        elif condition == "music":
            changed = wav + chords(len(wav), np.random.default_rng(seed)) * _rms(wav) * 10 ** (-MUSIC_DB / 20)
        elif condition == "silence":
            changed = _augmented("gap", wav) if number % SILENT_EVERY else np.zeros_like(wav)
        elif condition == "talker":
            changed = _augmented("talker", wav, _read(_another(utterances, number)))
        else:
            changed = _augmented(condition, wav)
        io.write(temporary / f"{u.id}.flac", changed / max(1.0, float(np.abs(changed).max())), RATE)
        made.append(Utterance(u.id, os.path.abspath(folder / f"{u.id}.flac"), u.speaker, len(changed)))
    if _equal(temporary, folder):
        shutil.rmtree(temporary)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    return made


def chords(num_samples: int, generator: np.random.Generator) -> np.ndarray:
    """Triads of tones with falling overtones, another one every second; float64 `[num_samples]` of RMS 1."""
    step = round(CHORD_SECONDS * RATE)
    time = np.arange(step) / RATE
    swell = np.minimum(1, np.minimum(time, CHORD_SECONDS - time) / 0.05)  # 50 ms up and down
    music = []
    for _ in range(-(-num_samples // step)):
        root, third = 110 * 2 ** (generator.integers(0, 13) / 12), generator.choice([3, 4])
        tones = [root * 2 ** (halves / 12) for halves in (0, third, 7, 12)]
        music.append(swell * sum(np.sin(2 * np.pi * k * tone * time) / k for tone in tones for k in range(1, 7)))
    joined = np.concatenate(music)[:num_samples]
    return np.asarray(joined / max(_rms(joined), 1e-9))


def _augmented(kind: str, wav: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    """A clip after one kind of augmentation; with a second voice it is cut to the shorter of both."""
    batch = [wav] if other is None else [wav[: len(other)], other[: len(wav)]]
    change = Augmentation(AugmentConfig(**{kind: 1.0}), RATE)
    return np.asarray(change(torch.from_numpy(np.stack(batch)).unsqueeze(1))[0, 0])


def _another(utterances: Sequence[Utterance], number: int) -> Utterance:
    """The next clip of another speaker."""
    after = [*utterances[number + 1 :], *utterances[:number]]
    for u in after:
        if u.speaker != utterances[number].speaker:
            return u
    raise ManifestError(f"dev has one speaker only, {utterances[number].speaker}: no second voice for a talker")


def _read(utterance: Utterance) -> np.ndarray:
    """float32 `[S]` at RATE."""
    wav, rate = io.read(utterance.path)
    return np.asarray(io.resample(wav.mean(axis=0), rate, RATE))


def _rms(wav: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wav, dtype=np.float64))))


def _equal(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files."""
    if not other.is_dir():
        return False
    seen = filecmp.dircmp(one, other)
    return not (seen.left_only or seen.right_only or seen.diff_files or seen.funny_files)
