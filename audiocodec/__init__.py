"""Discrete audio tokens: waveforms to SimVQ codes and back.

`import audiocodec` is cheap: nothing here imports torch until `load` or `Codec` is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Codec", "TokenFile", "__version__", "load"]

if TYPE_CHECKING:
    from audiocodec.codec.torch import Codec
    from audiocodec.model_file import load
    from audiocodec.tokens.token_file import TokenFile

_HOMES = {
    "load": "audiocodec.model_file",
    "Codec": "audiocodec.codec.torch",
    "TokenFile": "audiocodec.tokens.token_file",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'audiocodec' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
