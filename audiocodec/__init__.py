"""Discrete audio tokens for speech: waveforms to codes and back.

Code audio:
    load: a codec, on torch or onnxruntime; by the name of a model, a file, or a repository on a hub.
    Codec: the codec on torch, with gradients; `codec.encode`, `decode`, `latents`, `quantize`, `embed`.
    compress, decompress: audio in memory to the bytes of a token file and back.
    encode_file, decode_file: audio files to a `TokenFile` and back, in bounded memory.
    TokenFile: codes with all that decoding needs.

Give away:
    save_pretrained: a codec as a folder that `load` and transformers read.
    push: the same to a repository on a hub.

Train and measure:
    train: a codec from a configuration.
    evaluate: score reconstructions, or a model, against their references.
    compare: score models, Opus, Codec2, EnCodec and other systems on the same utterances.
    report: one HTML page about evaluations.

Every failure is an `AudioCodecError`; its subclasses say of what kind. `import audiocodec` is cheap: nothing is imported
before it is used, torch least of all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = [
    "AudioCodecError",
    "AudioError",
    "CheckpointError",
    "Codec",
    "ConfigError",
    "CorpusError",
    "CorruptFile",
    "FingerprintMismatch",
    "HubError",
    "LanguageModelError",
    "ManifestError",
    "MetricUndefined",
    "NotATokenFile",
    "NotFinite",
    "PriorError",
    "ReportError",
    "TokenFile",
    "TokenFileError",
    "TrainingError",
    "TruncatedFile",
    "UnsupportedVersion",
    "UsageError",
    "__version__",
    "compare",
    "compress",
    "decode_file",
    "decompress",
    "encode_file",
    "evaluate",
    "load",
    "push",
    "report",
    "save_pretrained",
    "train",
]

if TYPE_CHECKING:
    from audiocodec.codec.files import compress, encode_file
    from audiocodec.codec.torch import Codec
    from audiocodec.decoding import decode_file, decompress
    from audiocodec.errors import (
        AudioCodecError,
        AudioError,
        CheckpointError,
        ConfigError,
        CorpusError,
        CorruptFile,
        FingerprintMismatch,
        HubError,
        LanguageModelError,
        ManifestError,
        MetricUndefined,
        NotATokenFile,
        NotFinite,
        PriorError,
        ReportError,
        TokenFileError,
        TrainingError,
        TruncatedFile,
        UnsupportedVersion,
        UsageError,
    )
    from audiocodec.evaluation.compare import compare
    from audiocodec.evaluation.evaluate import evaluate
    from audiocodec.loading import load
    from audiocodec.publishing import push, save_pretrained
    from audiocodec.reporting.write import report
    from audiocodec.tokens.token_file import TokenFile
    from audiocodec.training.run import train

_HOMES = {
    "Codec": "codec.torch",
    "TokenFile": "tokens.token_file",
    "compare": "evaluation.compare",
    "compress": "codec.files",
    "decode_file": "decoding",
    "decompress": "decoding",
    "encode_file": "codec.files",
    "evaluate": "evaluation.evaluate",
    "load": "loading",
    "push": "publishing",
    "report": "reporting.write",
    "save_pretrained": "publishing",
    "train": "training.run",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'audiocodec' has no attribute {name!r}")
    try:
        return getattr(import_module(f"audiocodec.{_HOMES.get(name, 'errors')}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("audiocodec"):
            raise
        from audiocodec.installing import advice

        raise AttributeError(
            f"audiocodec.{name} needs {error.name}, which is not installed; {advice('torch')}"
        ) from error


def __dir__() -> list[str]:
    return __all__
