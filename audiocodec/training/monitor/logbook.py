"""TensorBoard and the progress bar."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from audiocodec.dsp.stft import magnitude

FloatArray = npt.NDArray[np.float32]
log = logging.getLogger("audiocodec.train")


class Logbook:
    """Where a run writes what it measures; silent on all processes but the first."""

    def __init__(self, folder: Path, *, active: bool, first_step: int, last_step: int | None) -> None:
        """Open the log.

        Args:
            folder: of the TensorBoard files.
            active: whether this process writes.
            first_step: where the progress bar starts.
            last_step: where it ends; None: not known.
        """
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1) if active else None
        hidden = not active or not sys.stderr.isatty()
        self._bar = tqdm(total=last_step, initial=first_step, unit="step", disable=hidden, dynamic_ncols=True)
        self._active = active

    def step(self) -> None:
        """Count a step."""
        self._bar.update()

    def scalars(self, values: Mapping[str, float], step: int, pace: str) -> None:
        """Write `values` and a line of the most telling ones.

        Args:
            values: by tag.
            step: x axis.
            pace: put into the line.
        """
        if self._writer is None:
            return
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        shown = " ".join(f"{name.split('/', 1)[-1]} {value:.4g}" for name, value in values.items() if _telling(name))
        log.info("step %d  %s  %s", step, pace, shown)

    def audio(self, tag: str, wav: FloatArray, sample_rate: int, step: int) -> None:
        """Write `wav [S]` and a picture of its spectrogram."""
        if self._writer is None:
            return
        self._writer.add_audio(f"{tag}/audio", wav[None], step, sample_rate)
        self._writer.add_image(f"{tag}/spectrogram", spectrogram_image(wav), step)

    def close(self) -> None:
        """Flush and close."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()


def spectrogram_image(wav: FloatArray, n_fft: int = 1024) -> npt.NDArray[np.uint8]:
    """Grey picture `[1, F, T]` of the log spectrogram of `wav [S]`, 80 dB from black to white, low frequencies below."""
    magnitudes = magnitude(torch.from_numpy(np.asarray(wav, np.float32))[None], n_fft, n_fft // 4)[0].numpy()
    decibels = 20 * np.log10(magnitudes + 1e-5)
    scaled = np.clip((decibels - decibels.max()) / 80 + 1, 0, 1)
    image: npt.NDArray[np.uint8] = (scaled[::-1] * 255).astype(np.uint8)[None]
    return image


def _telling(name: str) -> bool:
    return name.startswith(
        ("loss/", "discriminator/", "level/", "share/adv", "valid/", "train/tflops", "train/peak_share")
    ) or name.endswith(("usage", "different_per_frame", "relative_error"))
