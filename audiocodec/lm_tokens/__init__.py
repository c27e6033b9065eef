"""Codes for language models: a vocabulary with special tokens, orders of several codebooks, packed batches.

Codes [K, T] become ids by `Vocabulary`, ids a sequence by `flatten` or `delay`; each has its exact inverse. `PackedTokens`
is a torch `Dataset` over the Parquet shards of `audiocodec tokenize`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audiocodec.lm_tokens.orders import delay, flatten, undelay, unflatten
from audiocodec.lm_tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from audiocodec.lm_tokens.dataset import PackedTokens

__all__ = ["PackedTokens", "Vocabulary", "delay", "flatten", "undelay", "unflatten"]


def __getattr__(name: str) -> Any:
    if name != "PackedTokens":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from audiocodec.lm_tokens.dataset import PackedTokens

    return PackedTokens
