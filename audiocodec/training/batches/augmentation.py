"""What real recordings bring, made from clean ones while training: a second voice, a room, noise, a telephone, clipping, gaps.

The changed segment is what the codec hears and what it is to give back: it is a codec, not an enhancer. Everything is
drawn from torch's random numbers, which a training step seeds, and computed on the device where the segments are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from audiocodec.config.schema import AugmentConfig

TALKER_DB = (0.0, 15.0)  # the second voice below the first
ROOM_DB = (0.0, 15.0)  # the tail below the direct sound
ROOM_SECONDS = (0.15, 0.8)  # reverberation time, to -60 dB
NOISE_DB = (5.0, 35.0)  # below the speech
NOISE_SLOPE = (0.0, 2.0)  # power falls with this power of the frequency: white to brown
NOISE_HZ = 50.0  # white below: brown noise of any length would lie below hearing
TELEPHONE_HZ = (300.0, 3400.0)  # full within, nothing from 200 Hz down (in half of the cases) and from 4 kHz up
CLIPPED_SHARE = (0.001, 0.05)  # of the samples
GAP_SHARE = (0.1, 0.6)  # of the segment
_SMALLEST = 1e-9  # RMS of silence, to divide by


class Augmentation:
    """Changes segments, each kind of change with the share that the configuration gives it, independently."""

    def __init__(self, config: AugmentConfig, sample_rate: int) -> None:
        """Prepare.

        Args:
            config: the shares.
            sample_rate: Hz.
        """
        self.sample_rate = sample_rate
        kinds: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "talker": self._talker,
            "room": self._room,
            "noise": self._noise,
            "telephone": self._telephone,
            "clipping": self._clipping,
            "gap": self._gap,
        }
        self._kinds = [(getattr(config, name), change) for name, change in kinds.items() if getattr(config, name) > 0]

    def __call__(self, wav: Tensor) -> Tensor:
        """Change some of the segments.

        Args:
            wav: `[B, 1, S]`; a second voice is that of the segment before, so B = 1 gets none.

        Returns:
            `[B, 1, S]`, peak at most 1; `wav` itself where no share is above 0.
        """
        if not self._kinds:
            return wav
        changed = wav[:, 0]
        for share, change in self._kinds:
            chosen = torch.rand(len(changed), 1) < share
            if chosen.any():
                changed = torch.where(chosen.to(wav.device), change(changed, wav[:, 0]), changed)
        return (changed / changed.abs().amax(1, keepdim=True).clamp(min=1)).unsqueeze(1)

    @staticmethod
    def _talker(wav: Tensor, original: Tensor) -> Tensor:
        other = original.roll(1, 0) if len(wav) > 1 else torch.zeros_like(wav)
        return wav + _at_level(other, wav, _uniform(TALKER_DB, wav))

    def _room(self, wav: Tensor, _: Tensor) -> Tensor:
        seconds = _uniform(ROOM_SECONDS, wav)
        samples = min(wav.shape[1], round(ROOM_SECONDS[1] * self.sample_rate))
        time = torch.arange(1, samples + 1, device=wav.device) / self.sample_rate
        tail = torch.randn(len(wav), samples, device=wav.device) * torch.exp(-time * math.log(1000) / seconds)
        length = wav.shape[1] + samples
        echo = torch.fft.irfft(torch.fft.rfft(wav, length) * torch.fft.rfft(tail, length), length)
        echo = torch.nn.functional.pad(echo, (1, 0))[:, : wav.shape[1]]  # after the direct sound
        heard = wav + _at_level(echo, wav, _uniform(ROOM_DB, wav))
        return heard * (_rms(wav) / _rms(heard))

    def _noise(self, wav: Tensor, _: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(torch.randn_like(wav))
        frequency = torch.arange(spectrum.shape[1], device=wav.device) * (self.sample_rate / wav.shape[1])
        falling = (frequency.clamp(NOISE_HZ) / NOISE_HZ) ** (-_uniform(NOISE_SLOPE, wav) / 2)
        noise = torch.fft.irfft(spectrum * falling, wav.shape[1])
        return wav + _at_level(noise, wav, _uniform(NOISE_DB, wav))

    def _telephone(self, wav: Tensor, _: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(wav)
        frequency = torch.arange(spectrum.shape[1], device=wav.device) * (self.sample_rate / wav.shape[1])
        low, high = TELEPHONE_HZ
        below, above = (frequency - 200) / (low - 200), (4000 - frequency) / (4000 - high)
        without_lows = (torch.rand(len(wav), 1) < 0.5).to(wav.device)
        kept = above.clamp(0, 1) * torch.where(without_lows, below.clamp(0, 1), torch.ones_like(below))
        heard: Tensor = torch.fft.irfft(spectrum * kept, wav.shape[1])
        return heard

    @staticmethod
    def _clipping(wav: Tensor, _: Tensor) -> Tensor:
        share = _uniform(CLIPPED_SHARE, wav)
        loudest = wav.abs().sort(1).values
        place = ((1 - share) * wav.shape[1]).long().clamp(max=wav.shape[1] - 1)
        limit = loudest.gather(1, place)
        return torch.where(
            limit > 0, wav.clamp(-limit, limit), wav
        )  # 0: more zeros around a short clip than is clipped

    @staticmethod
    def _gap(wav: Tensor, _: Tensor) -> Tensor:
        length = _uniform(GAP_SHARE, wav) * wav.shape[1]
        start = torch.rand(len(wav), 1).to(wav.device) * (wav.shape[1] - length)
        time = torch.arange(wav.shape[1], device=wav.device)
        return wav * ((time < start) | (time >= start + length))


def _uniform(bounds: tuple[float, float], wav: Tensor) -> Tensor:
    """One number per segment, `[B, 1]`; drawn on the CPU, so that every device draws the same."""
    low, high = bounds
    return (low + (high - low) * torch.rand(len(wav), 1)).to(wav.device)


def _rms(wav: Tensor) -> Tensor:
    """`[B, 1]`, above zero."""
    return wav.square().mean(1, keepdim=True).sqrt().clamp(min=_SMALLEST)


def _at_level(wav: Tensor, reference: Tensor, below_db: Tensor) -> Tensor:
    """`wav` so many dB below the RMS of `reference`, `[B, 1]` each."""
    level = reference.square().mean(1, keepdim=True).sqrt()
    return wav * (level / _rms(wav)) * 10 ** (-below_db / 20)
