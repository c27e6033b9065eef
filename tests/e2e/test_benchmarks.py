"""Every benchmark runs, and its table holds what it promises; how fast anything is, no test says."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.corpora import write_corpus
from support.workspace import CHECKOUT, benchmark_table, run

import audiocodec
from audiocodec import model_places
from audiocodec.audio.resampling import resample
from audiocodec.metrics.pitch import pitch
from audiocodec.metrics.stoi import stoi


def test_inference(tiny_model_path: Path, tmp_path: Path) -> None:
    rows = benchmark_table(
        "inference", tmp_path, "--model", tiny_model_path, "--seconds", "0.5", "--threads", "1", "--no-peer"
    )
    assert [(row["codec"], row["direction"]) for row in rows] == [("audiocodec", "encode"), ("audiocodec", "decode")]
    for row in rows:
        assert float(row["CPU RTF"]) > 0
        assert float(row["peak MB"]) >= float(row["loaded MB"]) > 50  # torch alone is more


def test_near_ties(tiny_model_path: Path, tmp_path: Path) -> None:
    rows = benchmark_table("near_ties", tmp_path, "--model", tiny_model_path, "--seconds", "2")
    assert [(row["state"], row["runtime"], row["rule"]) for row in rows] == [
        ("now", runtime, rule) for runtime in ("torch", "onnx") for rule in ("fast", "decided")
    ]
    decided = [row["decided again"] for row in rows]
    assert decided[0] == decided[2] == "0" and decided[1] == decided[3] != "0"
    assert [row["times"] == "1.00" for row in rows[::2]] == [True, True]


def test_runtimes(tiny_model_path: Path, tmp_path: Path) -> None:
    rows = benchmark_table("runtimes", tmp_path, "--models", tiny_model_path, "--seconds", "1")
    assert [row["runtime"] for row in rows] == ["torch", "onnx"]
    for row in rows:
        assert float(row["encode: CPU RTF"]) > 0 and float(row["decode: CPU RTF"]) > 0
        assert float(row["largest difference"]) < 1  # of 16-bit samples


def test_tokenize(tiny_model_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_corpus(tmp_path / "audio")
    words = ["--audio", tmp_path / "audio", "--model", tiny_model_path, "--rows", "1000", "--jobs", "2"]
    rows = benchmark_table("tokenization", tmp_path, *words)
    planned = ["plan a manifest", "plan a Kaldi folder"]
    assert [row["what"] for row in rows] == [*planned, "network", "tokenize", "command, 2 jobs"]
    assert [row["utterances"] for row in rows] == ["1000", "1000", "5", "5", "5"]
    assert {row["audio s"] for row in rows[2:]} == {"2"}  # of corpora.CLIPS
    assert all(float(row["CPU s"]) >= 0 for row in rows)


def test_jobs(tiny_model_path: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "audio")
    rows = benchmark_table("jobs", tmp_path, "--audio", tmp_path / "audio", "--model", tiny_model_path)
    assert [row["jobs"] for row in rows][:: len(rows) - 1] == ["1", "2"]
    assert {row["clips"] for row in rows} == {"5"} and rows[0]["of one job"] == "1.00"
    assert all(float(row["encode, s"]) > 0 and float(row["decode, s"]) > 0 for row in rows)


def test_latent_error(tiny_model_path: Path, tmp_path: Path) -> None:
    rows = benchmark_table("latent_error", tmp_path, "--model", tiny_model_path, "--seconds", "2", repeats=False)
    assert [row["runtime"] for row in rows] == ["torch", "onnx"]
    for row in rows:
        assert int(row["frames"]) >= 2 * 75
        assert (
            0 < float(row["median"]) <= float(row["99 %"]) <= float(row["largest"]) < 1e-3
        )  # the bound near-ties rest on


@pytest.mark.slow
def test_inference_of_other_sizes(tmp_path: Path) -> None:
    """The sizes with random weights run, too; a batch and a busy neighbour are only for goals."""
    few = ["--codecs", "seanet", "istft", "--seconds", "0.2", "--threads", "1", "--no-peer"]
    rows = benchmark_table("inference", tmp_path, *few)
    assert [row["codec"] for row in rows] == ["seanet", "istft"] * 2


def test_inference_without_model(tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "benchmarks.inference", "--model", tmp_path / "none"], CHECKOUT, status=2)
    assert "no such model" in done.stderr


@pytest.mark.slow
def test_quantizer(tmp_path: Path) -> None:
    """Peak memory is measured: the direct form's matrix of distances is in it, and the lean form has none."""
    frames, size = 512, 65_536
    shape = ["--sizes", str(size), "--frames", str(frames), "--dim", "8"]
    rows = benchmark_table("quantizer", tmp_path, *shape, "--forms", "lean", "direct", "published")
    beyond = {(row["form"], row["work"]): float(row["MB beyond"]) for row in rows}
    matrix = 4 * frames * size / 1e6
    assert len(rows) == len(beyond) == 5
    for work in ("search", "step"):
        assert beyond["direct", work] > matrix > beyond["lean", work]
    assert beyond["published", "search"] > matrix
    assert {row["wrong"] for row in rows} == {"0", "-"}  # all forms find the same codes


@pytest.mark.slow
def test_soak(tiny_model_path: Path) -> None:
    done = run([sys.executable, "-m", "benchmarks.soak", "--seconds", "60", "--model", tiny_model_path], CHECKOUT)
    found = json.loads(done.stdout)
    assert found["equal_codes"] and found["largest_difference"] < 1e-4 and found["grown_mb"] <= 8
    assert found["frames"] == 60 * 75 and found["chunks"] > 500


@pytest.mark.slow
def test_training(tmp_path: Path) -> None:
    small = ["--set", "data.segment_seconds=0.1", "--set", "train.batch_size=1", "--steps", "1"]
    words = ["--config", "audiocodec/configs/mini.yaml", *small, "--sizes", "64", "1024", "--reference"]
    *rows, reference = benchmark_table("training", tmp_path, *words)
    assert [row["codebook"] for row in rows] == ["64", "1,024"]
    assert (reference["model"], reference["codebook"]) == ("reference", "64")
    parameters = [int(row["parameters"].replace(",", "")) for row in rows]
    assert parameters[1] - parameters[0] == (1024 - 64) * 32
    assert all(float(row["wall s"]) >= 0 and float(row["peak MB"]) > 50 for row in rows)
    assert all(float(row["TFLOP/s"]) > 0 for row in [*rows, reference])


@pytest.mark.slow
def test_training_beside_an_older_checkout(tmp_path: Path) -> None:
    """This one in the place of the older: every variant with and without discriminators, each beside the first."""
    small = [
        "--set",
        "data.segment_seconds=0.2",
        "--set",
        "train.batch_size=1",
        "--set",
        "train.steps=40",
        "--steps",
        "1",
    ]
    rows = benchmark_table(
        "training", tmp_path, "--against", CHECKOUT, "--config", "audiocodec/configs/mini.yaml", *small
    )
    names = ["before", "now, float32", "now, float32, memory kept", "now, bf16, memory kept"]
    assert [(row["discriminators"], row["variant"]) for row in rows] == [
        (judged, name) for judged in ("without", "with") for name in names
    ]
    assert [row["CPU beside before"] for row in rows[::4]] == ["1.00", "1.00"]
    assert all(float(row["CPU s"]) > 0 and float(row["peak MB"]) > 50 for row in rows)


def test_steps_of_another_checkout_than_was_asked_for_are_not_measured(tmp_path: Path) -> None:
    cell = json.dumps({"checkout": str(tmp_path), "config": "", "set": [], "steps": 1, "keep": False})
    done = run([sys.executable, CHECKOUT / "benchmarks/trainer_step.py", cell], CHECKOUT, status=1)
    assert f"is not of {tmp_path}" in done.stderr


@pytest.mark.slow
def test_goals(tmp_path: Path) -> None:
    rows = benchmark_table("goals", tmp_path, "shipped", "memory", "--long", "12")
    assert [row["goal"].split()[0] for row in rows] == ["shipped", "encode", "decode"]
    for row in rows:
        assert row["reached"] == ("yes" if float(row["figure"]) <= float(row["limit"].removeprefix("<= ")) else "no")


@pytest.mark.slow
def test_the_decoder_that_is_measured_is_exact() -> None:
    cell = json.dumps({"benchmark": "exactness", "codec": "seanet"})
    done = run([sys.executable, "-m", "benchmarks.goals", "--cell", cell], CHECKOUT)
    assert 0 < json.loads(done.stdout)["error"] < 1e-5


def test_goals_are_listed() -> None:
    listed = run([sys.executable, "-m", "benchmarks.goals", "--list", "threads"], CHECKOUT).stdout
    assert listed.count("threads: ") == 4 and '"neighbour": true' in listed
    done = run([sys.executable, "-m", "benchmarks.goals", "none"], CHECKOUT, status=2)
    assert "no such goal: none" in done.stderr


@pytest.mark.slow
def test_scoring(tmp_path: Path) -> None:
    audio = CHECKOUT / "egs/mini/codec/local/audio"
    rows = benchmark_table(
        "scoring", tmp_path, "--reference", audio, "--estimate", audio, "--count", "3", "--jobs", "2"
    )
    assert [(row["form"], row["utterances"], row["processes"]) for row in rows] == [
        ("bare", "3", "2"),
        ("evaluate", "3", "2"),
    ]
    bare, command = rows
    assert bare["CPU beside bare"] == "1.00"
    assert float(command["CPU s"]) > float(bare["CPU s"]) > 0  # starting and reading cost something
    most, least = (float(row["CPU s"]) for row in (command, bare))  # rounded to 0.1 s
    assert (most - 0.05) / (least + 0.05) <= float(command["CPU beside bare"]) <= (most + 0.05) / (least - 0.05)


def test_scoring_without_pairs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.scoring", "--reference", tmp_path, "--estimate", tmp_path]
    assert "no audio of the same names" in run(command, CHECKOUT, status=2).stderr


def test_recognisers(tmp_path: Path) -> None:
    """The clip is Italian; `x` is nothing that Whisper hears in it, and against itself there is no error."""
    clip = min((CHECKOUT / "egs/mini/codec/local/audio/it-flora").glob("*.flac"))
    (tmp_path / "wav.scp").write_text(f"a {clip}\n")
    (tmp_path / "text").write_text("a x\n")
    command = [sys.executable, "-m", "benchmarks.recognisers", tmp_path, "--recogniser", "wer_whisper"]
    _, _, original, noisy = run(command, CHECKOUT).stdout.splitlines()
    name, form, transcript, own, words, _ = (cell.strip() for cell in original.strip("|").split("|"))
    assert (name, form, own, words) == ("wer_whisper", "original", "0.000", "1") and float(transcript) >= 1
    assert "white noise, 10 dB SNR" in noisy


def test_voicing(tmp_path: Path) -> None:
    """The first row is the model as anybody uses it."""
    model = model_places.resolve("speech_24k")
    clip = min((CHECKOUT / "egs/mini/codec/local/audio/it-flora").glob("*.flac"))
    (tmp_path / "wav.scp").write_text(f"a {clip}\n")
    rows = benchmark_table("voicing", tmp_path, model, tmp_path / "wav.scp", repeats=False)
    assert [row["decoded"] for row in rows] == ["as it is", "rotated only", "not scattered", "true pitch"]
    codec = audiocodec.load(model, runtime="torch")
    channels, rate = soundfile.read(clip, dtype="float32", always_2d=True)
    wav = resample(channels.mean(1), rate, codec.sample_rate)
    decoded = codec.decode(codec.encode(wav, normalize=True))[0, 0, : len(wav)].numpy()
    decoded = decoded * np.sqrt(np.mean(wav**2) / np.mean(decoded**2))
    measured = pitch(reference=wav, estimate=decoded, sample_rate=codec.sample_rate)
    assert float(rows[0]["V/UV F1"]) == pytest.approx(measured["vuv_f1"], abs=0.02)
    assert float(rows[0]["F0 median, cents"]) == pytest.approx(measured["f0_median_cents"], abs=1)
    assert float(rows[3]["F0 median, cents"]) < float(rows[0]["F0 median, cents"])


def test_latents(tmp_path: Path) -> None:
    """The last row is the model as anybody uses it, and more codebooks are more bits."""
    clip = min((CHECKOUT / "egs/mini/codec/local/audio/it-flora").glob("*.flac"))
    (tmp_path / "wav.scp").write_text(f"a {clip}\n")
    rows = benchmark_table("latents", tmp_path, "speech_24k_residual", tmp_path / "wav.scp", repeats=False)
    assert [row["kbps"] for row in rows] == ["-", "0.75", "3.00", "6.00"]
    codec = audiocodec.load("speech_24k_residual", runtime="torch")
    channels, rate = soundfile.read(clip, dtype="float32", always_2d=True)
    wav = resample(channels.mean(1), rate, codec.sample_rate)
    decoded = codec.decode(codec.encode(wav, normalize=True))[0, 0, : len(wav)].numpy()
    decoded = decoded * np.sqrt(np.mean(wav**2) / np.mean(decoded**2))
    measured = stoi(reference=wav, estimate=decoded, sample_rate=codec.sample_rate)
    assert float(rows[3]["STOI"]) == pytest.approx(measured, abs=0.002)
    assert float(rows[1]["STOI"]) < float(rows[2]["STOI"]) < float(rows[3]["STOI"]) + 0.002
    (row,) = benchmark_table("latents", tmp_path, "speech_24k", tmp_path / "wav.scp", "--unquantized", repeats=False)
    assert row["latents"] == "unquantized"


@pytest.mark.slow
def test_cli(tmp_path: Path) -> None:
    rows = benchmark_table("cli", tmp_path, "--seconds", "0.5")
    classical = [row for row in rows if row["command"] in ("opusenc", "c2enc")]
    assert len(classical) == sum(shutil.which(name) is not None for name in ("opusenc", "c2enc"))
    rows = [row for row in rows if row not in classical]
    runtimes = [f"audiocodec --runtime {runtime}" for runtime in ("onnx", "torch")]
    assert [(r["command"], r["direction"]) for r in rows] == [(n, d) for d in ("encode", "decode") for n in runtimes]
    light, heavy = (float(row["peak MB"]) for row in rows[:2])
    assert 50 < light < heavy  # torch alone is more
    assert all(float(row["CPU s"]) > 0 and row["CPU beside encodec"] == "-" for row in rows)


def test_configurations(tmp_path: Path) -> None:
    rows = benchmark_table("configurations", tmp_path, "mini", "--seconds", "1")
    (row,) = rows
    assert (row["Hz"], row["channels"], row["frames/s"], row["codes/s"], row["kbps"]) == (
        "24,000",
        "1",
        "75",
        "75",
        "0.6",
    )
    assert float(row["encode, GFLOP/s"]) > 0 and float(row["decode, CPU RTF"]) > 0
    assert float(row["language model, CPU RTF"]) > 0


def test_channels(tiny_model_path: Path, tmp_path: Path) -> None:
    """Of two equal channels the side is silent, and left and right come out as loud as each other."""
    mono = 0.1 * np.random.default_rng(0).standard_normal(12_000)
    soundfile.write(tmp_path / "same.wav", np.stack([mono, mono], 1), 24_000)
    words = [tmp_path / "same.wav", "--model", tiny_model_path, "--seconds", "0.5"]
    rows = benchmark_table("channels", tmp_path, *words, repeats=False)
    assert [row["coded as"] for row in rows] == ["left, right", "mid, side"]
    assert rows[0]["levels L R M S, dB"].endswith("-180.0")
    assert (rows[0]["level difference, dB"], rows[0]["coherence"]) == ("0.00", "0.00")


def test_channels_of_known_levels(tiny_model_path: Path, tmp_path: Path) -> None:
    """The right channel is the left one 20 dB lower: of mid and side 0.55 and 0.45 of it are left."""
    left = 0.1 * np.random.default_rng(0).standard_normal(12_000)
    soundfile.write(tmp_path / "apart.wav", np.stack([left, left / 10], 1), 24_000, "FLOAT")
    words = [tmp_path / "apart.wav", "--model", tiny_model_path, "--seconds", "0.5"]
    rows = benchmark_table("channels", tmp_path, *words, repeats=False)
    whole = 20 * np.log10(np.sqrt(np.mean(left**2)))
    expected = [whole + 20 * np.log10(share) for share in (1, 0.1, 0.55, 0.45)]
    for row in rows:
        assert [float(level) for level in row["levels L R M S, dB"].split()] == pytest.approx(expected, abs=0.06)


def test_a_known_error_between_channels() -> None:
    """Of two equal channels one comes back 6 dB too low."""
    code = """if True:
        import numpy as np
        from benchmarks.channels import _errors

        wav = np.repeat(0.1 * np.random.default_rng(0).standard_normal((1, 12_000)), 2, 0)
        for gains in (1, 1), (1, 0.5), (0.5, 0.5):
            print(*_errors(wav, wav * np.array(gains)[:, None]))
    """
    lines = run([sys.executable, "-c", code], CHECKOUT).stdout.splitlines()
    none, lower, both = ([float(number) for number in line.split()] for line in lines)
    half = 20 * np.log10(2)
    assert none == [0, 0, 0, 0]  # of level difference, coherence, channel, mean
    assert lower == pytest.approx([half, 0, half / 2, 20 * np.log10(4 / 3)], abs=0.03)
    assert both == pytest.approx([0, 0, half, half], abs=0.03)


def test_precision(tmp_path: Path) -> None:
    """One run is made, two are there already; differences are those of the same clips."""
    write_corpus(tmp_path / "audio")
    run([sys.executable, "-m", "audiocodec", "make-data", "audio", "data"], tmp_path)
    clips = sorted(line.split()[0] for line in (tmp_path / "data/wav.scp").read_text().splitlines())
    for name, first in (("float32", 2.0), ("float32_seed", 3.0)):
        scores = tmp_path / f"runs/{name}_scores"
        scores.mkdir(parents=True)
        rows = [json.dumps({"id": clip, "mel_distance": first + i}) for i, clip in enumerate(clips)]
        (scores / "rows.jsonl").write_text("\n".join(rows))
        (scores / "summary.json").write_text("{}")
    words = [
        "--train",
        tmp_path / "data",
        "--valid",
        tmp_path / "data",
        "--folder",
        tmp_path / "runs",
        "--config",
        "mini",
    ]
    small = ["discriminator.kinds=[]", "train.batch_size=1", "model.decoder.layers=1"]
    words += ["--steps", "3", "--metrics", "mel", *(word for setting in small for word in ("--set", setting))]
    (row,) = benchmark_table("precision", tmp_path, *words, repeats=False)
    made = [
        json.loads(line)["mel_distance"] for line in (tmp_path / "runs/bf16_scores/rows.jsonl").read_text().splitlines()
    ]
    apart = np.array(made) - np.arange(2, 2 + len(clips))
    assert float(row["float32"]) == pytest.approx(2 + (len(clips) - 1) / 2, abs=0.01)
    assert float(row["bf16"]) == pytest.approx(np.mean(made), abs=0.01)
    assert float(row["bf16 - float32"].split()[0]) == pytest.approx(apart.mean(), abs=0.01)
    assert row["other seed - float32"] == "+1.00 [+1.00, +1.00]"
    config = (tmp_path / "runs/bf16/config.yaml").read_text()
    assert "precision: bf16" in config and "steps: 3" in config
