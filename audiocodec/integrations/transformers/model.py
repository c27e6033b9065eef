"""The codec as a model of transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, modeling_utils
from transformers.utils import ModelOutput

from audiocodec.build import build_codec
from audiocodec.codec.latent_error import LatentError
from audiocodec.codec.torch import Codec
from audiocodec.errors import AudioError, CheckpointError, UsageError
from audiocodec.hub import CONFIG_FILE
from audiocodec.integrations.transformers.configuration import AudioCodecConfig
from audiocodec.publishing import push, save_pretrained

_Tokenizer: Any = getattr(modeling_utils, "PreTrainedAudioTokenizerBase", PreTrainedModel)


@dataclass
class AudioCodecEncoderOutput(ModelOutput):  # type: ignore[misc]
    """Codes `audio_codes [B, K, T]`, 0 behind the end of an item, and the frames of each item, `[B]`."""

    audio_codes: Tensor | None = None
    audio_codes_lengths: Tensor | None = None


@dataclass
class AudioCodecDecoderOutput(ModelOutput):  # type: ignore[misc]
    """Audio `audio_values [B, 1, S]`, 0 behind the end of an item, and the samples of each item, `[B]`."""

    audio_values: Tensor | None = None
    audio_lengths: Tensor | None = None


@dataclass
class AudioCodecOutput(ModelOutput):  # type: ignore[misc]
    """What `encode` and `decode` give, one after the other."""

    audio_values: Tensor | None = None
    audio_codes: Tensor | None = None
    audio_codes_lengths: Tensor | None = None
    audio_lengths: Tensor | None = None


class AudioCodecModel(_Tokenizer):  # type: ignore[misc]
    """The codec; its parts `encoder`, `scale`, `quantizer`, `decoder` have the names of `model.safetensors`."""

    config_class = AudioCodecConfig
    base_model_prefix = "audiocodec"
    main_input_name = "input_values"
    input_modalities = "audio"

    def __init__(self, config: AudioCodecConfig) -> None:
        """Build it, with random weights."""
        super().__init__(config)
        codec = build_codec(config.codec_config, norm=False)
        self.encoder, self.scale, self.quantizer, self.decoder = (
            codec.encoder,
            codec.scale,
            codec.quantizer,
            codec.decoder,
        )
        try:
            codec.near_ties.error = LatentError.from_json(json.dumps(config.latent_error or []))
        except ValueError as error:
            raise CheckpointError(f"{CONFIG_FILE}: latent_error: {error}") from None
        codec.notes = config.notes or {}
        self._codec = (codec.eval(),)  # in a tuple: its parts are registered once
        self.post_init()

    @classmethod
    def from_pretrained(cls, name: Any, *args: Any, **options: Any) -> Any:
        """See `PreTrainedModel.from_pretrained`; weights that do not fit, or are not those of the fingerprint, are refused.

        Raises:
            CheckpointError: naming what does not fit.
        """
        wants_info = options.pop("output_loading_info", False)
        model, info = super().from_pretrained(name, *args, output_loading_info=True, **options)
        wrong = {
            kind: sorted(map(str, info.get(f"{kind}_keys") or ())) for kind in ("missing", "unexpected", "mismatched")
        }
        said = [f"{len(names)} {kind} ({', '.join(names[:3])})" for kind, names in wrong.items() if names]
        if said:
            raise CheckpointError(f"{name}: weights do not fit {CONFIG_FILE}: {'; '.join(said)}")
        model._settle()
        stated = model.config.fingerprint
        if stated is not None and model.dtype == torch.float32 and options.get("state_dict") is None:
            found = model.codec.fingerprint.hex()
            if found != stated:
                raise CheckpointError(
                    f"{name}: the weights have fingerprint {found}, {CONFIG_FILE} says {stated}: damaged, or another model"
                )
        return (model, info) if wants_info else model

    @property
    def codec(self) -> Codec:
        """The codec of `audiocodec.load`, of the same weights."""
        codec: Codec = self._codec[0]
        return codec

    def encode(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        num_quantizers: int | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Encode audio; each item gets the codes that it would get alone.

        Args:
            input_values: float samples `[B, 1, S]` or `[B, S]` at the codec's rate.
            padding_mask: `[B, S]` or `[B, 1, S]`, 1 for an item's own samples, which come first.
            num_quantizers: use only the first so many codebooks.
            return_dict: False gives a tuple.

        Returns:
            `AudioCodecEncoderOutput`.

        Raises:
            AudioError: a shape or mask that cannot be, or samples that are not finite.
            UsageError: weights that are not float32.
        """
        self._check_dtype()
        batch = input_values if input_values.dim() == 3 else input_values[:, None]
        lengths = _lengths(padding_mask, batch.shape[0], batch.shape[-1])
        codes, frames = self.codec.encode(batch, num_codebooks=num_quantizers, lengths=lengths)
        return self._given(AudioCodecEncoderOutput(codes, frames), return_dict)

    def decode(
        self,
        audio_codes: Tensor,
        padding_mask: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Decode codes; each item gets the audio that it would get alone.

        Args:
            audio_codes: integers `[B, K, T]`; K may be fewer than the codec has.
            padding_mask: of the samples, as for `encode`: the result has its length.
            return_dict: False gives a tuple.

        Returns:
            `AudioCodecDecoderOutput`.

        Raises:
            TokenFileError: codes of the wrong shape or outside their codebook.
            AudioError: a mask that cannot be.
            UsageError: weights that are not float32.
        """
        self._check_dtype()
        if padding_mask is None:
            wav = self.codec.decode(audio_codes)
            lengths = [wav.shape[-1]] * wav.shape[0]
            return self._given(AudioCodecDecoderOutput(wav, torch.tensor(lengths, device=wav.device)), return_dict)
        lengths = _lengths(padding_mask, audio_codes.shape[0], padding_mask.shape[-1])
        hop = self.codec.hop_length
        items = [
            self.codec.decode(codes[None, :, : -(-length // hop)], length)[0, 0]
            for codes, length in zip(audio_codes, lengths)
        ]
        wav = items[0].new_zeros(len(items), 1, padding_mask.shape[-1])
        for row, item in zip(wav, items):
            row[0, : len(item)] = item
        return self._given(AudioCodecDecoderOutput(wav, torch.tensor(lengths, device=wav.device)), return_dict)

    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        num_quantizers: int | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """`encode`, then `decode`: `AudioCodecOutput`, with audio of the length of `input_values`."""
        samples = input_values.shape[-1]
        mask = input_values.new_ones(input_values.shape[0], samples) if padding_mask is None else padding_mask
        encoded = self.encode(input_values, mask, num_quantizers, return_dict=True)
        decoded = self.decode(encoded.audio_codes, mask, return_dict=True)
        return self._given(AudioCodecOutput(**{**encoded, **decoded}), return_dict)

    def save_pretrained(self, save_directory: str | Path, *args: Any, **options: Any) -> None:
        """Write a folder as `audiocodec.save_pretrained` does; options of transformers, such as sizes of shards, change nothing.

        Raises:
            CheckpointError: it cannot be written, or weights are not finite.
            UsageError: `push_to_hub=True`, which is a method of its own.
        """
        if options.get("push_to_hub"):
            raise UsageError("save_pretrained(push_to_hub=True): call push_to_hub('org/name') instead")
        save_pretrained(self.codec, save_directory)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool | None = None,
        license: str = "unknown",
        tags: Sequence[str] = (),
    ) -> str:
        """Upload to `org/name` what `save_pretrained` writes; see `audiocodec.push`."""
        return push(self.codec, repo_id, license=license, tags=tags, private=bool(private), message=commit_message)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModel") -> None:
        """Do nothing: the file that a folder needs for it is always written."""

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Do nothing: weights are made when the codec is built, or loaded."""

    def _settle(self) -> None:
        """Make values what they are in a codec of `audiocodec.load`, to the last bit of the audio.

        transformers builds a model that it loads without any values: what no file holds, such as windows, is computed here.
        And it leaves weights where they lie in the file: products of matrices round otherwise there than in memory that
        torch aligns.
        """
        for tensor in (*self.parameters(), *self.buffers()):
            tensor.data = tensor.data.clone()
        own, stored = dict(self.named_buffers()), self.state_dict().keys()
        names = own.keys() - stored
        if names:
            made = dict(build_codec(self.config.codec_config, norm=False).named_buffers())
            for name in names:
                own[name].copy_(made[name])

    def _check_dtype(self) -> None:
        if self.dtype != torch.float32:
            raise UsageError(
                f"the model is in {self.dtype}: its tokens are defined in float32; load it with dtype='float32'"
            )

    def _given(self, output: Any, return_dict: bool | None) -> Any:
        wanted = getattr(self.config, "return_dict", True) if return_dict is None else return_dict
        return output if wanted else output.to_tuple()


def _lengths(mask: Tensor | None, items: int, samples: int) -> list[int]:
    """Samples of each item by a padding mask.

    Raises:
        AudioError: a mask of another shape, with holes, padding before the audio, or nothing but padding.
    """
    if mask is None:
        return [samples] * items
    rows = mask.reshape(items, -1).bool() if mask.dim() in (2, 3) and mask.shape[0] == items else mask
    if tuple(rows.shape) != (items, samples):
        raise AudioError(f"need a padding_mask of shape [{items}, {samples}], got {list(mask.shape)}")
    lengths = rows.sum(1)
    if not torch.equal(rows, torch.arange(samples, device=rows.device) < lengths[:, None]) or not bool(lengths.all()):
        raise AudioError("need a padding_mask of ones, then zeros (padding_side 'right'), with at least one 1 an item")
    found: list[int] = lengths.tolist()
    return found
