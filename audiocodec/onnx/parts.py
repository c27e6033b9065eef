"""A model in parts for the light runtime; each part is made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from audiocodec.config.schema import Config
from audiocodec.onnx.networks import Network
from audiocodec.onnx.quantizers import Quantizer


class OnnxModel:
    """Networks, quantizer and what frames their use: encoding never makes the decoder, nor decoding the encoder.

    Attributes:
        sample_rate, hop_length, level_db, codebook_sizes, fingerprint, has_lstm: as in `coding.BlockCodec`.
        precision: `float32` or `int8`.
    """

    def __init__(
        self,
        config: Config,
        fingerprint: bytes,
        encoder: Callable[[], Network],
        decoder: Callable[[], Network],
        quantizer: Callable[[], Quantizer],
        precision: str = "float32",
    ) -> None:
        """Keep the makers of the parts."""
        d, q = config.model.decoder, config.quantizer
        self.sample_rate, self.hop_length, self.level_db = config.sample_rate, config.hop_length, config.data.level_db
        self.codebook_sizes = (q.codebook_size,) * q.num_codebooks
        self.has_lstm = bool(config.model.encoder.lstm_layers or (d.kind == "seanet" and d.lstm_layers))
        self.fingerprint, self.precision = fingerprint, precision
        self._make_encoder, self._make_decoder, self._make_quantizer = encoder, decoder, quantizer

    @cached_property
    def encoder(self) -> Network:
        """Waveform to latents."""
        return self._make_encoder()

    @cached_property
    def decoder(self) -> Network:
        """Latents to waveform."""
        return self._make_decoder()

    @cached_property
    def quantizer(self) -> Quantizer:
        """Latents to codes and back."""
        return self._make_quantizer()
