"""A codec as Codec-SUPERB takes it: `config`, `extract_unit`, `decode_unit` and their batches.

The suite finds a codec as `Codec` in `SoundCodec/codec/<name>.py`, a subclass of its `BaseCodec`. `CodecSuperb` holds the
methods; docs/guide/suites.md has the file, which joins both. A unit is what `audiocodec.compress` writes: the codes, and
with them the level and the length, which decoding restores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from audiocodec.codec.files import compress, decode_tokens
from audiocodec.errors import AudioError
from audiocodec.loading import load
from audiocodec.tokens.token_file import TokenFile

_GENERAL = "SoundCodec.base_codec.general"


class CodecSuperb:
    """What `BaseCodec` leaves open. Name it before `BaseCodec` among the base classes, whose constructor calls `config`.

    Attributes:
        model: see `audiocodec.load`.
        num_codebooks: use only the first so many; None: all.
        sampling_rate, setting, supports_decode: of the suite.
    """

    model: ClassVar[str] = "speech_24k"
    num_codebooks: ClassVar[int | None] = None
    device: str = "cpu"
    sampling_rate: int
    setting: str
    supports_decode = True

    def config(self) -> None:
        """Load the model, on the suite's device where that is a CUDA device, else on the CPU."""
        self._codec = load(self.model, device=self.device if self.device.startswith("cuda") else "cpu")
        self.sampling_rate = self._codec.sample_rate
        self.setting = f"audiocodec_{self.model}" + (f"_{self.num_codebooks}" if self.num_codebooks else "")

    def extract_unit(self, data: Mapping[str, Any]) -> Any:
        """Codes of one recording.

        Args:
            data: `{"audio": {"array": samples [S] or [1, S], "sampling_rate": Hz}}`; any rate.

        Returns:
            The suite's `ExtractedUnit`: `unit` int64 `[K, T]`, and what `decode_unit` takes.

        Raises:
            AudioError: no audio in `data`, or audio that cannot be coded.
        """
        import torch

        tokens = self._encode(data)
        return import_module(_GENERAL).ExtractedUnit(
            unit=torch.from_numpy(tokens.codes.astype(np.int64)), stuff_for_synth=tokens
        )

    def decode_unit(self, stuff_for_synth: TokenFile) -> npt.NDArray[np.float32]:
        """Samples `[S]` at the codec's rate: of the recording's level, and as long as it."""
        wav, _ = decode_tokens(self._codec, stuff_for_synth, self.sampling_rate)
        return wav

    def batch_extract_unit(self, data_list: Sequence[Mapping[str, Any]]) -> Any:
        """The suite's `BatchExtractedUnit` of several recordings, each coded as it is alone."""
        found = [self.extract_unit(data) for data in data_list]
        return import_module(_GENERAL).BatchExtractedUnit(
            units=[each.unit for each in found],
            stuff_for_synth=[each.stuff_for_synth for each in found],
            batch_size=len(found),
        )

    def batch_decode_unit(self, batch_extracted_unit: Any) -> list[npt.NDArray[np.float32]]:
        """`decode_unit` of each."""
        return [self.decode_unit(tokens) for tokens in batch_extracted_unit.stuff_for_synth]

    def _encode(self, data: Mapping[str, Any]) -> TokenFile:
        audio = data.get("audio") if isinstance(data, Mapping) else None
        if not isinstance(audio, Mapping) or audio.get("array") is None or not audio.get("sampling_rate"):
            raise AudioError(
                'need {"audio": {"array": samples, "sampling_rate": Hz}}, got '
                + _said(audio if isinstance(audio, Mapping) else data)
            )
        coded = compress(self._codec, audio["array"], audio["sampling_rate"], num_codebooks=self.num_codebooks)
        tokens = TokenFile.from_bytes(coded)
        if tokens.coded_channels != 1:
            raise AudioError(f"the suite has one channel, got {tokens.coded_channels}; array.mean(0) mixes them")
        return tokens


def _said(data: Any) -> str:
    return f"keys {sorted(map(str, data))}" if isinstance(data, Mapping) else type(data).__name__
