"""How many tokens a model in 8 bits has in common with the same model in float32."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from audiocodec.codec.files import encode_file
from audiocodec.onnx.codec import OnnxCodec
from audiocodec.onnx.folder import TokenAgreement
from audiocodec.onnx.load import read
from audiocodec.onnx.model import OnnxModel


def measure_agreement(model: str | Path, int8: OnnxModel, audio: Iterable[str | Path]) -> TokenAgreement:
    """Encode files with both models and count equal codes.

    Args:
        model: model file, for float32.
        int8: the same model in 8 bits.
        audio: files, one or more.

    Raises:
        AudioError: a file cannot be read or encoded.
    """
    coders = OnnxCodec(read(model)), OnnxCodec(int8)
    files = codes = equal = 0
    for path in audio:
        exact, rough = (encode_file(coder, path).codes for coder in coders)
        files, codes, equal = files + 1, codes + exact.size, equal + int((exact == rough).sum())
    return TokenAgreement(files, codes, equal / codes)
