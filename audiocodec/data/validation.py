"""What is wrong with a data folder and the audio that it names."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from audiocodec.audio import io
from audiocodec.data import pipes
from audiocodec.data.manifest import FILES, SEGMENTS, AnyPath, Utterance, is_number, read_tables
from audiocodec.data.tables import Problem, read_lines, read_table
from audiocodec.errors import AudioError, ManifestError

TOLERANCE_SECONDS = 0.1  # of utt2dur, which others round


@dataclass(frozen=True)
class BadAudio(Problem):
    """A recording that cannot be used; the tables are none the worse for it."""


def validate(folder: AnyPath, deep: bool = False, allow_pipes: bool = False) -> list[Problem]:
    """Everything wrong with a data folder; empty when it is valid.

    Args:
        deep: decode every file to its end instead of reading headers only; finds cut files and NaN. Pipes are run
            only then.
    """
    base = Path(folder)
    utterances, problems = read_tables(base, allow_pipes)
    for name in (*FILES, SEGMENTS):
        ids = [found[0] for _, found in read_lines(base / name, [])]
        for before, after in itertools.pairwise(ids):
            if os.fsencode(before) > os.fsencode(after):
                problems.append(Problem(str(base / name), f"not sorted (LC_ALL=C): {after} comes after {before}"))
                break
    durations = dict(read_table(base / "utt2dur", []))
    for u in utterances:
        if not pipes.is_pipe(pipes.files_behind(u.path)[0]) or (deep and allow_pipes):
            problems += audio_problems(u, durations.get(u.id, ""), deep, allow_pipes)
    return problems


def audio_problems(utterance: Utterance, duration: str, deep: bool, allow_pipes: bool) -> list[Problem]:
    """What is wrong with the audio of an utterance.

    Args:
        utterance: of a data folder.
        duration: that `utt2dur` states, in seconds; empty: it does not.
        deep, allow_pipes: see `validate`.
    """
    try:
        found = pipes.info(utterance.path, allow_pipes)
        if deep:
            with pipes.audio_file(utterance.path, allow_pipes) as path:
                found = io.AudioInfo(found.sample_rate, found.channels, io.level(path).num_samples)
    except (AudioError, ManifestError) as error:
        return [BadAudio(utterance.id, str(error))]
    has = f"{utterance.path}: has {found.num_samples} samples"
    if utterance.num_samples and found.num_samples != utterance.num_samples:
        return [BadAudio(utterance.id, f"{has}, utt2num_samples says {utterance.num_samples}")]
    seconds = found.num_samples / found.sample_rate
    if is_number(duration) and abs(float(duration) - seconds) > TOLERANCE_SECONDS:
        return [BadAudio(utterance.id, f"{utterance.path}: has {seconds:.3f} s, utt2dur says {duration}")]
    return []
