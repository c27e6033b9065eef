"""What users pass to a codec, made ready for it: shapes, types, sample rate, level, lengths. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from audiocodec.audio import io
from audiocodec.errors import AudioError, FingerprintMismatch, TokenFileError
from audiocodec.tokens.token_file import TokenFile, row_sizes

MAX_CHANNELS = 8  # a last axis so short is one of channels

FloatArray = npt.NDArray[np.float32]


class Signal(NamedTuple):
    """One item as the codec takes it: samples `[S]` at its rate, and the factor that they were multiplied by."""

    samples: FloatArray
    gain: float


def as_array(values: Any) -> npt.NDArray[Any]:
    """An array of a list, a numpy array or a torch tensor of any device, which torch need not be imported for."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    return np.asarray(values)


def batch_shape(shape: Sequence[int], is_batch: bool) -> tuple[int, int]:
    """`(B, S)` of audio `[S]`, `[B, S]` or `[B, 1, S]`.

    Args:
        shape: of the audio.
        is_batch: the caller says so; else two rows could be stereo, and are refused.

    Raises:
        AudioError: another shape, channels, or no samples; with what to do.
    """
    found = list(shape)
    if 0 in found:
        raise AudioError(f"cannot encode audio without samples, got shape {found}")
    hint = ""
    if len(found) == 2 and found[1] <= MAX_CHANNELS < found[0]:
        hint = "; this looks like [samples, channels]: wav.mean(1) mixes the channels"
    elif len(found) == 2 and found[0] == 2 and not is_batch:
        hint = "; of stereo, wav.mean(0) mixes the channels; for a batch of two, give wav[:, None]"
    elif len(found) == 3 and found[1] > 1:
        hint = "; wav.mean(1) mixes the channels, wav.reshape(-1, 1, wav.shape[-1]) codes each as an item of its own"
    elif 1 <= len(found) <= 3:
        return (found[0] if len(found) > 1 else 1), found[-1]
    raise AudioError(f"need mono audio of shape [S], [B, S] or [B, 1, S], got {found}{hint}")


def check_lengths(lengths: Sequence[int] | npt.ArrayLike | None, items: int, samples: int) -> list[int]:
    """Samples of each item of a batch `[items, samples]`; None: all of them.

    Raises:
        AudioError: they are not so many, or one is out of range.
    """
    if lengths is None:
        return [samples] * items
    found = as_array(lengths).tolist()
    whole = isinstance(found, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in found)
    if not whole or len(found) != items or not all(1 <= n <= samples for n in found):
        raise AudioError(f"need {items} lengths of 1 to {samples} samples, got {found}")
    return list(found)


def prepare(
    channels: npt.NDArray[Any], from_rate: int, to_rate: int, level_db: float | None, num_samples: int | None = None
) -> Signal:
    """Mix, resample and level one item, as files are.

    Args:
        channels: float samples `[C, S]` at `from_rate`.
        from_rate, to_rate: Hz.
        level_db: wanted RMS, dB full scale; None: the level stays.
        num_samples: of the item; what lies behind is left out.

    Raises:
        AudioError: samples that are not finite.
    """
    (samples,), gain = prepare_each(channels[:, :num_samples], from_rate, to_rate, level_db)
    return Signal(samples, gain)


def prepare_each(
    channels: npt.NDArray[Any], from_rate: int, to_rate: int, level_db: float | None, coded: int = 1
) -> tuple[list[FloatArray], float]:
    """What is coded of audio, one after the other, as of files: its mix, or each of its channels at one level.

    Args:
        channels: float samples `[C, S]` at `from_rate`.
        from_rate, to_rate: Hz.
        level_db: wanted RMS, dB full scale; None: the level stays.
        coded: channels that the codec keeps.

    Returns:
        (samples `[S']` at `to_rate`, of the mix or of each channel; the factor they were multiplied by).

    Raises:
        AudioError: samples that are not finite, channels that cancel when mixed, or more than a stereo codec codes.
    """
    item = np.asarray(channels, np.float32)
    if not np.isfinite(item).all():
        raise AudioError("audio holds NaN or infinite samples")
    mixed = io.coded_channels(len(item), coded) == (None,)
    found = [io.leveled(part, from_rate, to_rate) for part in ([item] if mixed else item[:, None])]
    if level_db is None:
        return [samples for samples, _ in found], 1.0
    gain = io.level_gain(io.together([stats for _, stats in found]), level_db)
    return [io.at_level(samples, stats, gain) for samples, stats in found], gain


class MadeBy(Protocol):
    """What tokens say of the codec that made them: a codec itself, or the model that it will be loaded from."""

    @property
    def fingerprint(self) -> bytes: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def hop_length(self) -> int: ...
    @property
    def codebook_sizes(self) -> tuple[int, ...]: ...


def check_tokens(tokens: TokenFile, codec: MadeBy) -> None:
    """Refuse tokens that another codec made, or that say other things of theirs than it is.

    Raises:
        FingerprintMismatch: naming both fingerprints.
        TokenFileError: the same fingerprint with another rate, hop length, codebook sizes or more channels.
    """
    if tokens.fingerprint != codec.fingerprint:
        raise FingerprintMismatch(
            f"was encoded by model {tokens.fingerprint.hex()}, this is model {codec.fingerprint.hex()}; "
            "give the right one with -m"
        )
    channels = tokens.coded_channels
    sizes = row_sizes(codec.codebook_sizes[: tokens.num_codebooks], channels)
    facts = {
        "coded_channels": (channels, min(channels, codec.channels)),
        "sample_rate": (tokens.sample_rate, codec.sample_rate),
        "hop_length": (tokens.hop_length, codec.hop_length),
        "codebook_sizes": (list(tokens.codebook_sizes), list(sizes)),
    }
    wrong = [f"{name} {found}, its model has {need}" for name, (found, need) in facts.items() if found != need]
    if wrong:
        raise TokenFileError(f"contradicts the model that it names: {'; '.join(wrong)}")
