"""Baselines: sizes, lengths and lags of classical codecs, their programs, resuming, what cannot be coded."""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from audiocodec.audio import io
from audiocodec.errors import AudioCodecError, AudioError
from audiocodec.evaluation.catalogue import select
from audiocodec.evaluation.run import Options, score_entries
from audiocodec.evaluation.systems import catalogue, codec2, ogg, opus, programs
from audiocodec.evaluation.systems.baseline import Baseline, Coded, fit
from audiocodec.evaluation.systems.codec2 import Codec2
from audiocodec.evaluation.systems.opus import Opus
from audiocodec.evaluation.systems.reconstruct import read_sizes, reconstruct
from audiocodec.evaluation.systems.resampling import Resampling

AUDIO = Path(__file__).parents[2] / "egs/mini/codec/local/audio"
CLIPS = sorted(AUDIO.rglob("*.flac"))[::4]  # three speakers, 16 kHz
CLASSICAL = catalogue.classical(24_000)


def needs(baseline: Baseline) -> None:
    """Skip where the programs are not installed; .ci/allowed_skips.txt lists these tests."""
    if problems := baseline.problems():
        pytest.skip(problems[0])


def speech(path: Path = CLIPS[0]) -> tuple[np.ndarray, int]:
    channels, rate = io.read(path)
    return channels.mean(axis=0), rate


# --- classical codecs


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
@pytest.mark.parametrize("baseline", CLASSICAL, ids=lambda baseline: baseline.name)
def test_classical_codecs_keep_rate_and_length(baseline: Baseline, rate: int) -> None:
    needs(baseline)
    wav, own = speech()
    for samples in (1, 4_321):
        part = io.resample(wav, own, rate)[rate // 2 :][:samples]
        assert baseline.code(part, rate).wav.shape == part.shape


@pytest.mark.parametrize("baseline", CLASSICAL, ids=lambda baseline: baseline.name)
def test_classical_codecs_have_no_lag(baseline: Baseline) -> None:
    """Opus by waveform: its filters' own delay is a sample or so, its pre-skip would be 104.

    A vocoder keeps no waveform, so Codec2 by energy over 10 ms: to 4 ms, where 20 or 30 were taken out.
    """
    import scipy.signal  # not above: every worker process imports this module for `Halving`

    needs(baseline)
    correlations = []
    for path in CLIPS:
        wav, rate = speech(path)
        pair = [wav, baseline.code(wav, rate).wav]
        if isinstance(baseline, Codec2):
            pair = [np.sqrt(np.convolve(x * x, np.hanning(rate // 50), "same")) for x in pair]
        first, second = (x - x.mean() for x in pair)
        found = scipy.signal.correlate(second, first, "same") / np.linalg.norm(first) / np.linalg.norm(second)
        middle = len(found) // 2
        correlations.append(found[middle - 800 : middle + 801])
    tolerance = {Codec2: 64, Opus: 2, Resampling: 0}[type(baseline)]
    total = np.mean(correlations, axis=0)
    assert total.max() > 0.5
    assert abs(int(total.argmax()) - 800) <= tolerance


@pytest.mark.parametrize("kbps", [6, 8, 12])
def test_classical_opus_of_constant_bitrate_spends_it_in_every_packet(kbps: int) -> None:
    baseline = Opus(kbps, cbr=True)
    needs(baseline)
    wav, rate = speech()
    coded = baseline.code(wav, rate)
    frames = math.ceil((len(wav) * 48_000 / rate + 312) / 960)  # 20 ms each; 312 samples of pre-skip
    assert coded.payload_bits == frames * kbps * 20
    assert [len(packet) for packet in ogg.packets(coded.data)[2:]] == frames * [kbps * 20 // 8]


@pytest.mark.parametrize("baseline", [Opus(6), Opus(12, cbr=True)], ids=lambda baseline: baseline.name)
def test_classical_opus_payload_is_what_ffprobe_counts(baseline: Opus, tmp_path: Path) -> None:
    needs(baseline)
    if not programs.available("ffprobe"):
        pytest.skip("ffprobe is not installed")
    coded = baseline.code(*speech())
    (tmp_path / "a.opus").write_bytes(coded.data)
    command = ["ffprobe", "-v", "error", "-show_entries", "packet=size", "-of", "csv=p=0", str(tmp_path / "a.opus")]
    sizes = [int(line.strip(",")) for line in programs.run(command).decode().split()]
    assert coded.payload_bits == 8 * sum(sizes)
    assert len(coded.data) > sum(sizes) + 100  # pages and headers


@pytest.mark.parametrize(("mode", "kbps"), [("700C", 0.7), ("1200", 1.2), ("2400", 2.4), ("3200", 3.2)])
def test_classical_codec2_has_its_nominal_bitrate(mode: str, kbps: float) -> None:
    """With at most a frame of 40 ms and a lag of 30 ms more than the clip, of several seconds."""
    baseline = Codec2(mode)
    needs(baseline)
    wav, rate = speech()
    seconds = len(wav) / rate
    coded = baseline.code(wav, rate)
    assert kbps * seconds <= coded.payload_bits / 1000 <= kbps * (seconds + 0.07)
    stored = {"700C": 32 / 28}.get(mode, 1.0)  # 28 bits are stored in 4 bytes
    assert 8 * (len(coded.data) - 7) == pytest.approx(stored * coded.payload_bits)


@pytest.mark.parametrize("baseline", [Opus(8), Opus(8, cbr=True), Codec2("700C"), Codec2("2400")], ids=lambda a: a.name)
def test_classical_programs_write_the_same_payload(baseline: Baseline, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (opus._opus_tools() and codec2._own_programs()):
        pytest.skip("opus-tools and codec2 are not both installed")
    wav, rate = speech()
    own = baseline.code(wav, rate)
    monkeypatch.setattr(opus, "_opus_tools", lambda: False)
    monkeypatch.setattr(codec2, "_own_programs", lambda: False)
    needs(baseline)
    other = baseline.code(wav, rate)
    assert baseline.describe().startswith("ffmpeg version")
    if isinstance(baseline, Opus):
        # opusenc continues the signal past its end, ffmpeg with silence: the last two packets differ
        assert ogg.packets(own.data)[2:-2] == ogg.packets(other.data)[2:-2]
        same = len(wav) - 2 * rate // 50
        np.testing.assert_allclose(own.wav[:same], other.wav[:same], atol=1e-4)
    else:
        assert own.data[7:] == other.data[7:]  # the headers name versions
        assert own.payload_bits == other.payload_bits


def test_resampling_costs_what_is_above_the_new_band() -> None:
    rate = 16_000
    times = np.arange(rate) / rate
    low, high = (0.25 * np.sin(2 * np.pi * f * times).astype(np.float32) for f in (1_000, 6_000))
    coded = Resampling(8_000).code(low + high, rate)
    inside = slice(2_000, 14_000)
    np.testing.assert_allclose(coded.wav[inside], low[inside], atol=1e-3)
    assert (coded.payload_bits, len(coded.data)) == (16 * 8_000, 44 + 2 * 8_000)


def test_lost_samples_are_an_error_and_never_silence() -> None:
    assert fit(np.ones(9, np.float32), 8_000, 8_000, 7).tolist() == [1.0] * 7
    with pytest.raises(AudioError, match="decoded to 12 samples at 16000 Hz, expected 13"):
        fit(np.ones(6, np.float32), 8_000, 16_000, 13)


# --- ogg


def page(table: list[int], body: bytes) -> bytes:
    """A page by hand: RFC 3533, section 6."""
    assert sum(table) == len(body)
    return struct.pack("<4sBBqIIIB", b"OggS", 0, 0, 960, 1, 0, 0, len(table)) + bytes(table) + body


def test_packets_of_a_hand_built_ogg_file() -> None:
    first = page([8, 8, 3], b"OpusHeadOpusTagsabc")
    second = page([255, 255], bytes(510))  # goes on in the next page
    third = page([1, 0, 255, 0], b"x" + bytes(255))
    assert [len(packet) for packet in ogg.packets(first + second + third)] == [8, 8, 3, 511, 0, 255]
    assert ogg.opus_payload_bits(first + second + third) == 8 * (3 + 511 + 0 + 255)


def test_a_cut_ogg_file_is_an_error() -> None:
    data = page([8, 8], b"OpusHeadOpusTags") + page([255], bytes(255)) + page([5], b"abcde")
    ends = (0, 27 + 2 + 16, len(data))  # where a page ends and no packet is open
    for length in range(len(data) + 1):
        if length in ends:
            ogg.packets(data[:length])
        else:
            with pytest.raises(AudioError, match="Ogg"):
                ogg.packets(data[:length])
    with pytest.raises(AudioError, match="not an Opus file"):
        ogg.opus_payload_bits(page([3, 3], b"vorbis"))


# --- programs


def test_what_a_program_says_is_in_the_error() -> None:
    python = sys.executable
    assert programs.run([python, "-c", "print('$HOME;ls')"]) == b"$HOME;ls\n"
    with pytest.raises(AudioCodecError, match=r"python.* ended with status 3: cannot open it$"):
        programs.run([python, "-c", "import sys; print('cannot\\nopen it', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(AudioCodecError, match="no-such-program cannot be run: No such file"):
        programs.run(["no-such-program"])
    with pytest.raises(AudioCodecError, match=r"was stopped after 0\.2 s"):
        programs.run([python, "-c", "import time; time.sleep(60)"], timeout=0.2)


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = catalogue.problems(CLASSICAL)
    assert len(found) == 2
    assert "opusenc and opusdec (Debian package opus-tools)" in found[0]
    assert "c2enc and c2dec (Debian package codec2)" in found[1]


def test_an_ffmpeg_without_the_encoder_will_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\necho ' A..X.. opus   Opus'\necho ' A..... libopus   libopus Opus'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Opus(6).problems() == []
    assert len(Codec2("3200").problems()) == 1


# --- reconstruct


@dataclass(frozen=True)
class Halving:
    """Half as loud in ten bytes; refuses clips of 1 s, dies of clips of 2 s."""

    name: str = "halving"
    extension: str = ".half"
    settings: str = "v1"

    def describe(self) -> str:
        return self.settings

    def problems(self) -> list[str]:
        return []

    def code(self, wav: np.ndarray, sample_rate: int) -> Coded:
        if len(wav) == sample_rate:
            raise AudioError("too short for it")
        if len(wav) == 2 * sample_rate:
            os.kill(os.getpid(), signal.SIGKILL)
        return Coded(b"0123456789", 72, 0.5 * wav)


@pytest.fixture
def references(tmp_path: Path) -> dict[str, list[str]]:
    """`a` 3 s, `sub/b` 1 s, `c` 2 s, `d` 4 s."""
    wav, rate = speech()
    found = {}
    for name, seconds in (("a", 3), ("sub/b", 1), ("c", 2), ("d", 4)):
        path = tmp_path / "ref" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        io.write(path, np.resize(wav, seconds * rate), rate)
        found[name] = [str(path)]
    return found


def test_what_cannot_be_coded_is_a_counted_row(references: dict[str, list[str]], tmp_path: Path) -> None:
    references |= {"../e": references["a"], "f": [*references["a"], "other.flac"], "g": ["nowhere.wav"]}
    entries, sizes = reconstruct(Halving(), references, tmp_path / "out", jobs=2)
    problems = {entry.id: entry.problem for entry in entries}
    assert problems == {
        "../e": "its id leads out of the output folder",
        "a": "",
        "c": "coding failed: the process working on it died (signal SIGKILL)",
        "d": "",
        "f": "more than one reference of that name",
        "g": "coding failed: No such file or directory",
        "sub/b": "coding failed: too short for it",
    }
    options = Options(metrics=select(["mel"]), sizes=sizes)
    rows, summary = score_entries(entries, tmp_path / "out", options)
    assert [row.id for row in rows if row.failures] == ["../e", "c", "f", "g", "sub/b"]
    values = {row.id: row.values for row in rows}
    assert values["a"]["kbps_file"] == pytest.approx(80 / 3 / 1000)
    assert values["d"]["kbps_payload"] == pytest.approx(72 / 4 / 1000)
    assert next(row for row in rows if row.id == "c").failures == dict.fromkeys(
        ("mel_distance", "kbps_file", "kbps_payload"), problems["c"]
    )
    assert summary.measures["kbps_file"].n_failed == 5
    tokens = summary.to_json()["tokens"]
    assert tokens.pop("coding_rtf") == pytest.approx(
        (3 * values["a"]["coding_rtf"] + 4 * values["d"]["coding_rtf"]) / 7
    )
    assert tokens == {
        "codecs": [],
        "coded_by": "v1",
        "kbps_file": pytest.approx(160 / 7 / 1000),
        "kbps_payload": pytest.approx(144 / 7 / 1000),
    }


def test_a_failing_program_is_a_counted_row(
    references: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("opusenc", "opusdec"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'out of memory' >&2\nexit 7\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(Opus, "describe", lambda self: "broken")
    entries, sizes = reconstruct(Opus(6), {"a": references["a"]}, tmp_path / "out")
    assert entries[0].problem == "coding failed: opusenc ended with status 7: out of memory"
    assert sizes.describe().to_json() == {"codecs": [], "coded_by": "broken"}
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["coded", "sizes.jsonl", "wav"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda out, ref: None, {"c", "sub/b"}),  # those that failed
        (lambda out, ref: touch(ref / "a.wav"), {"a", "c", "sub/b"}),
        (lambda out, ref: cut(out / "coded/a.half"), {"a", "c", "sub/b"}),
        (lambda out, ref: cut(out / "wav/d.wav"), {"d", "c", "sub/b"}),
        (lambda out, ref: (out / "wav/d.wav").unlink(), {"d", "c", "sub/b"}),
        (lambda out, ref: (out / "sizes.jsonl").unlink(), {"a", "d", "c", "sub/b"}),
    ],
)
def test_resume_codes_what_is_missing_failed_or_changed(
    change: Callable[[Path, Path], None], again: set[str], references: dict[str, list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first, _ = reconstruct(Halving(), references, out, jobs=2)
    for path in out.rglob("*.wav"):
        touch(path)
    change(out, tmp_path / "ref")
    steps: list[None] = []
    second, sizes = reconstruct(Halving(), references, out, resume=True, progress=lambda: steps.append(None))
    assert second == first
    assert sizes.describe().rates["kbps_file"] == pytest.approx(160 / 7 / 1000)
    kept = {path.stem for path in out.rglob("*.wav") if path.stat().st_mtime_ns == 1}
    assert kept == {"a", "d"} - again
    assert len(steps) == 4


def test_other_settings_code_everything_again(references: dict[str, list[str]], tmp_path: Path) -> None:
    reconstruct(Halving(), {"a": references["a"]}, tmp_path / "out")
    touched = tmp_path / "out/coded/a.half"
    touch(touched)
    reconstruct(Halving(settings="v2"), {"a": references["a"]}, tmp_path / "out", resume=True)
    assert touched.stat().st_mtime_ns != 1
    assert read_sizes(tmp_path / "out/sizes.jsonl")["a"].codec == "v2"


def test_bad_lines_of_sizes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "sizes.jsonl"
    good = {"id": "a", "file_bits": 80, "payload_bits": 72, "sample_rate": 8000, "num_samples": 16000}
    path.write_text(json.dumps(good) + '\n{"id": "b", "file')
    assert read_sizes(path)["a"].bitrate.seconds == 2.0
    for bad in ('{"id": "b"}', "[]", json.dumps({**good, "num_samples": 0})):
        path.write_text(f"{json.dumps(good)}\n{bad}\n")
        with pytest.raises(AudioCodecError, match=r"sizes\.jsonl:2: not a size"):
            read_sizes(path)
    with pytest.raises(AudioCodecError, match="cannot read sizes"):
        read_sizes(tmp_path / "nowhere")


# --- catalogue


def test_baselines_are_chosen_by_name() -> None:
    assert [baseline.name for baseline in catalogue.select(["codec2-1200", "resample", "opus-6"], 16_000)] == [
        "resample-16k",
        "opus-6",
        "codec2-1200",
    ]
    assert set(catalogue.DEFAULT) <= set(catalogue.names())
    with pytest.raises(ValueError, match="^opus-7$"):
        catalogue.select(["opus-7"], 16_000)


def test_encodec_without_its_package_says_what_to_install() -> None:
    """In a process of its own, where importing encodec fails whether it is installed or not."""
    code = (
        "import sys; sys.modules['encodec'] = None\n"
        "from audiocodec.evaluation.systems.catalogue import encodec, problems\n"
        "print(problems(encodec('x.th')))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "needs the package encodec" in said and '[baselines]"' in said
