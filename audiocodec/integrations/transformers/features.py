"""Waveforms as batches, as transformers makes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature

from audiocodec.errors import AudioError


class AudioCodecFeatureExtractor(SequenceFeatureExtractor):  # type: ignore[misc]
    """Pads mono waveforms to a batch: `input_values [B, 1, S]`, `padding_mask [B, S]`."""

    model_input_names = ["input_values", "padding_mask"]  # noqa: RUF012 - as the base class has it

    def __init__(
        self, feature_size: int = 1, sampling_rate: int = 24_000, padding_value: float = 0.0, **more: Any
    ) -> None:
        """Take what `preprocessor_config.json` says."""
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **more)

    def __call__(
        self,
        audio: Any,
        sampling_rate: int | None = None,
        padding: bool | str | None = True,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Make a batch.

        Args:
            audio: float samples in [-1, 1], mono `[S]`, or a list of such.
            sampling_rate: of the audio, Hz; must be the codec's.
            padding: `True` or `longest`, `max_length`, or `False`.
            truncation: cut items longer than `max_length`.
            max_length: samples.
            return_tensors: `pt` or `np`.

        Raises:
            AudioError: another rate, channels, integers, or no audio; items of several lengths without padding as a tensor.
        """
        if sampling_rate not in (None, self.sampling_rate):
            raise AudioError(
                f"sampling_rate {sampling_rate}: this codec needs {self.sampling_rate} Hz; resample the audio"
            )
        items = [_mono(item) for item in (audio if _is_batch(audio) else [audio])]
        if return_tensors is not None and not padding and len({len(item) for item in items}) > 1:
            raise AudioError("items of several lengths are no tensor; use padding=True")
        padded = self.pad(
            BatchFeature({"input_values": items}),
            padding=padding or False,
            truncation=truncation,
            max_length=max_length,
            return_attention_mask=True,
        )
        padded["padding_mask"] = padded.pop("attention_mask")
        padded["input_values"] = [np.asarray(item, np.float32)[None] for item in padded["input_values"]]
        return padded.convert_to_tensors(return_tensors) if return_tensors is not None else padded

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoFeatureExtractor") -> None:
        """Do nothing: the file that a folder needs for it is always written."""


def _is_batch(audio: Any) -> bool:
    return isinstance(audio, (list, tuple)) and len(audio) > 0 and not np.isscalar(audio[0]) and np.ndim(audio[0]) > 0


def _mono(item: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    array = np.asarray(item)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind != "f":
        raise AudioError(f"need float samples of shape [S], or a list of such, got {array.dtype} {list(array.shape)}")
    return array.astype(np.float32)
