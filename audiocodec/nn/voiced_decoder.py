"""A decoder whose voices have harmonics by construction: a source-filter head on the backbone of `istft_decoder`.

The network says a pitch and a voicing for each frame. All harmonics of that pitch are made in closed form (`pitch`), and
their short-time spectrum is multiplied by what the network says: a gain and a phase for each frequency. Noise of a gain of
its own and a spectrum that is free, as in the inverse-STFT decoder, are added; the sum goes through the inverse STFT.
In voiced frames the free spectrum ends at `free_hz`: above, it would be bars of buzz again, and the harmonics unused.
In unvoiced frames it is scattered, rotated by a random angle and shifted by a random time: where the spectrum hardly changes, the
same waveform would repeat with every frame, a hum at the frame rate.
While training the true pitch drives the source, and the predicted one learns from it.

Source and filter: neural source-filter models (Wang, Takaki, Yamagishi, arXiv 1904.12088); a harmonic source with an
inverse STFT: HiFTNet (2309.09493).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.constants import MAX_LOG_MAGNITUDE
from audiocodec.dsp import noise
from audiocodec.dsp.voice import FADE, ONSET
from audiocodec.nn.istft_decoder import Backbone, Head, OverlapAdd
from audiocodec.nn.pitch import Contour, Pitch, contour, harmonics, phases, whole_frequency
from audiocodec.nn.streaming import Chain, Stream
from audiocodec.nn.voiced_stream import Filters, VoicedHeadStream

INITIAL_HARMONICS, INITIAL_NOISE, INITIAL_FREE = -2.5, -6.0, -4.0  # log gains: near the level of quiet speech


class VoicedHead(Head):
    """Features to pitch and spectra, and those to a waveform."""

    fade: Tensor
    noise_cos: Tensor
    noise_sin: Tensor
    scatter: Tensor

    def __init__(self, dim: int, hop_length: int, overlap: int, sample_rate: int, free_hz: float) -> None:
        """Build the head.

        Args:
            dim: width of the features.
            hop_length: samples per frame.
            overlap: frames that each output sample is summed from; `n_fft = overlap * hop_length`.
            sample_rate: Hz.
            free_hz: up to which voiced frames have a free spectrum.
        """
        super().__init__()
        self.sum = OverlapAdd(hop_length, overlap)
        self.hop_length, self.n_fft, self.bins = hop_length, self.sum.n_fft, self.sum.n_fft // 2 + 1
        self.sample_rate = sample_rate
        self.linear = nn.Linear(dim, len(Filters._fields) * self.bins + 2)
        hertz = torch.arange(self.bins) * (sample_rate / self.n_fft)
        self.register_buffer("fade", FADE * (hertz - free_hz).clamp(min=0), persistent=False)
        random = torch.from_numpy(noise.phases(self.bins)).double()
        self.register_buffer("noise_cos", random.cos().float(), persistent=False)
        self.register_buffer("noise_sin", random.sin().float(), persistent=False)
        self.register_buffer("scatter", torch.from_numpy(noise.scatter(self.bins, overlap)), persistent=False)

    def start_quietly(self) -> None:
        """Set the biases."""
        with torch.no_grad():
            for i, value in ((0, INITIAL_FREE), (2, INITIAL_HARMONICS), (4, INITIAL_NOISE)):
                self.linear.bias[i * self.bins : (i + 1) * self.bins] = value

    def forward(self, features: Tensor, given: Pitch | None = None) -> tuple[Tensor, Pitch]:
        """Turn `features [B, T, D]` into `[B, T * hop_length]`, and say the pitch; float32 whatever the autocast.

        Args:
            features: of the whole signal.
            given: the pitch that drives the source; None: the predicted one.
        """
        with torch.autocast(features.device.type, enabled=False):
            filters, said = self.parameters_of(features.float())
            driving, rows = given or said, self._rows(features)
            filters = self.with_free_part(filters, driving.voicing > 0, rows)
            wav = self.sum(self.frames(filters, self.spectra(self.source(driving)), rows))
            return wav, said

    def stream(self) -> Stream:
        """The head as a stream: features `[1, T, D]` to waveform."""
        return Chain([VoicedHeadStream(self), self.sum.stream()])

    def parameters_of(self, features: Tensor) -> tuple[Filters, Pitch]:
        """Filters and pitch of `features [B, T, D]`; each frame for itself."""
        out = F.linear(features, self.linear.weight.float(), self.linear.bias.float())
        parts = out[..., :-2].unflatten(-1, (len(Filters._fields), self.bins)).unbind(-2)
        return Filters(*parts), Pitch(out[..., -2], out[..., -1])

    def with_free_part(self, filters: Filters, voiced: Tensor, rows: Tensor) -> Filters:
        """The filters with the free spectrum as it is used: up to `free_hz` in voiced frames, scattered in the others.

        Args:
            filters: as the network says them.
            voiced: `[B, T]`, which frames are.
            rows: `[B, T]`, their rows of the tables of noise.
        """
        voiced = voiced[..., None]
        magnitude = filters.magnitude - voiced * self.fade
        return filters._replace(magnitude=magnitude, angle=filters.angle + ~voiced * self.scatter[rows])

    def whole(self, pitch: Pitch) -> tuple[Tensor, Tensor]:
        """Whole frequencies `[B, T]` and which frames are voiced `[B, T]`."""
        return whole_frequency(pitch.log_f0, self.sample_rate), pitch.voicing > 0

    def source(self, pitch: Pitch) -> Tensor:
        """The harmonics `[B, T * hop_length]` of the pitch of a whole signal."""
        frequency, voiced = self.whole(pitch)
        before = frequency.new_zeros(len(frequency), 2)
        after = F.pad(frequency, (0, 1)), F.pad(voiced, (0, 1))
        path = contour(before, *after)
        starts = phases(path, frequency.new_full((len(frequency),), ONSET), self.hop_length)[:, :-1]
        return self.sound(path, starts)

    def sound(self, path: Contour, starts: Tensor) -> Tensor:
        """The harmonics of a contour whose frames begin with the phases `starts [B, T]`."""
        return harmonics(path, starts, self.hop_length)

    def spectra(self, source: Tensor) -> Tensor:
        """Complex spectra `[B, T, bins]` of `source [B, T * hop_length]`, with the window and the places of the output."""
        left = self.sum.trim_left
        return self.spectra_of_padded(F.pad(source, (left, self.n_fft - self.hop_length - left)))

    def spectra_of_padded(self, source: Tensor) -> Tensor:
        """Complex spectra `[B, T, bins]` of `[B, n_fft + (T - 1) * hop_length]` samples."""
        spectra: Tensor = torch.fft.rfft(source.unfold(-1, self.n_fft, self.hop_length) * self.sum.window)
        return spectra

    def frames(self, filters: Filters, source: Tensor, rows: Tensor) -> Tensor:
        """Windowed pieces of waveform `[B, T, n_fft]`; each frame for itself.

        Args:
            filters: of the frames.
            source: complex spectra `[B, T, bins]` of the harmonics.
            rows: `[B, T]` rows of the tables of noise.
        """
        scale = math.sqrt(self.n_fft)
        gain = filters.gain.clamp(max=MAX_LOG_MAGNITUDE).exp()
        noise_gain = filters.noise.clamp(max=MAX_LOG_MAGNITUDE).exp() * scale
        free = filters.magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp() * scale
        voice_real, voice_imag = gain * filters.phase.cos(), gain * filters.phase.sin()
        real = voice_real * source.real - voice_imag * source.imag + free * filters.angle.cos()
        imag = voice_real * source.imag + voice_imag * source.real + free * filters.angle.sin()
        real = real + noise_gain * self.noise_cos[rows]
        imag = imag + noise_gain * self.noise_sin[rows]
        pieces: Tensor = torch.fft.irfft(torch.complex(real, imag), self.n_fft) * self.sum.window
        return pieces

    def _rows(self, features: Tensor) -> Tensor:
        """Rows of the tables of noise for a whole signal; while training each item begins at a random one."""
        rows = torch.arange(features.shape[1], device=features.device)[None].expand(len(features), -1)
        if self.training:
            rows = rows + torch.randint(noise.ROWS, (len(features), 1)).to(features.device)
        return rows % noise.ROWS


class VoicedDecoder(Backbone):
    """Latents `[B, D, T]` to waveform `[B, 1, T * hop_length]`."""

    head: VoicedHead

    def __init__(
        self,
        *,
        latent_dim: int,
        hop_length: int,
        sample_rate: int,
        dim: int,
        layers: int,
        expansion: int = 3,
        kernel_size: int = 7,
        overlap: int = 4,
        causal: bool = False,
        free_hz: float = 500.0,
    ) -> None:
        """Build the decoder; the arguments are those of `config.schema.DecoderConfig`."""
        super().__init__(latent_dim, dim, layers, expansion, kernel_size, causal)
        self.head = VoicedHead(dim, hop_length, overlap, sample_rate, free_hz)
        self.start_weights()
        self.head.start_quietly()

    def forward(self, latents: Tensor) -> Tensor:
        """Decode `latents [B, D, T]` to `[B, 1, T * hop_length]` with the pitch that they hold."""
        return self.voice(latents)[0]

    def context(self) -> tuple[int, int]:
        """Samples before and after an output sample that decide which frames it depends on."""
        window, hop = self.head.sum, self.head.hop_length
        left, right = super().context()  # and a window looks at its source, that at the pitch of the frames beside it
        left += (-(-window.trim_left // hop) + 1) * hop
        right += ((window.n_fft - window.trim_left - 1) // hop + 1) * hop
        return left, right

    def voice(self, latents: Tensor, given: Pitch | None = None) -> tuple[Tensor, Pitch]:
        """Decode `latents [B, D, T]`; returns `[B, 1, T * hop_length]` and the predicted pitch.

        Args:
            latents: `[B, D, T]`.
            given: the pitch that drives the source; None: the predicted one.
        """
        wav, said = self.head(self.features(latents), given)
        return wav.unsqueeze(1), said
