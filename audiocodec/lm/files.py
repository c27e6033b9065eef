"""Language models on disk: `config.json` and `model.safetensors` in a folder. No pickle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from audiocodec.errors import LanguageModelError
from audiocodec.files import replacing, write_text
from audiocodec.lm.network import LMConfig, TokenLM
from audiocodec.records import parse

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FORMAT = "audiocodec-lm-1"
MAX_CONFIG_BYTES = 1 << 20


def save(model: TokenLM, folder: Path) -> None:
    """Write a model; each of its files appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, temporary)
    write_text(folder / CONFIG, json.dumps({"format": FORMAT, **dataclasses.asdict(model.config)}, indent=1) + "\n")


def load(folder: Path | str) -> TokenLM:
    """Read a model, ready for inference.

    Raises:
        LanguageModelError: there is none, or it is damaged; the message names the file.
    """
    path = Path(folder) / CONFIG
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"larger than {MAX_CONFIG_BYTES} bytes")
        text = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(text, dict) or text.get("format") != FORMAT:
            raise ValueError(f"not a language model of this package (format {FORMAT})")
        config = parse(LMConfig, text)
        _check(config)
        path = Path(folder) / WEIGHTS
        state = load_file(path)
        model = TokenLM(config)
        model.load_state_dict(state)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError, SafetensorError) as error:
        raise LanguageModelError(f"{path}: {error}") from None
    if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
        raise LanguageModelError(f"{path}: weights are not finite")
    return model.eval()


def _check(config: LMConfig) -> None:
    limits = {"dim": 16_384, "layers": 256, "heads": 256, "context": 1 << 20, "vector_dim": 4096}
    for name, high in limits.items():
        if not 1 <= getattr(config, name) <= high:
            raise ValueError(f"{name} is {getattr(config, name)}, must be 1 to {high}")
    if not 1 <= len(config.codebook_sizes) <= 64 or not all(2 <= size <= 1 << 20 for size in config.codebook_sizes):
        raise ValueError("needs 1 to 64 codebooks of 2 to 1,048,576 entries")
