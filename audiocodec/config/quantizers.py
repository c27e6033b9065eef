"""Cross-checks of the quantizer: which keys belong to which kind, which sizes a kind can have, how much memory it takes."""

from __future__ import annotations

from typing import TypeAlias

from audiocodec.config.levels import fsq_levels, nearest_fsq_sizes
from audiocodec.config.schema import QuantizerConfig

QUANTIZER_KINDS = ("simvq", "vq", "vq_ema", "vq_fc", "fsq", "lfq", "vq_lc", "kmeans")
MAX_CODEBOOK_SIZE = 262_144
FLOAT_BYTES = 4

Problem: TypeAlias = "tuple[str, str] | None"

_KINDS_OF_KEY = {
    "init": ("simvq",),
    "distribution": ("simvq",),
    "train_codebook": ("simvq",),
    "train_map": ("simvq", "vq_lc"),
    "bias": ("simvq", "vq_lc"),
    "map": ("simvq", "vq_lc"),
    "zero_code": ("simvq",),
    "first_stage": ("simvq",),
    "gradient": ("simvq", "vq", "vq_ema", "vq_fc", "vq_lc"),
    "codebook_init": ("vq", "vq_ema", "vq_fc"),
    "codebook_decay": ("vq_ema",),
    "replace_below": ("vq_ema",),
    "low_dim": ("vq_fc",),
    "entropy_weight": ("lfq",),
    "entropy_temperature": ("lfq",),
}


def check_quantizer(q: QuantizerConfig) -> list[Problem]:
    """Every contradiction in a quantizer's configuration as (dotted key, message), or None where there is none."""
    problems: list[Problem] = [_foreign(q, key, kinds) for key, kinds in _KINDS_OF_KEY.items()]
    problems += [_check_size(q), _check_low_dim(q)]
    if q.num_codebooks == 1:
        alone = "but num_codebooks is 1: there"
        if q.dropout != 0:
            problems.append(("quantizer.dropout", f"got {q.dropout}, {alone} is none to drop"))
        if q.first_stage != "same":
            problems.append(("quantizer.first_stage", f"got {q.first_stage!r}, {alone} is no stage after it"))
    if q.distribution == "latents" and q.init not in ("waterfill", "covariance"):
        problems.append(("quantizer.init", f"got {q.init!r}, but with distribution latents: waterfill or covariance"))
    if not 0 <= q.codebook_decay < 1:
        problems.append(("quantizer.codebook_decay", f"got {q.codebook_decay}, need 0 to below 1"))
    return problems


def low_dimensions(q: QuantizerConfig) -> int:
    """Dimensions that a code has."""
    if q.kind == "fsq":
        return len(fsq_levels(q.codebook_size) or ())
    if q.kind == "lfq":
        return (q.codebook_size - 1).bit_length()
    return q.low_dim if q.kind == "vq_fc" else q.codebook_dim


def table_bytes(q: QuantizerConfig, training: bool) -> int:
    """Bytes that the codebooks of all stages take.

    Args:
        q: a checked configuration.
        training: with what comes with it: the averaged codec's, gradients and Adam's two moments where the codebook
            is learned by gradient, and sums of latents where it follows averages.
    """
    if q.kind in ("fsq", "lfq"):
        return 0
    tables = 2 if q.kind in ("simvq", "vq_lc", "vq_fc") else 1  # as stored, and as projected or normalised
    if training:
        learned = q.kind in ("vq", "vq_fc") or q.train_codebook
        tables = 2 * tables + (3 if learned else 0) + (2 if q.kind == "vq_ema" else 0)
    return FLOAT_BYTES * tables * q.num_codebooks * q.codebook_size * low_dimensions(q)


def _foreign(q: QuantizerConfig, key: str, kinds: tuple[str, ...]) -> Problem:
    value = getattr(q, key)
    if q.kind in kinds or q.kind not in QUANTIZER_KINDS or value == getattr(QuantizerConfig(), key):
        return None
    return (f"quantizer.{key}", f"got {value!r}, but kind is {q.kind}: this key is for {', '.join(kinds)}")


def _check_size(q: QuantizerConfig) -> Problem:
    size, key = q.codebook_size, "quantizer.codebook_size"
    if not 2 <= size <= MAX_CODEBOOK_SIZE:
        return key, f"got {size}, need 2 to {MAX_CODEBOOK_SIZE}"
    if q.kind == "fsq" and fsq_levels(size) is None:
        near = (f"{n} ({list(fsq_levels(n) or ())})" for n in nearest_fsq_sizes(size, MAX_CODEBOOK_SIZE))
        return key, f"got {size}, but kind fsq needs a product of levels 5 to 8; nearest are {' and '.join(near)}"
    if q.kind == "lfq" and size & (size - 1):
        below = 1 << (size.bit_length() - 1)
        return key, f"got {size}, but kind lfq needs a power of two; nearest are {below} and {2 * below}"
    return None


def _check_low_dim(q: QuantizerConfig) -> Problem:
    needed = low_dimensions(q)
    if needed <= q.codebook_dim:
        return None
    of = f"low_dim {q.low_dim}" if q.kind == "vq_fc" else f"codebook_size {q.codebook_size}"
    return "quantizer.codebook_dim", f"got {q.codebook_dim}, but kind {q.kind} with {of} needs at least {needed}"
