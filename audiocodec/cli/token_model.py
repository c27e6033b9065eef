"""The model of a data set of tokens, from its header alone."""

from __future__ import annotations

import argparse

from audiocodec.loading import Model
from audiocodec.onnx.folder import FolderHeader
from audiocodec.tokenize.plan import ModelFacts


def facts(args: argparse.Namespace) -> ModelFacts:
    """What is written about the model that `--model` and `--num-codebooks` name.

    Raises:
        CheckpointError: there is no such model.
        UsageError: it has fewer codebooks.
    """
    model = Model(args.model, num_codebooks=args.num_codebooks)
    used = args.num_codebooks or model.config.quantizer.num_codebooks
    return ModelFacts(
        name=model.config.name,
        fingerprint=model.fingerprint.hex(),
        precision=model.header.precision if isinstance(model.header, FolderHeader) else "float32",
        sample_rate=model.config.sample_rate,
        hop_length=model.config.hop_length,
        codebook_sizes=(model.config.quantizer.codebook_size,) * used,
    )
