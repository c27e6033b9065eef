"""Codec2, by `c2enc` and `c2dec` (Debian package codec2), else by an ffmpeg with libcodec2.

A vocoder for 8 kHz that keeps the envelope of speech and not its waveform. `c2dec` gives its audio late, and nobody
takes that out: 20 ms, as a frame of 10 ms is analysed in the middle of a window of 40 ms and synthesised to the end of
the frame after; in mode 700C one frame more, because that mode interpolates between frames of 40 ms beginning with the
earlier one. Measured over 22 clips of speech in 11 languages as the shift with the best STOI: 156 samples (3200), 161
(2400), 165 (1200), 248 (700C), against 160 and 240 here; and one step of 10 samples costs STOI less than 0.001. Left
in, the lag turns its STOI of 0.84 (3200) into 0.60.

Frames are counted as they are: 28 bits in 700C, which its file stores in 4 bytes. The signal is padded with silence
to whole frames and for the lag, and these frames count.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from audiocodec.audio import io
from audiocodec.errors import AudioError
from audiocodec.evaluation.systems import programs
from audiocodec.evaluation.systems.baseline import Coded, fit
from audiocodec.metrics.pairs import FloatArray

RATE = 8_000
HEADER_BYTES = 7  # of a .c2 file: magic, version, mode, flags
_MISSING = (
    "Codec2 needs c2enc and c2dec (Debian package codec2), or ffmpeg with libcodec2 (Debian package ffmpeg); "
    "without them leave it out of --baseline"
)


class Mode(NamedTuple):
    """Samples and bits of a frame, and by how many samples the decoded audio is late, at `RATE`."""

    frame_samples: int
    frame_bits: int
    lag: int


MODES = {
    "700C": Mode(320, 28, 240),
    "1200": Mode(320, 48, 160),
    "2400": Mode(160, 48, 160),
    "3200": Mode(160, 64, 160),
}


@dataclass(frozen=True)
class Codec2:
    """Codec2 in one of its `MODES`, named after its bits per second."""

    mode: str

    @property
    def name(self) -> str:
        """As in `codec2-3200`."""
        return f"codec2-{self.mode}"

    @property
    def extension(self) -> str:
        """Frames after a header of 7 bytes."""
        return ".c2"

    def describe(self) -> str:
        """The encoder and its options; `c2enc` does not tell its version."""
        command = self._encoder("IN", "OUT")
        version = f"{programs.version('ffmpeg', '-version')}: " if command[0] == "ffmpeg" else ""
        return f"{version}{' '.join(command)}, {MODES[self.mode].lag} samples of lag taken out"

    def problems(self) -> list[str]:
        """Neither of the two programs is here."""
        if _own_programs() or programs.ffmpeg_encodes("libcodec2"):
            return []
        return [_MISSING]

    def code(self, wav: FloatArray, sample_rate: int) -> Coded:
        """See `Baseline.code`."""
        frame_samples, frame_bits, lag = MODES[self.mode]
        speech = io.resample(wav, sample_rate, RATE)
        frames = -(-(len(speech) + lag) // frame_samples)
        padded = np.pad(speech, (0, frames * frame_samples - len(speech)))
        with TemporaryDirectory(prefix="audiocodec-codec2-") as folder:
            source, coded, decoded = (str(Path(folder) / name) for name in ("in.raw", "coded.c2", "out.raw"))
            Path(source).write_bytes(np.clip(np.rint(padded * 32768), -32768, 32767).astype("<i2").tobytes())
            programs.run(self._encoder(source, coded))
            programs.run(self._decoder(coded, decoded))
            data = Path(coded).read_bytes()
            samples = np.frombuffer(Path(decoded).read_bytes(), "<i2").astype(np.float32) / np.float32(32768)
        if len(data) != HEADER_BYTES + frames * -(-frame_bits // 8):
            raise AudioError(f"{self.name} wrote {len(data)} bytes for {frames} frames")
        return Coded(data, frames * frame_bits, fit(samples[lag:], RATE, sample_rate, len(wav)))

    def _encoder(self, source: str, coded: str) -> list[str]:
        if _own_programs():
            return ["c2enc", self.mode, source, coded]
        pcm = ["-f", "s16le", "-ar", str(RATE), "-i", source]
        return ["ffmpeg", "-v", "error", *pcm, "-c:a", "libcodec2", "-mode", self.mode, "-f", "codec2", coded]

    def _decoder(self, coded: str, decoded: str) -> list[str]:
        if _own_programs():
            return ["c2dec", self.mode, coded, decoded]
        return ["ffmpeg", "-v", "error", "-f", "codec2", "-i", coded, "-f", "s16le", decoded]


def _own_programs() -> bool:
    return programs.available("c2enc", "c2dec")
