"""Opus (RFC 6716), by `opusenc` and `opusdec` (Debian package opus-tools), else by an ffmpeg with libopus.

Variable bitrate, as opusenc does by itself: libopus spends less where there are pauses, what is really spent is counted, and
on the same speech 5.2 kbps of it scored better (PESQ 2.18) than 6.0 kbps of constant bitrate (1.88). With `cbr`
(`--hard-cbr`) every packet of 20 ms has the same size, so that 6 kbps are 6 kbps. Complexity 10, signal type speech.
The encoder's application is AUDIO in both programs (opusenc knows no other), so that their packets are equal byte for
byte but for the end of the file. VOIP would add a high-pass filter.

The signal is given at 48 kHz, 16 bit; the encoder chooses the bandwidth itself. Decoders drop the pre-skip (6.5 ms) and
cut the end as the file says: the length is that of the reference. What delay is left, under 0.1 ms, is of the codec's own
filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from audiocodec.audio import io
from audiocodec.evaluation.systems import programs
from audiocodec.evaluation.systems.baseline import Coded, fit
from audiocodec.evaluation.systems.ogg import opus_payload_bits
from audiocodec.metrics.pairs import FloatArray

RATE = 48_000
_MISSING = (
    "Opus needs opusenc and opusdec (Debian package opus-tools), or ffmpeg with libopus (Debian package ffmpeg); "
    "without them leave it out of --baseline"
)


@dataclass(frozen=True)
class Opus:
    """Opus at a bitrate in kbps, variable unless `cbr`."""

    kbps: float
    cbr: bool = False

    @property
    def name(self) -> str:
        """As in `opus-6` and `opus-6-cbr`."""
        return f"opus-{self.kbps:g}{'-cbr' if self.cbr else ''}"

    @property
    def extension(self) -> str:
        """Ogg Opus."""
        return ".opus"

    def describe(self) -> str:
        """The encoder's version and options."""
        command = self._encoder("IN", "OUT")
        option = "--version" if command[0] == "opusenc" else "-version"
        return f"{programs.version(command[0], option)}: {' '.join(command)}"

    def problems(self) -> list[str]:
        """Neither of the two programs is here."""
        if _opus_tools() or programs.ffmpeg_encodes("libopus"):
            return []
        return [_MISSING]

    def code(self, wav: FloatArray, sample_rate: int) -> Coded:
        """See `Baseline.code`."""
        with TemporaryDirectory(prefix="audiocodec-opus-") as folder:
            source, coded, decoded = (str(Path(folder) / name) for name in ("in.wav", "coded.opus", "out.wav"))
            io.write(source, io.resample(wav, sample_rate, RATE), RATE)
            programs.run(self._encoder(source, coded))
            programs.run(_decoder(coded, decoded))
            data = Path(coded).read_bytes()
            reconstruction, rate = io.read(decoded)
        return Coded(data, opus_payload_bits(data), fit(reconstruction[0], rate, sample_rate, len(wav)))

    def _encoder(self, source: str, coded: str) -> list[str]:
        if _opus_tools():
            mode = "--hard-cbr" if self.cbr else "--vbr"
            options = ["--bitrate", f"{self.kbps:g}", mode, "--speech", "--comp", "10", "--framesize", "20"]
            return ["opusenc", "--quiet", *options, "--padding", "0", source, coded]
        mode = "off" if self.cbr else "on"
        options = ["-c:a", "libopus", "-b:a", f"{self.kbps:g}k", "-vbr", mode, "-application", "audio"]
        return ["ffmpeg", "-v", "error", "-i", source, *options, "-frame_duration", "20", coded]


def _decoder(coded: str, decoded: str) -> list[str]:
    if _opus_tools():
        return ["opusdec", "--quiet", "--rate", str(RATE), "--float", "--force-wav", coded, decoded]
    return ["ffmpeg", "-v", "error", "-c:a", "libopus", "-i", coded, "-c:a", "pcm_f32le", decoded]


def _opus_tools() -> bool:
    return programs.available("opusenc", "opusdec")
