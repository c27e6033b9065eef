"""What is wrong with a data folder and the audio that it names."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from audiocodec.audio import io
from audiocodec.data.manifest import FILES, AnyPath, Problem, Utterance, read_table, read_tables
from audiocodec.data.pipes import audio_file, is_pipe
from audiocodec.errors import AudioError, ManifestError


def validate(folder: AnyPath, deep: bool = False, allow_pipes: bool = False) -> list[Problem]:
    """Everything wrong with a data folder; empty when it is valid.

    Args:
        deep: decode every file to its end instead of reading headers only; finds cut files and NaN. Pipes are run
            only then.
    """
    base = Path(folder)
    utterances, problems = read_tables(base, allow_pipes)
    for name in FILES:
        ids = [key for key, _ in read_table(base / name, [])]
        for before, after in itertools.pairwise(ids):
            if os.fsencode(before) > os.fsencode(after):
                problems.append(Problem(str(base / name), f"not sorted (LC_ALL=C): {after} comes after {before}"))
                break
    for u in utterances:
        if not is_pipe(u.path) or (deep and allow_pipes):
            problems += _audio_problems(u, deep, allow_pipes)
    return problems


def _audio_problems(utterance: Utterance, deep: bool, allow_pipes: bool) -> list[Problem]:
    try:
        with audio_file(utterance.path, allow_pipes) as path:
            found = io.level(path).num_samples if deep else io.info(path).num_samples
    except (AudioError, ManifestError) as error:
        return [Problem(utterance.id, str(error))]
    if utterance.num_samples and found != utterance.num_samples:
        message = f"{utterance.path}: has {found} samples, utt2num_samples says {utterance.num_samples}"
        return [Problem(utterance.id, message)]
    return []
