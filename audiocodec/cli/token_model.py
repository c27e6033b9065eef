"""The model of a data set of tokens, from its header alone."""

from __future__ import annotations

from audiocodec.errors import UsageError
from audiocodec.loading import Model
from audiocodec.onnx.folder import FolderHeader
from audiocodec.tokenize.plan import ModelFacts


def facts(name: str | None, num_codebooks: int | None = None) -> ModelFacts:
    """What is written about a model.

    Args:
        name: what `-m` takes; None: the default.
        num_codebooks: that are used; None: all.

    Raises:
        CheckpointError: there is no such model.
        UsageError: it has fewer codebooks, or codes several channels.
    """
    model = Model(name, num_codebooks=num_codebooks)
    if model.channels > 1:
        raise UsageError(
            f"{model.header.path}: codes {model.channels} channels, and data sets of tokens hold one; "
            "audiocodec encode writes token files of both"
        )
    used = num_codebooks or model.config.quantizer.num_codebooks
    return ModelFacts(
        name=model.config.name,
        fingerprint=model.fingerprint.hex(),
        precision=model.header.precision if isinstance(model.header, FolderHeader) else "float32",
        sample_rate=model.config.sample_rate,
        hop_length=model.config.hop_length,
        codebook_sizes=(model.config.quantizer.codebook_size,) * used,
    )
