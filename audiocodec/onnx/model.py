"""A model in parts for the light runtime; each part is made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

from audiocodec.codec.exact import ExactEncoder, NearTies
from audiocodec.codec.latent_error import LatentError
from audiocodec.config.schema import Config
from audiocodec.errors import CheckpointError
from audiocodec.onnx.networks import Network
from audiocodec.onnx.quantizers import Quantizer
from audiocodec.onnx.writer import FloatArray


@contextmanager
def fitting(source: str) -> Iterator[None]:
    """Where networks or tables are made: weights of `source` that are missing or have another shape are its fault.

    Raises:
        CheckpointError: they do not fit.
    """
    try:
        yield
    except KeyError as error:
        raise CheckpointError(f"{source}: weights do not fit this configuration: {error.args[0]} is missing") from error
    except (ValueError, IndexError, TypeError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{source}: weights do not fit this configuration: {error}") from error


class OnnxModel:
    """Networks, quantizer and what frames their use: encoding never makes the decoder, nor decoding the encoder.

    Attributes:
        sample_rate, channels, hop_length, level_db, codebook_sizes, fingerprint, has_lstm: as in `codec.interface.BlockCodec`.
        precision: `float32` or `int8`.
        latent_error: of its float32 encoder.
        near_ties: decides what float32 cannot; None where no bound holds (8 bits), frames cannot be looked at by themselves
            (LSTM), or what it takes is not at hand.
    """

    def __init__(
        self,
        config: Config,
        fingerprint: bytes,
        encoder: Callable[[], Network],
        decoder: Callable[[], Network],
        quantizer: Callable[[], Quantizer],
        precision: str = "float32",
        exact: Mapping[str, FloatArray] | None = None,
        latent_error: LatentError | None = None,
    ) -> None:
        """Keep the makers of the parts.

        Args:
            config: of the model.
            fingerprint: of the model file.
            encoder, decoder, quantizer: make them.
            precision: `float32` or `int8`.
            exact: weights of the encoder and of the scale, that near-ties can be decided with; None: they are not at hand.
            latent_error: of its float32 encoder; None: not measured.
        """
        d, q = config.model.decoder, config.quantizer
        self.sample_rate, self.hop_length, self.level_db = config.sample_rate, config.hop_length, config.data.level_db
        self.channels = config.channels
        self.codebook_sizes = (q.codebook_size,) * q.num_codebooks
        self.has_lstm = bool(config.model.encoder.lstm_layers or (d.kind == "seanet" and d.lstm_layers))
        self.fingerprint, self.precision = fingerprint, precision
        self.latent_error = latent_error or LatentError()
        self.near_ties: NearTies | None = None
        if exact is not None and precision == "float32" and not self.has_lstm:
            self.near_ties = NearTies(lambda: self.exact, self.latent_error)
        self._config, self._exact = config, exact
        self._make_encoder, self._make_decoder, self._make_quantizer = encoder, decoder, quantizer

    @cached_property
    def exact(self) -> ExactEncoder:
        """Waveform to codes in float64; only where there is a `near_ties`."""
        return ExactEncoder(self._config, self._exact or {}, self.quantizer)

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
