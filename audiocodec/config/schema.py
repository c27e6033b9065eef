"""The configuration as frozen dataclasses: every key a user may write, with its default and meaning.

Derived values (hop length, frame rate, bitrate, ...) are properties, never keys. Which values make sense, alone and
together, is said in `checks.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


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
    convnext_expansion: int = 3  # width inside such a block / its channels
    activation: str = "elu"  # elu | leaky_relu | snake


@dataclass(frozen=True)
class DecoderConfig:
    """SEANet decoder, or a ConvNeXt backbone (Vocos, arXiv 2306.00814) with an inverse-STFT head or a voiced one."""

    kind: str = "istft"  # istft | seanet | voiced
    # seanet (its strides are the encoder's, in reverse)
    base_channels: int = 32
    residual_layers: int = 1
    lstm_layers: int = 0
    # istft, voiced
    dim: int = 384
    layers: int = 8
    expansion: int = 3  # width inside a block / dim
    kernel_size: int = 7
    overlap: int = 4  # n_fft = overlap * hop length
    # voiced
    free_hz: float = 500.0  # voiced frames have a free spectrum up to here; above, harmonics and noise alone


@dataclass(frozen=True)
class ModelConfig:
    """What the codec is; with `audio` this decides the tokens."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    causal: bool = False
    latent_scale: bool = True  # latents are centred and brought to unit RMS; False, for comparison: as they come


@dataclass(frozen=True)
class QuantizerConfig:
    """SimVQ (arXiv 2411.02038), or one of the quantizers it is compared with.

    A key that says of which kinds it is must stay at its default with any other.
    """

    kind: str = "simvq"  # simvq | vq | vq_ema | vq_fc | fsq | lfq | vq_lc | kmeans
    num_codebooks: int = 1
    codebook_size: int = 4096  # exact: fsq takes products of 5, 6, 7 and 8, lfq powers of two
    codebook_dim: int = 128  # width of the latents and, but for vq_fc, fsq and lfq, of a code
    init: str = "waterfill"  # simvq: waterfill | isotropic | covariance | kmeans | published: how the map starts
    distribution: str = (
        "gaussian"  # simvq: gaussian | uniform | latents (init: waterfill or covariance): of the codebook
    )
    train_codebook: bool = False  # simvq
    train_map: bool = True  # simvq, vq_lc
    bias: bool = True  # simvq, vq_lc
    dropout: float = 0.0  # share of training items that use fewer codebooks than there are
    map: str = "linear"  # simvq, vq_lc: linear | mlp
    zero_code: bool = False  # simvq: code 0 is the zero vector
    first_stage: str = "same"  # simvq: same | vq_lc: clusters of the latents first, then simvq on what they leave
    stage_init: str = "residual"  # residual | latents: what every stage is started on
    gradient: str = "straight_through"  # simvq, vq, vq_ema, vq_fc, vq_lc: straight_through | rotation
    codebook_init: str = (
        "default"  # vq, vq_ema, vq_fc: uniform | latents | kmeans; default: kmeans for vq_ema, else uniform
    )
    codebook_decay: float = 0.99  # vq_ema
    replace_below: float = 0.0  # vq_ema: codes seen in fewer frames a step move to the batch's latents; 0: never
    low_dim: int = 8  # vq_fc: dimensions of a code
    entropy_weight: float = 0.1  # lfq: of the entropy loss, which stands in the place of the codebook loss
    entropy_temperature: float = 0.01  # lfq


@dataclass(frozen=True)
class LossConfig:
    """Weights of the generator's losses; 0 leaves one out of the training (mel, stft, waveform, loudness: out of the work, too)."""

    mel: float = 15.0
    stft: float = 1.0
    waveform: float = 0.0
    loudness: float = 0.0  # of the Bark-band loudness of PESQ's model of hearing, up to 8 kHz
    level: float = 0.0  # of the levels of 0-1, 1-2, 2-4 and 4-8 kHz, dB / 10
    adversarial: float = 1.0
    feature_matching: float = 2.0
    codebook: float = 1.0
    commitment: float = 0.25
    pitch: float = 8.0  # voiced decoder: error of log F0 where the audio is voiced
    voicing: float = 1.0  # voiced decoder: cross entropy of voiced against unvoiced
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
    segment_seconds: float = 0.0  # they hear so much of each training segment, from a random place; 0: all of it
    start_step: int = 0  # first step that trains the discriminators
    alone_steps: int = 0  # so many steps later the codec is trained against them
    interval: int = 1  # discriminator steps are taken every so many steps


@dataclass(frozen=True)
class AugmentConfig:
    """Shares of the training segments that are changed before the codec hears them, each kind drawn on its own."""

    talker: float = 0.0  # a second voice, 0 to 15 dB below
    room: float = 0.0
    noise: float = 0.0  # white to brown, 5 to 35 dB below
    telephone: float = 0.0  # nothing above 4 kHz; in half of the cases nothing below 200 Hz
    clipping: float = 0.0
    gap: float = 0.0  # a part becomes digital silence


@dataclass(frozen=True)
class DataConfig:
    """Training audio: Kaldi-style folders, one or a list of them each."""

    train: str | tuple[str, ...] = ""
    valid: str | tuple[str, ...] = ""
    skip_bad: bool = False  # go on without training audio that cannot be read; the log names it
    segment_seconds: float = 1.0
    level_db: float = -24.0  # RMS of every utterance, dB full scale; what encoding uses too
    level_jitter_db: float = 6.0
    memory_gb: float = 8.0  # audio decoded once into memory when it fits in this
    on_device: bool = False  # all of it is held, as int16, where the training is, and segments are cut there
    workers: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    @property
    def train_folders(self) -> tuple[str, ...]:
        """`train` as a list."""
        return _folders(self.train)

    @property
    def valid_folders(self) -> tuple[str, ...]:
        """`valid` as a list; it may be empty."""
        return _folders(self.valid)


def _folders(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(filter(None, (value,) if isinstance(value, str) else value))


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation."""

    steps: int = 100_000
    minutes: float = 0.0  # > 0: the run ends after them, and every key in steps is a share of them, of `steps`
    clock: str = "wall"  # what the minutes are counted on: wall | cpu (CPU time of the process, all threads together)
    warmup_autoencoder_steps: int = 1000  # unquantised before quantization is switched on, unless --init-from brings it
    batch_size: int = 16  # segments per process and micro-batch
    gradient_accumulation: int = 1
    precision: str = "float32"  # float32 | bf16 (a CPU that has no instructions for it goes on in float32)
    compile: bool = False  # torch.compile of encoder, decoder and discriminators: minutes at first, faster steps
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
    lean_minutes: float = 0.0  # a state small enough to travel is written so often, and at the end; 0: never
    valid_interval: int = 1000
    valid_share: float = 0.02  # of the time: a validation that would take more of it, but for the last one, is left out
    valid_utterances: int = 16
    valid_scores: tuple[str, ...] = ()  # pesq | stoi | level, computed at each validation beside the distances
    log_interval: int = 50
    bad_steps_before_cut: int = 3  # consecutive non-finite steps before the learning rate is halved
    bad_steps_before_rollback: int = 6
    alarm_usage: float = 0.05  # collapse alarm: different codes in a batch / as many as there could be; 0: never
    alarm_dimension: float = 0.01  # the same: effective dimension of the codes / quantizer.codebook_dim; 0: never
    alarm_steps: int = 100  # steps on end below either before the log says so, at every line of it


@dataclass(frozen=True)
class Config:
    """A whole run."""

    name: str = "simvq"
    seed: int = 1234
    sample_rate: int = 24_000
    channels: int = 1  # 2: both channels of a stereo file are coded, each by the same network; 1: their mean
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
        """Bits the token file spends on a frame, all codebooks of all channels."""
        return self.channels * self.quantizer.num_codebooks * (self.quantizer.codebook_size - 1).bit_length()

    @property
    def bitrate_bps(self) -> float:
        """Payload bits per second."""
        return self.frame_rate * self.bits_per_frame

    @property
    def discriminator_samples(self) -> int:
        """Samples of a training segment that the discriminators get."""
        wanted = round(self.discriminator.segment_seconds * self.sample_rate)
        return min(wanted, self.segment_samples) if wanted else self.segment_samples

    @property
    def segment_samples(self) -> int:
        """Samples of a training segment: `data.segment_seconds` rounded up to whole frames."""
        samples = round(self.data.segment_seconds * self.sample_rate)
        return -(-samples // self.hop_length) * self.hop_length
