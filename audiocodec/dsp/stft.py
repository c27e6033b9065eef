"""Short-time Fourier magnitudes on torch, for losses and metrics.

Periodic Hann window, centred frames, no scaling: the same numbers as `librosa.stft`. Signals too short to be
mirrored are padded with zeros. Complex spectra (discriminator, inverse-STFT head) are left to their modules;
`metrics/spectra.py` is the same on scipy, for scoring processes without torch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Smallest power that is told from zero, 1e-7 in magnitude: below the square root the gradient would be 0 * inf.
MIN_POWER = 1e-14
LEAST = float(torch.tensor(MIN_POWER).sqrt())  # what the root of it is in float32


def magnitude(wav: Tensor, n_fft: int, hop: int) -> Tensor:
    """Magnitude spectrogram in float32, whatever autocast says; the gradient is finite everywhere.

    Args:
        wav: samples [B, S].
        n_fft: window and transform length in samples.
        hop: samples from frame to frame.

    Returns:
        [B, F, T] with F = n_fft // 2 + 1 and T = 1 + S // hop for even `n_fft`.
    """
    with torch.autocast(wav.device.type, enabled=False):
        side = n_fft // 2
        padded = F.pad(wav.float(), (side, side), mode="reflect" if wav.shape[-1] > side else "constant")
        magnitudes: Tensor = _Magnitudes.apply(padded, hann_window(n_fft, wav.device), hop)  # type: ignore[no-untyped-call]
        return magnitudes.transpose(1, 2)


class _Magnitudes(torch.autograd.Function):
    """Magnitudes `[B, T, F]` of windowed frames of `padded [B, S]`.

    torch's own gradient of a real transform is a complex one of twice the length and adds up its frames sample by sample:
    a fifth of a training step on a CPU. This one is a real transform, and adds up whole hops.
    """

    @staticmethod
    def forward(ctx: Any, padded: Tensor, window: Tensor, hop: int) -> Tensor:
        """Transform; a last hop that does not fill a frame is left out."""
        spectrum = torch.fft.rfft(padded.unfold(-1, len(window), hop) * window)
        power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
        magnitudes: Tensor = power.clamp_(min=MIN_POWER).sqrt_()
        ctx.save_for_backward(spectrum, magnitudes, window)
        ctx.hop, ctx.samples = hop, padded.shape[-1]
        return magnitudes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Of `padded`: the frames' gradients, which are inverse transforms, windowed and overlapped."""
        spectrum, magnitudes, window = ctx.saved_tensors
        n_fft, hop = len(window), ctx.hop
        scale = gradients[0] / magnitudes
        scale.masked_fill_(magnitudes <= LEAST, 0)  # where the power was raised to the least one
        scale[..., 1 : (n_fft + 1) // 2] /= 2  # the inverse counts these twice, for the half that is not computed
        frames = torch.fft.irfft(spectrum * scale, n_fft, norm="forward").mul_(window)
        return _overlap_add(frames, hop, ctx.samples), None, None


def _overlap_add(frames: Tensor, hop: int, samples: int) -> Tensor:
    """Sum `frames [B, T, n]` at distance `hop` to `[B, samples]`, as many as the frames came from."""
    batch, count, length = frames.shape
    parts = -(-length // hop)
    hops = F.pad(frames, (0, parts * hop - length)).view(batch, count, parts, hop)
    total = frames.new_zeros(batch, max(count + parts - 1, -(-samples // hop)), hop)
    for i in range(parts):
        total[:, i : i + count] += hops[:, :, i]
    return total.flatten(1)[:, :samples]


def hann_window(n_fft: int, device: torch.device | str) -> Tensor:
    """Periodic Hann window, float32 [n_fft], made once per length and device."""
    return _window(n_fft, str(device))


@lru_cache(maxsize=64)
def _window(n_fft: int, device: str) -> Tensor:
    # Made in inference mode it would be unusable for training later.
    with torch.inference_mode(False):
        return torch.hann_window(n_fft, device=device, dtype=torch.float32)
