"""Metrics that carry a model: what has a score and what has none, and that worse audio scores worse.

Models waver on one clip, so what must fall with the noise is a mean over clips, where that is said.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.metric_audio import AUDIO, RATE, Wav, clips, incomparable, noisy

from audiocodec.audio import io
from audiocodec.errors import MetricUndefined
from audiocodec.evaluation.at_hand import missing_libraries
from audiocodec.evaluation.catalogue import METRICS, Metric, select
from audiocodec.metrics.dnsmos import dnsmos
from audiocodec.metrics.pitch import pitch
from audiocodec.metrics.plcmos import plcmos
from audiocodec.metrics.speaker import speaker_similarity
from audiocodec.metrics.visqol import visqol
from audiocodec.metrics.voice_activity import voice_activity
from audiocodec.metrics.wer import word_error_rate
from audiocodec.metrics.words import count_errors, words_of

COMPUTE = [pitch, speaker_similarity, dnsmos, visqol, plcmos, voice_activity, word_error_rate]
WORDS = ("pitch", "speaker", "dnsmos", "visqol", "plcmos", "vad", "wer")


@pytest.fixture(scope="module", name="clips")
def all_clips() -> list[Wav]:
    return clips()


@pytest.fixture(scope="module")
def speech(clips: list[Wav]) -> Wav:
    return clips[2]


def measures(compute: Callable[..., Any], reference: Wav, estimate: Wav) -> list[float]:
    result = compute(reference=reference, estimate=estimate, sample_rate=RATE)
    return list(result.values()) if isinstance(result, dict) else [result]


def means(compute: Callable[..., Any], clips: list[Wav], snrs: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Mean over clips, [1 + SNRs, measures]; first comes the clip against itself."""
    return np.array(
        [
            np.mean([measures(compute, clip, estimate(clip)) for clip in clips], axis=0)
            for estimate in [lambda clip: clip, *((lambda clip, s=snr: noisy(clip, s)) for snr in snrs)]
        ]
    )


# --- worse is never better


@pytest.mark.parametrize("clip", [0, 4, 8])
def test_more_noise_makes_the_speaker_less_similar(clip: int, clips: list[Wav]) -> None:
    scores = means(speaker_similarity, clips[clip : clip + 1], (30, 25, 20, 15, 10, 5, 0))[:, 0]
    assert scores[0] == pytest.approx(1, abs=1e-6)
    assert (np.diff(scores) < 0).all()


@pytest.mark.slow
def test_more_noise_never_tracks_pitch_better(clips: list[Wav]) -> None:
    """Mean of all twelve clips: on one clip a frame or two that jump by an octave decide."""
    f1, *errors = means(pitch, clips, (30, 25, 20, 15, 10, 5, 0)).T
    assert f1[0] == 1 and (np.diff(f1) < 0).all()
    rmse, median, gross = errors
    for error in (rmse, median, gross[[0, 4, 6, 7]]):  # gross ones are none or few frames down to 10 dB
        assert error[0] == 0 and (np.diff(error) > 0).all()


@pytest.mark.slow
def test_more_noise_never_scores_better_in_dnsmos(clips: list[Wav]) -> None:
    """Mean of one clip of each of four voices. The score of the speech alone hardly hears noise above 10 dB SNR."""
    ovrl, sig, bak, p808 = means(dnsmos, [clips[i] for i in (0, 4, 7, 9)], (30, 20, 10, 0)).T
    for scores in (ovrl, bak, p808):
        assert (np.diff(scores) < 0).all()
    assert sig[0] > sig[-2] > sig[-1] and np.ptp(sig[:-1]) < 0.2


@pytest.mark.slow
def test_more_noise_never_scores_better_in_visqol(clips: list[Wav]) -> None:
    """Mean of all twelve clips, every 10 dB: below 10 dB SNR all are near 1, where the network wavers."""
    scores = means(visqol, clips, (30, 20, 10, 0))[:, 0]
    assert 4.4 < scores[0] < 4.8
    assert (np.diff(scores) < 0).all()


@pytest.mark.slow
def test_more_noise_makes_more_word_errors(clips: list[Wav]) -> None:
    """Mean of 3 s of two clips, at 30 and 0 dB: they are not English, of which little is left even at 30 dB."""
    scores = means(word_error_rate, [clip[: 3 * RATE] for clip in clips[1:3]], (30, 0))[:, 0]
    assert scores[0] == 0
    assert scores[0] < scores[1] < scores[2]


def lossy(clip: Wav, share: float) -> Wav:
    """A share of the packets of 20 ms is lost, and silence in their place."""
    packets = RATE // 50
    lost = np.random.default_rng(0).random(len(clip) // packets + 1) < share
    return np.where(np.repeat(lost, packets)[: len(clip)], np.float32(0), clip)


def test_more_lost_packets_never_score_better_in_plcmos(clips: list[Wav]) -> None:
    """Mean of two clips. It is not made for noise: 0 dB SNR scores better than 10."""
    shares = (0.0, 0.05, 0.2, 0.4)
    scores = [np.mean([measures(plcmos, clips[i], lossy(clips[i], share))[0] for i in (0, 9)]) for share in shares]
    assert (np.diff(scores) < 0).all()
    assert scores[0] > 3.5 and scores[-1] < 2


def test_the_share_of_speech_is_that_of_the_time_somebody_speaks(clips: list[Wav]) -> None:
    speech = clips[3]
    silence = np.random.default_rng(0).normal(0, 1e-3, len(speech)).astype(np.float32)
    for parts, expected in (([speech, silence], 0.5), ([speech, silence, silence, speech, silence, silence], 1 / 3)):
        share, error = measures(voice_activity, np.tile(speech, len(parts)), np.concatenate(parts))
        assert share == pytest.approx(expected, abs=0.04)
        assert error == pytest.approx(share - measures(voice_activity, speech, speech)[0], abs=0.02)


# --- what has no score


@pytest.mark.parametrize("compute", COMPUTE)
def test_what_cannot_be_compared_has_no_score(compute: Callable[..., Any], speech: Wav) -> None:
    for reason, reference, estimate in incomparable(speech):
        with pytest.raises(MetricUndefined, match=reason):
            compute(reference=reference, estimate=estimate, sample_rate=RATE)


@pytest.mark.parametrize(
    ("compute", "reason"),
    [
        (pitch, "no voiced frame in either signal"),
        (speaker_similarity, "less than 0.8 s of speech in the reference"),
        (dnsmos, "shorter than 1.0 s"),
        (visqol, "shorter than 0.64 s"),
        (plcmos, "shorter than 1.0 s"),
        (voice_activity, "shorter than 0.032 s"),
        (word_error_rate, "no word in the reference transcript"),
    ],
)
@pytest.mark.parametrize("samples", [2, 100, 256])
def test_too_short(compute: Callable[..., Any], reason: str, samples: int, speech: Wav) -> None:
    short = speech[8000 : 8000 + samples]
    with pytest.raises(MetricUndefined, match=reason):
        compute(reference=short, estimate=short, sample_rate=RATE)


@pytest.mark.parametrize(
    ("compute", "samples"), [(dnsmos, 16_000), (visqol, 10_240), (plcmos, 16_000), (voice_activity, 512)]
)
@pytest.mark.parametrize("factor", [1, 3])
def test_the_shortest_that_has_a_score(compute: Callable[..., Any], samples: int, factor: int, speech: Wav) -> None:
    """The limit in seconds is one at every rate."""
    wav = io.resample(speech, RATE, factor * RATE)[8000:]
    enough, short = wav[: factor * samples], wav[: factor * samples - 1]
    compute(reference=enough, estimate=enough, sample_rate=factor * RATE)
    with pytest.raises(MetricUndefined, match="shorter than"):
        compute(reference=short, estimate=short, sample_rate=factor * RATE)


@pytest.mark.parametrize("compute", [dnsmos, visqol, plcmos, voice_activity, word_error_rate])
def test_no_narrow_band(compute: Callable[..., Any], speech: Wav) -> None:
    with pytest.raises(MetricUndefined, match="needs 16000 Hz or more, got 8000 Hz"):
        compute(reference=speech, estimate=speech, sample_rate=8000)


def test_a_pitch_needs_frames_voiced_in_both(speech: Wav) -> None:
    hiss = np.diff(np.random.default_rng(0).normal(0, 0.1, len(speech) + 1)).astype(np.float32)
    scores = pitch(reference=speech, estimate=hiss, sample_rate=RATE)
    assert scores["vuv_f1"] == 0
    for name in ("f0_rmse_cents", "f0_median_cents", "f0_gross"):
        assert str(scores[name]) == "no frame is voiced in both signals"
    with pytest.raises(MetricUndefined, match="no voiced frame in either signal"):
        pitch(reference=hiss, estimate=hiss, sample_rate=RATE)


def test_a_speaker_needs_speech_in_both(speech: Wav) -> None:
    tone = (0.1 * np.sin(2 * np.pi * 6000 * np.arange(len(speech)) / RATE)).astype(np.float32)
    with pytest.raises(MetricUndefined, match="less than 0.8 s of speech in the estimate"):
        speaker_similarity(reference=speech, estimate=tone, sample_rate=RATE)


@pytest.mark.parametrize(
    ("compute", "seconds"),
    [(speaker_similarity, 2), (dnsmos, 4.6), (plcmos, 2), (voice_activity, 2), (word_error_rate, 2)],
)
def test_what_is_beyond_full_scale_is_clipped(compute: Callable[..., Any], seconds: float, speech: Wav) -> None:
    """DNSMOS doubles 4.6 s once, to a single window; 2 s it would double thrice, to seven."""
    speech = speech[: int(seconds * RATE)]
    loud = np.float32(3 / np.abs(speech).max()) * speech
    clipped = np.clip(loud, -1, 1)
    assert measures(compute, speech, loud) == measures(compute, speech, clipped)


# --- word errors


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "", 3),
        ("", "a", 1),
        ("a b c", "a x c", 1),
        ("a b c", "b c d", 2),
        ("a b", "c a b d", 2),
    ],
)
def test_word_errors_by_hand(said: str, heard: str, errors: int) -> None:
    assert count_errors(said.split(), heard.split()) == errors


def test_words_have_neither_case_nor_punctuation() -> None:
    assert words_of(" Don't -- it's 'Twelve', CAFÉ; 12.5!") == ["don't", "it's", "twelve", "café", "12", "5"]


def test_word_errors_do_not_depend_on_what_came_before(clips: list[Wav]) -> None:
    first, second = (clip[: 3 * RATE] for clip in clips[1:3])
    pair = second, noisy(second, 30)
    before = measures(word_error_rate, *pair)
    measures(word_error_rate, 0.1 * first, noisy(first, 10))
    assert measures(word_error_rate, *pair) == before


def test_a_reference_without_words_is_undefined(speech: Wav, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiocodec.metrics.wer.recognise", lambda wav: "")
    with pytest.raises(MetricUndefined, match="no word in the reference transcript"):
        word_error_rate(reference=speech, estimate=speech, sample_rate=RATE)


# --- catalogue and processes


def test_the_catalogue_has_what_they_give(speech: Wav) -> None:
    for metric in select(WORDS):
        result = metric.compute(reference=speech, estimate=noisy(speech, 20), sample_rate=RATE)
        names = [measure.name for measure in metric.measures]
        assert (list(result) == names) if isinstance(result, dict) else (isinstance(result, float) and len(names) == 1)


def test_word_errors_are_not_part_of_all() -> None:
    assert {metric.word for metric in METRICS} - {metric.word for metric in select(["all"])} == {
        "plcmos",
        "utmos",
        "vad",
        "wer",
        "wer_whisper",
    }
    assert [
        metric.word
        for metric in select(["all", "plcmos", "utmos", "vad", "whisper_word_error_rate", "word_error_rate"])
    ] == [metric.word for metric in METRICS]


def test_their_libraries_are_all_here_and_a_lacking_one_is_named() -> None:
    assert missing_libraries(select(WORDS)) == []
    absent = Metric("m", (), pitch, ("no_such_library",))
    assert missing_libraries([absent]) == [
        f"m needs no_such_library (No module named 'no_such_library'); pip install -e \"{Path(__file__).parents[2]}[metrics]\""
    ]


IN_A_WORKER = """
import sys
from pathlib import Path
from audiocodec.audio import io
from audiocodec.evaluation.catalogue import select
def ticks():
    files = [task / "stat" for task in Path("/proc/self/task").iterdir()]
    return [sum(map(int, file.read_text().rsplit(")", 1)[1].split()[11:13])) for file in files]
wav = io.read(sys.argv[1])[0][0]
for metric in select(["pitch", "speaker", "dnsmos", "visqol"]):
    if metric.word == "visqol":
        print(max(ticks()), sum(ticks()))
    metric.compute(reference=wav, estimate=0.9 * wav, sample_rate=16000)
import numba
print(numba.get_num_threads())
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the threads' CPU times in /proc")
def test_one_thread_works_and_nothing_is_on_standard_error() -> None:
    """By default every worker would compute on all cores: ONNX Runtime does not heed OMP_NUM_THREADS."""
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-c", IN_A_WORKER, min(AUDIO.rglob("*.flac"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    busiest, all_threads, numba_threads = map(int, done.stdout.split())  # ticks of 10 ms
    assert busiest > 100
    assert all_threads - busiest < 0.02 * all_threads  # there may be others, which do nothing
    assert numba_threads == 1  # whose work may be done on another thread, while this one waits
