"""The configuration as frozen dataclasses: every key a user may write, with its default and meaning.

Derived values (hop length, frame rate, bitrate, ...) are properties, never keys. `check()` holds the
cross-checks and returns every problem at once as (dotted key, message) pairs; `load.py` adds file and line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeAlias

DISCRIMINATOR_KINDS = ("ms_stft", "mpd")
MAX_CODEBOOK_SIZE = 262_144


@dataclass(frozen=True)
class EncoderConfig:
    """SEANet encoder (arXiv 2009.02095, 2210.13438)."""

    strides: tuple[int, ...] = (2, 4, 5, 8)  # downsampling factors, input side first; product = hop length
    base_channels: int = 32  # width at the full rate; doubles at each stride
    residual_layers: int = 1  # residual units before each stride
    dilation_base: int = 2
    kernel_size: int = 7
    residual_kernel_size: int = 3
    last_kernel_size: int = 7
    compress: int = 2  # narrowing inside a residual unit
    true_skip: bool = False  # identity instead of a 1x1 convolution on the skip path
    lstm_layers: int = 0  # > 0 gives up chunked coding: files are coded whole
    convnext_layers: int = 0  # ConvNeXt blocks at the frame rate, after the strides
    activation: str = "elu"  # elu | leaky_relu


@dataclass(frozen=True)
class DecoderConfig:
    """SEANet decoder, or ConvNeXt backbone with an inverse-STFT head (Vocos, arXiv 2306.00814)."""

    kind: str = "istft"  # istft | seanet
    # seanet (its strides are the encoder's, in reverse)
    base_channels: int = 32
    residual_layers: int = 1
    lstm_layers: int = 0
    # istft
    dim: int = 384
    layers: int = 8
    expansion: int = 3  # width inside a block / dim
    kernel_size: int = 7
    overlap: int = 4  # n_fft = overlap * hop length


@dataclass(frozen=True)
class ModelConfig:
    """What the codec is; with `audio` this decides the tokens."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    causal: bool = False


@dataclass(frozen=True)
class QuantizerConfig:
    """SimVQ (arXiv 2411.02038): frozen Gaussian codebook, learned linear map."""

    kind: str = "simvq"
    num_codebooks: int = 1
    codebook_size: int = 4096
    codebook_dim: int = 128  # width of the latents and of a code
    start: str = "waterfill"  # waterfill | isotropic: how the linear map starts
    distribution: str = "gaussian"  # gaussian | uniform: what the frozen codebook is drawn from
    train_codebook: bool = False
    train_map: bool = True
    bias: bool = True
    dropout: float = 0.0  # share of training items that use fewer codebooks than there are


@dataclass(frozen=True)
class LossConfig:
    """Weights of the generator's losses; 0 switches one off and it is not computed."""

    mel: float = 15.0
    stft: float = 1.0
    waveform: float = 0.0
    adversarial: float = 1.0
    feature_matching: float = 2.0
    codebook: float = 1.0
    commitment: float = 0.25
    mel_windows: tuple[int, ...] = (256, 512, 1024, 2048)
    mel_bands: tuple[int, ...] = (40, 64, 80, 128)
    stft_windows: tuple[int, ...] = (512, 1024, 2048)
    mel_floor: float = 5e-4  # mel magnitudes below count as silence; speech at data.level_db lies above
    stft_floor: float = 1e-2  # the same for STFT magnitudes
    balancer: bool = False  # weights become shares of the gradient at the waveform


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Discriminators: multi-scale STFT (arXiv 2210.13438) and multi-period (arXiv 2010.05646)."""

    kinds: tuple[str, ...] = ("ms_stft",)
    channels: int = 32
    stft_windows: tuple[int, ...] = (2048, 1024, 512)
    mpd_periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    mpd_channels: int = 32
    start_step: int = 0  # first step that trains against the discriminators
    interval: int = 1  # discriminator steps are taken every so many steps


@dataclass(frozen=True)
class DataConfig:
    """Training audio: Kaldi-style folders."""

    train: str = ""
    valid: str = ""
    segment_seconds: float = 1.0
    level_db: float = -24.0  # RMS of every utterance, dB full scale; what encoding uses too
    level_jitter_db: float = 6.0
    memory_gb: float = 8.0  # audio decoded once into memory when it fits in this
    workers: int = 0


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation."""

    steps: int = 100_000
    warmup_autoencoder_steps: int = 1000  # unquantised before quantization is switched on
    batch_size: int = 16  # segments per process and micro-batch
    gradient_accumulation: int = 1
    precision: str = "float32"  # float32 | bf16
    learning_rate: float = 5e-4
    discriminator_learning_rate: float = 5e-4
    lr_warmup_steps: int = 500
    lr_final_ratio: float = 0.05  # cosine decays to this share
    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    discriminator_clip_norm: float = 10.0
    ema_decay: float = 0.999
    checkpoint_interval: int = 1000
    keep_checkpoints: int = 3
    valid_interval: int = 1000
    valid_utterances: int = 16
    log_interval: int = 50
    bad_steps_before_cut: int = 3  # consecutive non-finite steps before the learning rate is halved
    bad_steps_before_rollback: int = 6


@dataclass(frozen=True)
class Config:
    """A whole run."""

    name: str = "simvq"
    seed: int = 1234
    sample_rate: int = 24_000
    model: ModelConfig = field(default_factory=ModelConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    @property
    def hop_length(self) -> int:
        """Samples per frame: the product of the encoder's strides."""
        return math.prod(self.model.encoder.strides)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def bits_per_frame(self) -> int:
        """Bits the token file spends on a frame, all codebooks."""
        return self.quantizer.num_codebooks * (self.quantizer.codebook_size - 1).bit_length()

    @property
    def bitrate_bps(self) -> float:
        """Payload bits per second."""
        return self.frame_rate * self.bits_per_frame

    @property
    def segment_samples(self) -> int:
        """Samples of a training segment: `data.segment_seconds` rounded up to whole frames."""
        samples = round(self.data.segment_seconds * self.sample_rate)
        return -(-samples // self.hop_length) * self.hop_length

    def check(self) -> list[tuple[str, str]]:
        """Every contradiction in the configuration as (dotted key, message); empty when sound.

        A message about several keys names all of them: `load.py` relies on it to leave out
        what only follows from a mistyped value.
        """
        problems = [_at_least(self, key, minimum) for key, minimum in _MINIMUMS.items()]
        problems += [_one_of(self, key, allowed) for key, allowed in _CHOICES.items()]
        problems += [_share(self, key) for key in _SHARES]
        problems += _check_encoder(self) + _check_quantizer(self) + _check_losses(self) + _check_training(self)
        return [problem for problem in problems if problem]


_Problem: TypeAlias = "tuple[str, str] | None"

_CHOICES: dict[str, tuple[str, ...]] = {
    "model.encoder.activation": ("elu", "leaky_relu"),
    "model.decoder.kind": ("istft", "seanet"),
    "quantizer.kind": ("simvq",),
    "quantizer.start": ("waterfill", "isotropic"),
    "quantizer.distribution": ("gaussian", "uniform"),
    "discriminator.kinds": DISCRIMINATOR_KINDS,
    "train.precision": ("float32", "bf16"),
}
_MINIMUMS: dict[str, float] = {
    "seed": 0,
    "sample_rate": 1000,
    "model.encoder.strides": 1,
    "model.encoder.base_channels": 1,
    "model.encoder.residual_layers": 0,
    "model.encoder.dilation_base": 1,
    "model.encoder.kernel_size": 1,
    "model.encoder.residual_kernel_size": 1,
    "model.encoder.last_kernel_size": 1,
    "model.encoder.compress": 1,
    "model.encoder.lstm_layers": 0,
    "model.encoder.convnext_layers": 0,
    "model.decoder.base_channels": 1,
    "model.decoder.residual_layers": 0,
    "model.decoder.lstm_layers": 0,
    "model.decoder.dim": 1,
    "model.decoder.layers": 0,
    "model.decoder.expansion": 1,
    "model.decoder.kernel_size": 1,
    "model.decoder.overlap": 2,
    "quantizer.num_codebooks": 1,
    "quantizer.codebook_dim": 1,
    "loss.mel": 0,
    "loss.stft": 0,
    "loss.waveform": 0,
    "loss.adversarial": 0,
    "loss.feature_matching": 0,
    "loss.codebook": 0,
    "loss.commitment": 0,
    "loss.mel_floor": 1e-8,
    "loss.stft_floor": 1e-8,
    "loss.mel_windows": 4,
    "loss.mel_bands": 1,
    "loss.stft_windows": 4,
    "discriminator.channels": 1,
    "discriminator.stft_windows": 4,
    "discriminator.mpd_periods": 1,
    "discriminator.mpd_channels": 1,
    "discriminator.start_step": 0,
    "discriminator.interval": 1,
    "data.level_jitter_db": 0,
    "data.memory_gb": 0,
    "data.workers": 0,
    "train.steps": 1,
    "train.warmup_autoencoder_steps": 0,
    "train.batch_size": 1,
    "train.gradient_accumulation": 1,
    "train.learning_rate": 0,
    "train.discriminator_learning_rate": 0,
    "train.lr_warmup_steps": 0,
    "train.weight_decay": 0,
    "train.clip_norm": 0,
    "train.discriminator_clip_norm": 0,
    "train.checkpoint_interval": 1,
    "train.keep_checkpoints": 1,
    "train.valid_interval": 1,
    "train.valid_utterances": 0,
    "train.log_interval": 1,
    "train.bad_steps_before_cut": 1,
}
_SHARES = ("quantizer.dropout", "train.lr_final_ratio")


def _check_encoder(config: Config) -> list[_Problem]:
    return [None if config.model.encoder.strides else ("model.encoder.strides", "need at least one stride")]


def _check_quantizer(config: Config) -> list[_Problem]:
    size, dropout = config.quantizer.codebook_size, config.quantizer.dropout
    return [
        None
        if 2 <= size <= MAX_CODEBOOK_SIZE
        else ("quantizer.codebook_size", f"got {size}, need 2 to {MAX_CODEBOOK_SIZE}"),
        None
        if dropout == 0 or config.quantizer.num_codebooks > 1
        else ("quantizer.dropout", f"got {dropout}, but num_codebooks is 1: there is none to drop"),
    ]


def _check_losses(config: Config) -> list[_Problem]:
    windows, bands, data = config.loss.mel_windows, config.loss.mel_bands, config.data
    problems: list[_Problem] = []
    if len(windows) != len(bands):
        problems.append(("loss.mel_bands", f"got {len(bands)} entries for {len(windows)} mel_windows"))
    for window, band in zip(windows, bands):
        if band > window // 2:
            problems.append(("loss.mel_bands", f"got {band}, more than half of its entry in mel_windows, {window}"))
    if data.segment_seconds <= 0:
        problems.append(("data.segment_seconds", f"got {data.segment_seconds}, need more than 0"))
    elif config.hop_length > 0 and max(windows, default=0) > 2 * config.segment_samples:
        problems.append(
            ("data.segment_seconds", f"{config.segment_samples} samples, under half of {max(windows)} in mel_windows")
        )
    if data.level_db > 0:
        problems.append(("data.level_db", f"got {data.level_db}, need 0 (full scale) or less"))
    return problems


def _check_training(config: Config) -> list[_Problem]:
    train = config.train
    return [
        None if 0 <= train.ema_decay < 1 else ("train.ema_decay", f"got {train.ema_decay}, need 0 to below 1"),
        None
        if all(0 <= beta < 1 for beta in train.betas)
        else ("train.betas", f"got {list(train.betas)}, need 0 to below 1"),
        None
        if train.bad_steps_before_cut < train.bad_steps_before_rollback
        else (
            "train.bad_steps_before_rollback",
            f"got {train.bad_steps_before_rollback}, need more than bad_steps_before_cut, {train.bad_steps_before_cut}",
        ),
    ]


def _values(config: Config, key: str) -> tuple[Any, ...]:
    value = attrgetter(key)(config)
    return value if isinstance(value, tuple) else (value,)


def _one_of(config: Config, key: str, allowed: tuple[str, ...]) -> _Problem:
    wrong = [value for value in _values(config, key) if value not in allowed]
    return (key, f"got {wrong[0]!r}, need one of {', '.join(allowed)}") if wrong else None


def _at_least(config: Config, key: str, minimum: float) -> _Problem:
    wrong = [value for value in _values(config, key) if value < minimum]
    return (key, f"got {wrong[0]}, need at least {minimum}") if wrong else None


def _share(config: Config, key: str) -> _Problem:
    value = _values(config, key)[0]
    return None if 0 <= value <= 1 else (key, f"got {value}, need 0 to 1")
