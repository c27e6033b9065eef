"""`config.json` of a repository, as transformers reads it."""

from __future__ import annotations

import json
from typing import Any

from transformers import PreTrainedConfig

from audiocodec.config.plain import config_from_json
from audiocodec.config.schema import Config
from audiocodec.errors import ConfigError
from audiocodec.hub import CONFIG_FILE, MODEL_TYPE


class AudioCodecConfig(PreTrainedConfig):  # type: ignore[misc]
    """What `config.json` says.

    Attributes:
        codec: the configuration of the codec, every key written out; None: the defaults of this package.
        sampling_rate, hop_length, num_quantizers, codebook_size: the same as in there, under the names of transformers.
        fingerprint: of the weights; None: not known.
        notes: of the model file.
        latent_error: measured error of the latents, which says what is decided in float64.
    """

    model_type = MODEL_TYPE

    codec: dict[str, Any] | None = None
    sampling_rate: int | None = None
    hop_length: int | None = None
    num_quantizers: int | None = None
    codebook_size: int | None = None
    fingerprint: str | None = None
    latent_error: list[float] | None = None
    notes: dict[str, Any] | None = None

    def __post_init__(self, **more: Any) -> None:
        """Fill in what the codec's configuration says.

        Raises:
            ConfigError: it makes no sense to this version, or an attribute says something else.
        """
        config = self.codec_config
        facts = {
            "sampling_rate": config.sample_rate,
            "hop_length": config.hop_length,
            "num_quantizers": config.quantizer.num_codebooks,
            "codebook_size": config.quantizer.codebook_size,
        }
        for name, value in facts.items():
            if getattr(self, name) not in (None, value):
                raise ConfigError(f"{CONFIG_FILE}: {name} is {getattr(self, name)}, the codec in there has {value}")
            setattr(self, name, value)
        super().__post_init__(**more)

    @property
    def codec_config(self) -> Config:
        """The codec's configuration.

        Raises:
            ConfigError: it makes no sense to this version.
        """
        return Config() if self.codec is None else config_from_json(json.dumps(self.codec), CONFIG_FILE)

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.codec_config.frame_rate

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoConfig") -> None:
        """Do nothing: the file that a folder needs for it is always written."""
