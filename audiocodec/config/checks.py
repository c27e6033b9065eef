"""Cross-checks of a configuration: what is out of range, or contradicts itself, before hours are spent on it.

Every problem is returned at once as a (dotted key, message) pair; `settings.py` adds file and line.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from audiocodec.config.quantizers import QUANTIZER_KINDS, Problem, check_quantizer
from audiocodec.config.schema import Config
from audiocodec.constants import MAX_RATE

DISCRIMINATOR_KINDS = ("ms_stft", "mpd")
VALID_SCORES = ("pesq", "stoi", "level")
MIN_PESQ_RATE = 16_000  # Hz
MAX_CODEBOOKS = 255  # a token file counts them in one byte
MIN_LEVEL = -200.0  # dB full scale
MAX_SEED = 2**32 - 1  # torch takes 64 bits, and every step's seed is a multiple of this one


def check(config: Config) -> list[tuple[str, str]]:
    """Every contradiction in a configuration as (dotted key, message); empty when valid.

    A message about several keys names all of them: `settings.py` relies on it to leave out what only follows from a
    mistyped value.
    """
    problems = [_at_least(config, key, minimum) for key, minimum in _MINIMUMS.items()]
    too_large = [_at_most(config, key, maximum) for key, maximum in _MAXIMUMS.items()]
    too_large += [_few(config, key) for key in _LISTS]
    if any(too_large):  # what follows multiplies
        return [problem for problem in (*problems, *too_large) if problem]
    problems += _check_products(config)
    problems += [_above_zero(config, key) for key in _ABOVE_ZERO]
    problems += [_one_of(config, key, allowed) for key, allowed in _CHOICES.items()]
    problems += [_share(config, key) for key in _SHARES]
    problems += _check_encoder(config) + check_quantizer(config.quantizer) + _check_mel(config) + _check_losses(config)
    problems += (
        _check_segment(config) + _check_discriminator(config) + _check_training(config) + _check_channels(config)
    )
    return [problem for problem in problems if problem]


_CHOICES: dict[str, tuple[str, ...]] = {
    "model.encoder.activation": ("elu", "leaky_relu", "snake"),
    "model.decoder.kind": ("istft", "seanet", "voiced"),
    "quantizer.kind": QUANTIZER_KINDS,
    "quantizer.init": ("waterfill", "isotropic", "covariance", "kmeans", "published"),
    "quantizer.distribution": ("gaussian", "uniform", "latents"),
    "quantizer.map": ("linear", "mlp"),
    "quantizer.first_stage": ("same", "vq_lc"),
    "quantizer.stage_init": ("residual", "latents"),
    "quantizer.gradient": ("straight_through", "rotation"),
    "quantizer.codebook_init": ("default", "uniform", "latents", "kmeans"),
    "discriminator.kinds": DISCRIMINATOR_KINDS,
    "train.precision": ("float32", "bf16"),
    "train.clock": ("wall", "cpu"),
    "train.valid_scores": VALID_SCORES,
}
_MINIMUMS: dict[str, float] = {
    "seed": 0,
    "sample_rate": 1000,
    "channels": 1,
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
    "model.encoder.convnext_expansion": 1,
    "model.decoder.base_channels": 1,
    "model.decoder.residual_layers": 0,
    "model.decoder.lstm_layers": 0,
    "model.decoder.dim": 1,
    "model.decoder.layers": 0,
    "model.decoder.expansion": 1,
    "model.decoder.kernel_size": 1,
    "model.decoder.overlap": 2,
    "model.decoder.free_hz": 0,
    "quantizer.num_codebooks": 1,
    "quantizer.codebook_dim": 1,
    "quantizer.replace_below": 0,
    "quantizer.low_dim": 1,
    "quantizer.entropy_weight": 0,
    "loss.mel": 0,
    "loss.stft": 0,
    "loss.waveform": 0,
    "loss.loudness": 0,
    "loss.level": 0,
    "loss.adversarial": 0,
    "loss.feature_matching": 0,
    "loss.codebook": 0,
    "loss.commitment": 0,
    "loss.pitch": 0,
    "loss.voicing": 0,
    "loss.mel_floor": 1e-8,
    "loss.stft_floor": 1e-8,
    "loss.mel_windows": 4,
    "loss.mel_bands": 1,
    "loss.stft_windows": 4,
    "discriminator.channels": 1,
    "discriminator.stft_windows": 4,
    "discriminator.mpd_periods": 1,
    "discriminator.mpd_channels": 1,
    "discriminator.segment_seconds": 0,
    "discriminator.start_step": 0,
    "discriminator.alone_steps": 0,
    "discriminator.interval": 1,
    "data.level_db": MIN_LEVEL,
    "data.level_jitter_db": 0,
    "data.memory_gb": 0,
    "data.workers": 0,
    "train.steps": 1,
    "train.minutes": 0,
    "train.warmup_autoencoder_steps": 0,
    "train.batch_size": 1,
    "train.gradient_accumulation": 1,
    "train.learning_rate": 0,
    "train.discriminator_learning_rate": 0,
    "train.lr_warmup_steps": 0,
    "train.weight_decay": 0,
    "train.checkpoint_interval": 1,
    "train.keep_checkpoints": 1,
    "train.lean_minutes": 0,
    "train.valid_interval": 1,
    "train.valid_utterances": 0,
    "train.log_interval": 1,
    "train.bad_steps_before_cut": 1,
    "train.alarm_steps": 1,
}
_MAXIMUMS: dict[str, float] = {
    "seed": MAX_SEED,
    "sample_rate": MAX_RATE,
    "channels": 2,
    "quantizer.num_codebooks": MAX_CODEBOOKS,
    # Far above what is sensible: a model file may come from anywhere, and all of this is built before it is trained.
    "model.encoder.strides": 1024,
    "model.encoder.base_channels": 8192,
    "model.encoder.residual_layers": 32,
    "model.encoder.dilation_base": 64,
    "model.encoder.kernel_size": 1023,
    "model.encoder.residual_kernel_size": 1023,
    "model.encoder.last_kernel_size": 1023,
    "model.encoder.compress": 8192,
    "model.encoder.lstm_layers": 16,
    "model.encoder.convnext_layers": 128,
    "model.encoder.convnext_expansion": 64,
    "model.decoder.base_channels": 8192,
    "model.decoder.residual_layers": 32,
    "model.decoder.lstm_layers": 16,
    "model.decoder.dim": 16_384,
    "model.decoder.layers": 128,
    "model.decoder.expansion": 64,
    "model.decoder.kernel_size": 1023,
    "model.decoder.overlap": 64,
    "model.decoder.free_hz": MAX_RATE,
    "quantizer.codebook_dim": 16_384,
    "quantizer.low_dim": 16_384,
    "discriminator.channels": 4096,
    "discriminator.stft_windows": 1 << 17,
    "discriminator.mpd_periods": 1 << 16,
    "discriminator.mpd_channels": 4096,
    "discriminator.segment_seconds": 86_400,
    "loss.mel_windows": 1 << 17,
    "loss.stft_windows": 1 << 17,
    "data.segment_seconds": 86_400,
}
MAX_HOP = 1 << 16  # samples
MAX_FFT = 1 << 16  # samples of a window of an inverse STFT
MAX_CHANNELS = 1 << 16
MAX_DILATION = 1 << 20
MAX_ITEMS = 32  # of a list
_LISTS = (
    "model.encoder.strides",
    "loss.mel_windows",
    "loss.mel_bands",
    "loss.stft_windows",
    "discriminator.kinds",
    "discriminator.stft_windows",
    "discriminator.mpd_periods",
    "train.valid_scores",
)
_ABOVE_ZERO = (
    "train.valid_share",
    "quantizer.entropy_temperature",
    "data.segment_seconds",
    "train.clip_norm",
    "train.discriminator_clip_norm",
)
_SHARES = (
    "quantizer.dropout",
    *(f"data.augment.{kind}" for kind in ("talker", "room", "noise", "telephone", "clipping", "gap")),
    "train.lr_final_ratio",
    "train.valid_share",
    "train.alarm_usage",
    "train.alarm_dimension",
)


def _check_products(config: Config) -> list[Problem]:
    """What several keys make together."""
    e, d = config.model.encoder, config.model.decoder
    widest, strides = 2 ** len(e.strides), "model.encoder.strides"
    problems: list[Problem] = []
    if config.hop_length > MAX_HOP:
        problems.append((strides, f"their product is {config.hop_length}, need at most {MAX_HOP}"))
    if d.kind != "seanet" and d.overlap * config.hop_length > MAX_FFT:
        message = (
            f"got {d.overlap}; with the strides' product {config.hop_length} windows have more than {MAX_FFT} samples"
        )
        problems.append(("model.decoder.overlap", message))
    for key, width in (("encoder", e.base_channels), ("decoder", d.base_channels)):
        if width * widest > MAX_CHANNELS and (key == "encoder" or d.kind == "seanet"):
            message = f"got {width}, doubled by {len(e.strides)} strides; need at most {MAX_CHANNELS} channels"
            problems.append((f"model.{key}.base_channels", message))
    if e.dilation_base ** max(0, e.residual_layers - 1) > MAX_DILATION:
        message = (
            f"got {e.dilation_base}, to the power of residual_layers {e.residual_layers}: more than {MAX_DILATION}"
        )
        problems.append(("model.encoder.dilation_base", message))
    return problems


def _check_encoder(config: Config) -> list[Problem]:
    return [None if config.model.encoder.strides else ("model.encoder.strides", "need at least one stride")]


def _check_channels(config: Config) -> list[Problem]:
    """A token file counts the codebooks of all channels in one byte; pitch is found in the mean of the channels."""
    channels, most = config.channels, MAX_CODEBOOKS // max(1, config.channels)
    problems: list[Problem] = []
    if channels > 1 and config.quantizer.num_codebooks > most:
        problems.append(
            (
                "quantizer.num_codebooks",
                f"got {config.quantizer.num_codebooks} for channels {channels}, need at most {most}",
            )
        )
    if channels > 1 and config.model.decoder.kind == "voiced":
        problems.append(("channels", f"got {channels} with model.decoder.kind voiced, which takes one voice; need 1"))
    return problems


def _check_mel(config: Config) -> list[Problem]:
    windows, bands = config.loss.mel_windows, config.loss.mel_bands
    problems: list[Problem] = []
    if len(windows) != len(bands):
        problems.append(("loss.mel_bands", f"got {len(bands)} entries for {len(windows)} mel_windows"))
    if len(set(windows)) < len(windows):
        problems.append(("loss.mel_windows", f"got one twice in {list(windows)}"))
    for window, band in zip(windows, bands):
        if band > window // 2:
            problems.append(("loss.mel_bands", f"got {band}, more than half of its entry in mel_windows, {window}"))
    return problems


def _check_losses(config: Config) -> list[Problem]:
    loss = config.loss
    problems: list[Problem] = []
    for name, windows in (("mel", loss.mel_windows), ("stft", loss.stft_windows)):
        if getattr(loss, name) > 0 and not windows:
            problems.append((f"loss.{name}_windows", f"is empty, but the weight loss.{name} is {getattr(loss, name)}"))
    if not (loss.mel > 0 or loss.stft > 0 or loss.waveform > 0):
        problems.append(("loss.mel", "mel, stft and waveform are all 0: nothing would be reconstructed"))
    return problems


def _check_segment(config: Config) -> list[Problem]:
    problems: list[Problem] = []
    longest, samples = max(config.loss.mel_windows, default=0), _segment_samples(config)
    if samples is not None and longest > 2 * samples:
        problems.append(("data.segment_seconds", f"{samples} samples, under half of {longest} in mel_windows"))
    if config.data.level_db > 0:
        problems.append(("data.level_db", f"got {config.data.level_db}, need 0 (full scale) or less"))
    return problems


def _check_discriminator(config: Config) -> list[Problem]:
    discriminator = config.discriminator
    problems: list[Problem] = []
    for kind, name in (("ms_stft", "stft_windows"), ("mpd", "mpd_periods")):
        if kind in discriminator.kinds and not getattr(discriminator, name):
            problems.append((f"discriminator.{name}", f"is empty, but discriminator.kinds has {kind}"))
    longest = max(discriminator.stft_windows, default=0) if "ms_stft" in discriminator.kinds else 0
    samples = _segment_samples(config)
    if samples is not None and longest > samples:
        message = f"got {longest}, more than the {samples} samples of data.segment_seconds"
        problems.append(("discriminator.stft_windows", message))
    elif samples is not None and longest > config.discriminator_samples:
        message = (
            f"got {longest}, more than the {config.discriminator_samples} samples of discriminator.segment_seconds"
        )
        problems.append(("discriminator.stft_windows", message))
    return problems


def _check_training(config: Config) -> list[Problem]:
    train = config.train
    return [
        ("train.valid_scores", f"pesq needs a sample_rate of at least {MIN_PESQ_RATE}, got {config.sample_rate}")
        if "pesq" in train.valid_scores and config.sample_rate < MIN_PESQ_RATE
        else None,
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


def _segment_samples(config: Config) -> int | None:
    """None where the values it follows from make no sense, which is said of them."""
    return config.segment_samples if config.data.segment_seconds > 0 and config.hop_length > 0 else None


def _values(config: Config, key: str) -> tuple[Any, ...]:
    value = attrgetter(key)(config)
    return value if isinstance(value, tuple) else (value,)


def _one_of(config: Config, key: str, allowed: tuple[str, ...]) -> Problem:
    wrong = [value for value in _values(config, key) if value not in allowed]
    return (key, f"got {wrong[0]!r}, need one of {', '.join(allowed)}") if wrong else None


def _at_least(config: Config, key: str, minimum: float) -> Problem:
    wrong = [value for value in _values(config, key) if value < minimum]
    return (key, f"got {wrong[0]}, need at least {minimum}") if wrong else None


def _at_most(config: Config, key: str, maximum: float) -> Problem:
    wrong = [value for value in _values(config, key) if value > maximum]
    return (key, f"got {wrong[0]}, need at most {maximum}") if wrong else None


def _few(config: Config, key: str) -> Problem:
    found = len(_values(config, key))
    return (key, f"has {found} entries, need at most {MAX_ITEMS}") if found > MAX_ITEMS else None


def _above_zero(config: Config, key: str) -> Problem:
    value = _values(config, key)[0]
    return None if value > 0 else (key, f"got {value}, need more than 0")


def _share(config: Config, key: str) -> Problem:
    value = _values(config, key)[0]
    return None if 0 <= value <= 1 else (key, f"got {value}, need 0 to 1")
