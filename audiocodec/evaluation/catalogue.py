"""Every number that an evaluation can give: its name, what computes it, which way is better, what it needs installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from audiocodec.errors import MetricUndefined
from audiocodec.metrics.dnsmos import dnsmos
from audiocodec.metrics.level import BANDS, level, name_of
from audiocodec.metrics.loudness import loudness_difference
from audiocodec.metrics.mel_distance import mel_distance
from audiocodec.metrics.pesq import pesq, pesq_nb
from audiocodec.metrics.pitch import pitch
from audiocodec.metrics.plcmos import plcmos
from audiocodec.metrics.si_sdr import si_sdr
from audiocodec.metrics.speaker import speaker_similarity
from audiocodec.metrics.stft_distance import stft_distance
from audiocodec.metrics.stoi import estoi, stoi
from audiocodec.metrics.utmos import utmos
from audiocodec.metrics.utmos import weights_name as utmos_weights
from audiocodec.metrics.visqol import visqol
from audiocodec.metrics.voice_activity import voice_activity
from audiocodec.metrics.wer import word_error_rate
from audiocodec.metrics.whisper import model_name as whisper_model
from audiocodec.metrics.whisper import whisper_word_error_rate

HIGHER, LOWER, ZERO, NEITHER = "higher", "lower", "nearest to 0", ""

# What a metric gives: one number, or one for each of its measures, of which some may be undefined.
Result = float | Mapping[str, float | MetricUndefined]


@dataclass(frozen=True)
class Measure:
    """One number of a row.

    Attributes:
        name: its key in `rows.jsonl`.
        heading: of a table's column, with the unit.
        better: `HIGHER`, `LOWER`, `ZERO` (an error with a sign: the nearest to 0 is best) or `NEITHER`.
        decimals: shown.
    """

    name: str
    heading: str
    better: str = HIGHER
    decimals: int = 3

    @property
    def direction(self) -> str:
        """Which way is better, in words; empty for `NEITHER`."""
        return {NEITHER: "", ZERO: "nearest to 0 is best"}.get(self.better, f"{self.better} is better")

    @property
    def less_is_better(self) -> bool:
        """Which way `compared` gets better."""
        return self.better in (LOWER, ZERO)

    def compared(self, value: float) -> float:
        """What systems are compared by: `value`, or how far it is from 0 where that is best."""
        return abs(value) if self.better == ZERO else value

    @property
    def compared_heading(self) -> str:
        """Heading of a column of differences."""
        return f"{self.heading}, without its sign" if self.better == ZERO else self.heading


@dataclass(frozen=True)
class Metric:
    """What is computed in one go from a pair.

    Attributes:
        word: what it is called on the command line.
        measures: what it gives.
        compute: takes `reference`, `estimate` (float [S], one channel) and `sample_rate` by keyword.
        libraries: modules that it imports besides those the package always needs.
        extra: the extra of the package that brings them.
        default: whether it is computed when nothing is asked for.
        optional: whether `all` leaves it out: it fits some data only, or needs what no package brings.
        weights: of the user's choice, without which it cannot run: what to call those that are at hand; raises UsageError
            with what to do where there are none. With `load=True` it tries to load them.
    """

    word: str
    measures: tuple[Measure, ...]
    compute: Callable[..., Result]
    libraries: tuple[str, ...] = ()
    extra: str = "metrics"
    default: bool = False
    optional: bool = False
    weights: Callable[..., str] | None = None


METRICS = (
    Metric("pesq", (Measure("pesq", "PESQ-WB"),), pesq, ("pesq",), "eval", True),
    Metric("stoi", (Measure("stoi", "STOI"),), stoi, ("pystoi",), "eval", True),
    Metric(
        "mel",
        (Measure("mel_distance", "mel distance, dB", LOWER, 2),),
        mel_distance,
        ("librosa.filters",),
        "eval",
        True,
    ),
    Metric("pesq_nb", (Measure("pesq_nb", "PESQ-NB"),), pesq_nb, ("pesq",), "eval"),
    Metric("estoi", (Measure("estoi", "extended STOI"),), estoi, ("pystoi",), "eval"),
    Metric("si_sdr", (Measure("si_sdr", "SI-SDR, dB", HIGHER, 2),), si_sdr),
    Metric("stft", (Measure("stft_distance", "STFT distance", LOWER),), stft_distance),
    Metric(
        "loudness",
        (Measure("loudness_difference", "loudness difference, LU", LOWER, 2),),
        loudness_difference,
        ("pyloudnorm",),
    ),
    # Not computed by default: recordings that lack a band have no level there, and a pair without a score is a failure.
    Metric("level", tuple(Measure(name_of(b), f"level {b[0]}-{b[1]} kHz, dB", ZERO, 2) for b in BANDS), level),
    Metric(
        "pitch",
        (
            Measure("vuv_f1", "V/UV F1"),
            Measure("f0_rmse_cents", "F0 RMSE, cents", LOWER, 1),
            Measure("f0_median_cents", "median F0 error, cents", LOWER, 1),
            Measure("f0_gross", "gross F0 errors", LOWER),
        ),
        pitch,
        ("swift_f0",),
    ),
    Metric("speaker", (Measure("speaker_similarity", "speaker similarity"),), speaker_similarity, ("resemblyzer",)),
    Metric(
        "dnsmos",
        (
            Measure("dnsmos_ovrl", "DNSMOS overall"),
            Measure("dnsmos_sig", "DNSMOS speech"),
            Measure("dnsmos_bak", "DNSMOS background"),
            Measure("dnsmos_p808", "DNSMOS P.808"),
        ),
        dnsmos,
        ("onnxruntime", "speechmos.dnsmos", "librosa.feature"),
    ),
    Metric(
        "visqol",
        (Measure("visqol", "ViSQOL speech"),),
        visqol,
        ("visqol", "numba", "ai_edge_litert.interpreter"),
    ),
    # Not part of `all`: it hears what fills gaps, and prefers much noise to little.
    Metric("plcmos", (Measure("plcmos", "PLCMOS"),), plcmos, ("speechmos.plcmos",), optional=True),
    Metric("utmos", (Measure("utmos", "UTMOS"),), utmos, ("torch",), "torch", optional=True, weights=utmos_weights),
    Metric(
        "vad",
        (
            Measure("speech_share", "share of speech", NEITHER),
            Measure("speech_share_error", "share of speech, error", ZERO),
        ),
        voice_activity,
        ("silero_vad",),
        optional=True,
    ),
    # Two metrics, not one with two recognisers: their numbers must not meet in one column.
    Metric(
        "wer_whisper",
        (Measure("whisper_word_error_rate", "word error rate, Whisper", LOWER),),
        whisper_word_error_rate,
        ("faster_whisper", "jiwer"),
        "asr",
        optional=True,
        weights=whisper_model,
    ),
    Metric(
        "wer",
        (Measure("word_error_rate", "word error rate, PocketSphinx", LOWER),),
        word_error_rate,
        ("pocketsphinx", "jiwer"),
        optional=True,
    ),
)

# Numbers that come from token files and timings, not from a pair of signals.
CODING = (
    Measure("kbps_file", "kbps on disk", LOWER),
    Measure("kbps_payload", "kbps of codes", LOWER),
    Measure("tokens_per_second", "tokens per s", LOWER, 1),
    Measure("encode_rtf", "encode, RTF", LOWER),
    Measure("decode_rtf", "decode, RTF", LOWER),
    Measure("coding_rtf", "encode and decode, RTF", LOWER),
)

MEASURES = {measure.name: measure for metric in METRICS for measure in metric.measures} | {m.name: m for m in CODING}
DEFAULT = tuple(metric for metric in METRICS if metric.default)


def select(words: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics with these words or names of measures, in the catalogue's order; `all`: those not optional.

    Raises:
        ValueError: there is no such metric; the argument is the word.
    """
    asked = set()
    for word in words:
        if word == "all":
            found = [m for m in METRICS if not m.optional]
        else:
            found = [m for m in METRICS if word == m.word or word in (measure.name for measure in m.measures)]
        if not found:
            raise ValueError(word)
        asked |= {metric.word for metric in found}
    return tuple(metric for metric in METRICS if metric.word in asked)


def weights_of(metrics: Iterable[Metric]) -> dict[str, str]:
    """Measure -> what the weights are called that it would be computed with, for those of weights of the user's choice.

    Raises:
        UsageError: there are none.
    """
    return {measure.name: metric.weights() for metric in metrics if metric.weights for measure in metric.measures}


def measures_of(metrics: Iterable[Metric]) -> tuple[str, ...]:
    """Names of all measures of `metrics`."""
    return tuple(measure.name for metric in metrics for measure in metric.measures)
