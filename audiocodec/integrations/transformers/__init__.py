"""The codec as classes of transformers: importing this module registers them with the Auto classes.

`AutoModel.from_pretrained` and `AutoFeatureExtractor.from_pretrained` then read the folders and repositories that
`audiocodec push` and `save_pretrained` write, without code from there. The model is the codec of `audiocodec.load`:
the same weights, names and tokens, in float32 and without gradient.
"""

from __future__ import annotations

import transformers
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from audiocodec.hub import MODEL_TYPE
from audiocodec.integrations.transformers.configuration import AudioCodecConfig
from audiocodec.integrations.transformers.features import AudioCodecFeatureExtractor
from audiocodec.integrations.transformers.model import (
    AudioCodecDecoderOutput,
    AudioCodecEncoderOutput,
    AudioCodecModel,
    AudioCodecOutput,
)

__all__ = [
    "AudioCodecConfig",
    "AudioCodecDecoderOutput",
    "AudioCodecEncoderOutput",
    "AudioCodecFeatureExtractor",
    "AudioCodecModel",
    "AudioCodecOutput",
]


def _register() -> None:
    AutoConfig.register(MODEL_TYPE, AudioCodecConfig, exist_ok=True)
    AutoFeatureExtractor.register(AudioCodecConfig, AudioCodecFeatureExtractor, exist_ok=True)
    AutoModel.register(AudioCodecConfig, AudioCodecModel, exist_ok=True)
    tokenization = getattr(transformers, "AutoModelForAudioTokenization", None)
    if tokenization is not None:
        tokenization.register(AudioCodecConfig, AudioCodecModel, exist_ok=True)


_register()
