"""The page about the package from Python, made of its public names and their docstrings."""

from __future__ import annotations

import inspect

import audiocodec

PAGE = "reference/python.md"
FUNCTIONS = ("load", "compress", "decompress", "encode_file", "decode_file", "train", "evaluate", "compare", "report")
# Classes of what public functions and methods return: (module, class).
RETURNED = (
    ("audiocodec.onnx.codec", "OnnxCodec"),
    ("audiocodec.codec.torch", "EncodedBatch"),
    ("audiocodec.quantization.base", "QuantizerOutput"),
    ("audiocodec.codec.streams", "EncoderStream"),
    ("audiocodec.codec.streams", "DecoderStream"),
    ("audiocodec.training.run", "TrainingResult"),
    ("audiocodec.evaluation.evaluate", "Evaluation"),
    ("audiocodec.evaluation.compare", "Comparison"),
    ("audiocodec.reporting.page", "Content"),
)
HEAD = """# Python

What `import audiocodec` has, made from the docstrings. [The guide](../guide/python.md) shows how the parts go together. Other
modules can change with any version.
"""


def page() -> str:
    """Markdown with Sphinx's directives."""
    names = [name for name in audiocodec.__all__ if not name.startswith("_")]
    classes = [name for name in names if inspect.isclass(getattr(audiocodec, name))]
    errors = [name for name in classes if issubclass(getattr(audiocodec, name), Exception)]
    functions = [*FUNCTIONS, *(name for name in names if name not in (*classes, *FUNCTIONS))]
    parts = [HEAD, "## Functions", *(_auto("function", f"audiocodec.{name}") for name in functions)]
    parts += ["## Classes", *(_auto("class", f"audiocodec.{name}", True) for name in classes if name not in errors)]
    parts += ["## What functions return", *(_auto("class", f"{module}.{name}", True) for module, name in RETURNED)]
    parts += ["## Tokens for language models", _auto("module", "audiocodec.lm_tokens", True)]
    parts += ["## Errors", *(_auto("exception", f"audiocodec.{name}") for name in sorted(errors, key=_depth))]
    return "\n\n".join(parts) + "\n"


def _depth(name: str) -> int:
    return len(getattr(audiocodec, name).__mro__)


def _auto(kind: str, name: str, members: bool = False) -> str:
    options = (
        ":members:\n:inherited-members: Module, tuple\n:show-inheritance:\n"
        if members
        else ":show-inheritance:\n"
        if kind == "exception"
        else ""
    )
    return (
        f"```{{eval-rst}}\n.. auto{kind}:: {name}\n" + "".join(f"   {line}\n" for line in options.splitlines()) + "```"
    )
