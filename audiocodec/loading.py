"""A codec by the name of its model, on torch or on onnxruntime, whichever is installed or asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from audiocodec import model_file, models
from audiocodec.errors import UsageError
from audiocodec.installing import advice
from audiocodec.model_header import ModelHeader
from audiocodec.onnx import folder
from audiocodec.tokens.token_file import TokenFile

if TYPE_CHECKING:
    from audiocodec.codec.interface import BlockCodec
    from audiocodec.codec.torch import Codec
    from audiocodec.config.schema import Config
    from audiocodec.onnx.codec import OnnxCodec

PACKAGES = {"torch": "torch", "onnx": "onnxruntime"}  # what each runtime imports
AUTO = "auto"


@overload
def load(
    model: str | Path | TokenFile | None = None,
    *,
    runtime: Literal["torch"],
    device: str = "cpu",
    threads: int | None = None,
) -> Codec: ...


@overload
def load(
    model: str | Path | TokenFile | None = None,
    *,
    runtime: Literal["onnx"],
    device: str = "cpu",
    threads: int | None = None,
) -> OnnxCodec: ...


@overload
def load(
    model: str | Path | TokenFile | None = None, *, runtime: str = AUTO, device: str = "cpu", threads: int | None = None
) -> Codec | OnnxCodec: ...


def load(
    model: str | Path | TokenFile | None = None, *, runtime: str = AUTO, device: str = "cpu", threads: int | None = None
) -> Codec | OnnxCodec:
    """Load a codec for inference.

    Args:
        model: name of a model in the package (`speech_24k`, `speech_24k_residual`), a `.safetensors` file, an experiment
            folder, whose newest checkpoint counts, a folder that `audiocodec export --onnx` wrote, or a model in the
            folder `$AUDIOCODEC_MODELS` by its name; None: `speech_24k`. Where none of these is there, `org/name`,
            `org/name@revision` or `org/name#fingerprint`: a repository on a hub, kept in the cache of huggingface_hub. A
            `TokenFile`: the model that made it, by its fingerprint, among those of the package, of that folder and of
            that cache.
        runtime: `torch`, `onnx` (onnxruntime and numpy, results are numpy arrays), or `auto`: torch where it is installed.
        device: `cpu`, `cuda`, `cuda:1` (torch), or `auto`: CUDA where it can be used.
        threads: CPU threads of the networks, for torch those of the whole process; None: the runtime's choice.

    Returns:
        `Codec` (a `torch.nn.Module`, frozen) or `OnnxCodec`; both encode and decode, with the same tokens.

    Raises:
        UsageError: the runtime or the device is not there, or cannot run the model.
        CheckpointError: no such model, a damaged one, or weights that do not fit their configuration.
        HubError: the repository cannot be reached or read, or holds no model of this package.
        FingerprintMismatch: the model of the token file is not here, or the repository holds another model.

    Example:
        >>> codec = audiocodec.load("speech_24k")
        >>> codec.sample_rate, codec.hop_length, codec.codebook_sizes
        (24000, 320, (65536,))
    """
    name = models.find(model.fingerprint) if isinstance(model, TokenFile) else model
    found = Model(name, runtime=runtime, device=str(device), threads=threads)
    return found.codec if found.runtime == "torch" else found.onnx_codec


def choose_runtime(asked: str, model: str | Path | None) -> str:
    """`torch` or `onnx`.

    Args:
        asked: one of them, or `auto`.
        model: see `load`; an exported folder is for onnxruntime.

    Raises:
        UsageError: what was asked for is not installed or cannot read the model.
    """
    if asked not in (AUTO, *PACKAGES):
        raise UsageError(f"no runtime is called {asked!r}; there are {AUTO}, {', '.join(PACKAGES)}")
    exported = folder.is_folder(model)
    if asked == "torch" and exported:
        raise UsageError(f"{model}: was exported for onnxruntime; leave --runtime torch out, or name the model file")
    wanted = ["onnx"] if exported else list(PACKAGES) if asked == AUTO else [asked]
    for runtime in wanted:
        if find_spec(PACKAGES[runtime]) is not None:
            return runtime
    commands = " or ".join({"torch": advice("torch"), "onnx": "pip install onnxruntime"}[r] for r in wanted)
    missing = f"{PACKAGES[wanted[0]]} is not" if len(wanted) == 1 else f"neither {' nor '.join(PACKAGES.values())} is"
    raise UsageError(f"{missing} installed; {commands}")


class Model:
    """A model by its name: the header is read at once, the weights when a codec is first asked for.

    Attributes:
        header: what the model says of itself.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        num_codebooks: int | None = None,
        runtime: str = AUTO,
        device: str = AUTO,
        threads: int | None = None,
        announce: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Read the header.

        Args:
            model, runtime, device, threads: see `load`.
            num_codebooks: how many will be used; None: all.
            announce: called with a line that names model and device when weights are loaded.

        Raises:
            UsageError: the model has fewer codebooks.
            CheckpointError: no such model, or a damaged one.
        """
        self.header: ModelHeader = models.describe(model)
        self._model, self._runtime, self._device, self._threads = model, runtime, device, threads
        self._announce = announce
        held = self.header.config.quantizer.num_codebooks
        if num_codebooks is not None and num_codebooks > held:
            raise UsageError(f"{num_codebooks} codebooks are asked for, {self.header.path} has {held}")

    @property
    def config(self) -> Config:
        """Its configuration."""
        return self.header.config

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that tell this codec from any other."""
        return bytes.fromhex(self.header.fingerprint)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.config.sample_rate

    @property
    def channels(self) -> int:
        """Channels of a file that it codes; 1: their mean."""
        return self.config.channels

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return self.config.hop_length

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return (self.config.quantizer.codebook_size,) * self.config.quantizer.num_codebooks

    @cached_property
    def runtime(self) -> str:
        """`torch` or `onnx`; raises UsageError as `choose_runtime` does."""
        return choose_runtime(self._runtime, self._model)

    @property
    def coder(self) -> BlockCodec:
        """What encodes and decodes, on the runtime that was asked for."""
        return self.codec if self.runtime == "torch" else self.onnx_codec

    @cached_property
    def codec(self) -> Codec:
        """The codec on torch."""
        import torch

        device = self._device
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise UsageError(f"--device {device}: no CUDA device is available; use --device cpu")
        if device == AUTO:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        self._announce(f"model {self.header.path} on {device}")
        return model_file.load(self.header.path, device)

    @cached_property
    def onnx_codec(self) -> OnnxCodec:
        """The codec on onnxruntime."""
        from audiocodec.onnx.codec import CUDA, providers
        from audiocodec.onnx.load import load as load_onnx

        device = self._device
        if device == "cuda" and CUDA not in providers():
            raise UsageError(
                "--device cuda: this onnxruntime has none; pip install onnxruntime-gpu, or use --device cpu"
            )
        if device == AUTO:
            device = "cuda" if CUDA in providers() else "cpu"
        self._announce(f"model {self.header.path} on {device}, with onnxruntime{self._precision}")
        return load_onnx(self.header.path, device, self._threads)

    @property
    def _precision(self) -> str:
        """What an int8 model says of its tokens."""
        agreement = self.header.token_agreement if isinstance(self.header, folder.FolderHeader) else None
        if agreement is None:
            return ""
        return f", int8: {100 * agreement.equal:.2f} % of {agreement.codes:,} tokens were those of float32"
