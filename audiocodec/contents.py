"""What a file holds, by its content: tokens, a model, or audio; without torch and without the weights."""

from __future__ import annotations

import os
from typing import Any

from audiocodec import hub, model_places, models
from audiocodec.audio import io
from audiocodec.data.corpus import AUDIO_EXTENSIONS
from audiocodec.errors import AudioCodecError, CheckpointError
from audiocodec.tokens.layout import MAGIC
from audiocodec.tokens.token_file import EXTENSION, describe_file


def recognise(path: str) -> dict[str, Any]:
    """Describe a file, an experiment folder, an exported folder or a model by its name.

    Args:
        path: of the file or folder, or the name of a model in the package, in the user's folder or on a hub.

    Returns:
        Ready for JSON: `path`, `kind` (`tokens`, `model` or `audio`), then what that kind has.

    Raises:
        AudioCodecError: nothing of these, or damaged.
        OSError: it cannot be read.
    """
    if os.path.isdir(path) or (not os.path.exists(path) and _is_name(path)):
        return _of_model(path)
    with open(path, "rb") as file:
        head = file.read(16)
    if head.startswith(MAGIC) or path.endswith(EXTENSION):
        return {"path": path, "kind": "tokens", **describe_file(path)}
    if head[8:9] == b"{" or path.endswith(".safetensors"):
        return _of_model(path)
    found = io.info(path)
    return {
        "path": path,
        "kind": "audio",
        "seconds": found.num_samples / found.sample_rate,
        "sample_rate": found.sample_rate,
        "channels": found.channels,
        "num_samples": found.num_samples,
    }


def _is_name(path: str) -> bool:
    """Whether it names a model at hand or a repository; what is called like a file is a file that is not there."""
    file = path.lower().endswith((EXTENSION, *AUDIO_EXTENSIONS))
    return path in model_places.at_hand() or (not file and hub.parse(path) is not None)


def _of_model(path: str) -> dict[str, Any]:
    header = models.describe(path)
    try:
        config = header.config
    except AudioCodecError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return {
        "path": header.path,
        "kind": "model",
        "name": model_places.name_of(header.path),
        "configuration": config.name,
        "sample_rate": config.sample_rate,
        "channels": config.channels,
        "hop_length": config.hop_length,
        "frame_rate": config.frame_rate,
        "num_codebooks": config.quantizer.num_codebooks,
        "codebook_size": config.quantizer.codebook_size,
        "kbps_payload": config.bitrate_bps / 1000,
        "decoder": config.model.decoder.kind,
        "causal": config.model.causal,
        **header.facts(),
        "bytes": header.bytes,
        "fingerprint": header.fingerprint,
        "notes": dict(header.notes),
    }
