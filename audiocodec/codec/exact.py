"""Frames whose codes float32 cannot decide are decided again in float64, from the samples alone; in numpy, for every runtime.

Kernels, chunks, threads and machines round differently, so a latent that lies nearly as close to a second code could get
either. The search gives each frame a margin: how far its latent can move before a code changes. Where that is less than
the error of a float32 latent (`codec.latent_error`), the margin is computed exactly; where it is still less, the latent
is computed in float64 from its receptive field. `docs/guide/determinism.md` gives the errors measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from audiocodec.codec.latent_error import LatentError
from audiocodec.config.schema import Config
from audiocodec.onnx.networks import context_of, scaled_latents
from audiocodec.onnx.program import Program
from audiocodec.onnx.quantizers import Quantizer
from audiocodec.onnx.special import DoubleArray
from audiocodec.onnx.writer import FloatArray

MAX_WINDOW = 4  # receptive fields: limits the memory that one window takes

IntArray = npt.NDArray[np.int64]


class Window(NamedTuple):
    """Frames `low` to `high`, on which all of `frames` depend and nothing else."""

    low: int
    high: int
    frames: list[int]


def windows(frames: Iterable[int], context: tuple[int, int], end: int | None) -> Iterator[Window]:
    """The windows that frames are computed in; neighbours whose receptive fields overlap share one.

    Args:
        frames: in ascending order.
        context: frames (before, after) that each depends on.
        end: where the signal ends; None: beyond every window.
    """
    left, right = context
    field = left + 1 + right
    together: list[int] = []
    for frame in frames:
        if together and (frame - together[-1] >= field or frame - together[0] >= (MAX_WINDOW - 1) * field):
            yield _window(together, context, end)
            together = []
        together.append(frame)
    if together:
        yield _window(together, context, end)


def _window(frames: list[int], context: tuple[int, int], end: int | None) -> Window:
    high = frames[-1] + context[1] + 1
    return Window(max(0, frames[0] - context[0]), high if end is None else min(high, end), frames)


class ExactEncoder:
    """Encoder, scale and quantizer of a model without LSTM in float64.

    Attributes:
        weights: of the encoder and of the scale.
        context: frames (before, after) that a frame depends on.
    """

    def __init__(self, config: Config, weights: Mapping[str, FloatArray], quantizer: Quantizer) -> None:
        """Read the encoder's description.

        Args:
            config: of the model.
            weights: folded, by the names of the torch modules; only those of encoder and scale are kept.
            quantizer: of the model.
        """
        self.weights = {name: array for name, array in weights.items() if name.startswith(("encoder.", "scale."))}
        self.quantizer, self.hop_length = quantizer, config.hop_length
        self._program = Program(self.weights, causal=config.model.causal, hop_length=config.hop_length)
        self._last = scaled_latents(config, self._program)
        self.context = context_of(config, self._program)

    def latents(self, wav: FloatArray, window: Window) -> DoubleArray:
        """The scaled latents `[n, D]` of a window's frames.

        Args:
            wav: `[S]` samples; what a last frame lacks, which no frame of the window may depend on, counts as zero.
            window: its frames are counted from the first sample of `wav`.
        """
        hop, size = self.hop_length, (window.high - window.low) * self.hop_length
        samples = wav[window.low * hop : window.high * hop].astype(np.float64)
        samples = np.pad(samples, (0, size - len(samples)))
        first, last = window.frames[0], window.frames[-1]
        span = slice(first - window.low, last - window.low + 1)
        latents = self._program.run("wav", samples[None, None], self._last, span)[0]
        chosen: DoubleArray = latents[:, np.array(window.frames) - first].T
        return chosen


class NearTies:
    """Finds the frames that float32 cannot decide and has them decided; counts them.

    Attributes:
        error: what a float32 latent may be off.
        frames: seen so far.
        settled: decided in float64 from their samples so far.
    """

    def __init__(self, exact: Callable[[], ExactEncoder], error: LatentError) -> None:
        """Take what decides.

        Args:
            exact: gives the float64 encoder; called only when there is a frame to decide.
            error: what a float32 latent may be off.
        """
        self.exact, self.error = exact, error
        self.frames = self.settled = 0

    def decide(
        self,
        latents: FloatArray,
        codes: IntArray,
        margins: FloatArray,
        wav: FloatArray,
        first: int,
        end: int | None,
    ) -> IntArray:
        """`codes` with near-ties decided again, in place.

        Args:
            latents: `[D, t]` in float32, scaled.
            codes: `[K, t]` their codes; K may be fewer than the model has.
            margins: `[t]` distance that each latent may move, at least, before a code changes.
            wav: `[S]` samples that hold their receptive field, from a whole frame or the signal's beginning on.
            first: the frame of `wav` that the first latent belongs to.
            end: frames of `wav` that the signal has; None: it continues after `wav`.
        """
        self.frames += len(margins)
        near = np.flatnonzero(margins < self.error.largest)
        near = near if end is None else near[near < end - first]
        if not len(near):
            return codes
        exact = self.exact()
        bounds = self.error.bounds(wav, first + near, exact.hop_length)
        doubtful = margins[near] < bounds
        near, bounds = near[doubtful], bounds[doubtful]
        if not len(near):
            return codes
        codes[:, near], found = exact.quantizer.settle(latents[:, near].T.astype(np.float64), len(codes), bounds)
        near = near[found < bounds]
        for window in windows((first + near).tolist(), exact.context, end):
            places = np.array(window.frames) - first
            codes[:, places] = exact.quantizer.settle(exact.latents(wav, window), len(codes))[0]
        self.settled += len(near)
        return codes
