"""The recipe of the shipped models on a tiny corpus laid out like theirs: what is made of it, measured from outside, and errors."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file
from support.workspace import CHECKOUT, copy_of, fingerprint, run

from audiocodec import model_file
from audiocodec.build import build_discriminators
from audiocodec.config.load import load_config
from audiocodec.tokens.prior import Prior
from audiocodec.training.checkpoints.initial import take_discriminators
from audiocodec.training.losses import DiscriminatorBundle

pytestmark = pytest.mark.recipe

AUDIO = CHECKOUT / "egs" / "mini" / "codec" / "local" / "audio"
CLIPS = sorted(path.relative_to(AUDIO) for path in AUDIO.rglob("*.flac"))
TRAIN, DEV = CLIPS[:8], CLIPS[8:]
RATE = 24_000
CONDITIONS = ("level", "clipping", "telephone", "noise", "room", "talker", "music", "silence")


def write_table(path: Path, rows: list[list[str]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in rows))


def at_24_khz(wav: np.ndarray, rate: int) -> np.ndarray:
    """By more zeros in the spectrum: another way than the code's."""
    length = -(-len(wav) * RATE // rate)
    return np.asarray(np.fft.irfft(np.fft.rfft(wav), length) * length / len(wav))


def make_corpus(folder: Path) -> Path:
    """Two tars of four clips of train, one speaker with two, and four clips of dev: one at 16 kHz in stereo, three at 24 kHz."""
    folder.mkdir()
    rows = [["path", "speaker", "language", "shard"]]
    for number, clips in enumerate((TRAIN[:4], TRAIN[4:])):
        with tarfile.open(folder / f"train-{number}.tar", "w") as tar:
            for clip in clips:
                tar.add(AUDIO / clip, str(clip))
                speaker = "twice" if clip in TRAIN[3:5] else f"of-{clip.stem}"
                rows.append([str(clip), speaker, "xx", f"train-{number}.tar"])
    write_table(folder / "train.tsv", rows)
    for clip in DEV:
        (folder / "dev" / clip).parent.mkdir(parents=True, exist_ok=True)
        wav, rate = soundfile.read(AUDIO / clip)
        if clip == DEV[0]:
            soundfile.write(folder / "dev" / clip, np.stack([wav, wav], 1), rate)
        else:
            soundfile.write(folder / "dev" / clip, at_24_khz(wav, rate), RATE)
    write_table(folder / "dev.tsv", [["path", "speaker"], *([str(clip), f"of-{clip.stem}"] for clip in DEV)])
    return folder


def table(path: Path) -> dict[str, str]:
    """A table of a data folder."""
    return dict(line.split(" ", 1) for line in path.read_text().splitlines())


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe in a copy of the checkout, with the corpus in it and stages 0 and 1 run."""
    root = copy_of(tmp_path_factory.mktemp("copy"), "recipes", "egs", "audiocodec/configs")
    folder = root / "egs" / "speech24k" / "codec"
    make_corpus(folder / "my corpus")
    run(stages(0, 1, "--conditions", "true"), folder)
    return folder


def stages(first: int, last: int, *options: str) -> list[str]:
    command = ["./run.sh", "--stage", str(first), "--stop-stage", str(last), "--corpus", "my corpus"]
    return [*command, "--held-out", "2", *options]


# --- stages 0 and 1


def test_the_folders_hold_what_the_tables_say(recipe: Path) -> None:
    sets = {path.name: table(path / "wav.scp") for path in (recipe / "data").iterdir()}
    assert sorted(sets) == sorted(["train", "valid", "dev", *(f"dev_{name}" for name in CONDITIONS)])
    assert len(sets["valid"]) == 2 and len(sets["train"]) == 6
    ids = {str(clip): str(clip.with_suffix("")).replace("/", "-") for clip in CLIPS}
    assert sorted(sets["train"].keys() | sets["valid"].keys()) == sorted(ids[str(clip)] for clip in TRAIN)
    for clip in TRAIN:
        found = (sets["train"] | sets["valid"])[ids[str(clip)]]
        assert Path(found).read_bytes() == (AUDIO / clip).read_bytes()
    assert sets["dev"] == {ids[str(clip)]: str(recipe / "my corpus" / "dev" / clip) for clip in DEV}
    speakers = {name: set(table(recipe / "data" / name / "utt2spk").values()) for name in ("train", "valid", "dev")}
    for a, b in itertools.combinations(speakers.values(), 2):
        assert not a & b
    assert speakers["dev"] == {f"of-{clip.stem}" for clip in DEV}
    for name, paths in sets.items():
        assert name in ("train", "valid") or paths.keys() == sets["dev"].keys()


def test_running_again_changes_nothing(recipe: Path) -> None:
    before = [fingerprint(recipe / name) for name in ("audio", "data")]
    done = run(stages(0, 1, "--conditions", "true"), recipe)
    assert "audio/train/train-0.tar: is there" in done.stderr
    assert [fingerprint(recipe / name) for name in ("audio", "data")] == before


def copied(recipe: Path, tmp_path: Path) -> Path:
    """The recipe without what it made, to break its corpus."""
    root = copy_of(tmp_path, "recipes", "egs", "audiocodec/configs")
    folder = root / "egs" / "speech24k" / "codec"
    shutil.copytree(recipe / "my corpus", folder / "my corpus")
    return folder


def test_some_shards_are_enough(recipe: Path, tmp_path: Path) -> None:
    folder = copied(recipe, tmp_path)
    (folder / "my corpus" / "train-1.tar").unlink()
    done = run(stages(0, 1), folder, 1)
    assert "my corpus/train-1.tar: no such file, but train.tsv names it; --shards" in done.stderr
    unknown = run(stages(0, 1, "--shards", "train-2.tar"), folder, 1)
    assert "names no tar train-2.tar; it has train-0.tar train-1.tar" in unknown.stderr
    run(stages(0, 1, "--shards", "train-0.tar"), folder)
    found = table(folder / "data" / "train" / "wav.scp") | table(folder / "data" / "valid" / "wav.scp")
    assert len(found) == 4 and all("/audio/train/train-0.tar/" in path for path in found.values())
    assert (
        found.items()
        <= {
            key: path.replace(str(recipe), str(folder))
            for name in ("train", "valid")
            for key, path in table(recipe / "data" / name / "wav.scp").items()
        }.items()
    )  # ids are those that all shards have


def test_a_newer_tar_is_unpacked_again_and_a_damaged_one_not_at_all(recipe: Path, tmp_path: Path) -> None:
    folder = copied(recipe, tmp_path)
    tar = folder / "my corpus" / "train-1.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[: len(whole) // 2])
    assert "train-1.tar: damaged" in run(stages(0, 0), folder, 1).stderr
    assert [path.name for path in (folder / "audio" / "train").iterdir()] == ["train-0.tar"]
    with tarfile.open(tar, "w") as changed:
        changed.add(AUDIO / TRAIN[4], str(TRAIN[4]))
    done = run(stages(0, 0), folder, 1)
    for number, clip in enumerate(TRAIN[5:], 7):
        assert f"my corpus/train.tsv:{number}: {clip} is not in train-1.tar\n" in done.stderr
    tar.write_bytes(whole)
    run(stages(0, 0), folder)


def drop_column(corpus: Path) -> None:
    rows = [line.split("\t") for line in (corpus / "train.tsv").read_text().splitlines()]
    write_table(corpus / "train.tsv", [[row[0], *row[2:]] for row in rows])


def test_speakers_are_held_out_whole(recipe: Path, tmp_path: Path) -> None:
    folder = copied(recipe, tmp_path)
    by_two = [[str(clip), f"voice-{i // 2}", f"train-{i // 4}.tar"] for i, clip in enumerate(TRAIN)]
    write_table(folder / "my corpus" / "train.tsv", [["path", "speaker", "shard"], *by_two])
    for asked, said in (("3", ["held out 2 clips, not 3: no speaker is divided"]), ("4", [])):
        done = run(stages(0, 1, "--held-out", asked), folder)
        assert [line for line in done.stderr.splitlines() if "held out" in line] == said
        held = table(folder / "data" / "valid" / "utt2spk").values()
        assert sorted(Counter(held).values()) == [2] * (int(asked) // 2)


def edited(name: str, before: str, after: str) -> Callable[[Path], None]:
    def edit(corpus: Path) -> None:
        text = (corpus / name).read_text()
        assert before in text
        (corpus / name).write_text(text.replace(before, after, 1))

    return edit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_column, "train.tsv:1: lacks speaker; its columns, parted by tabs, are: path, language, shard"),
        (lambda corpus: (corpus / "dev.tsv").unlink(), "dev.tsv: No such file or directory"),
        (lambda corpus: (corpus / "dev" / DEV[1]).unlink(), f"dev.tsv:3: my corpus/dev/{DEV[1]}: no such file"),
        (edited("dev.tsv", f"of-{DEV[2].stem}", "twice"), "dev.tsv:4: speaker twice is in train, too (my corpus/train"),
        (edited("train.tsv", "language", "path"), "train.tsv:1: column 'path' twice\n"),
        (edited("train.tsv", f"of-{TRAIN[1].stem}", ""), "train.tsv:3: nothing in column speaker"),
        (edited("train.tsv", "\txx\t", "\t"), "train.tsv:2: has 3 columns, expected 4"),
        (edited("train.tsv", str(TRAIN[1]), str(TRAIN[0])), f"train.tsv:3: {TRAIN[0]} is in my corpus/train.tsv:2"),
        (edited("train.tsv", str(TRAIN[0]), "../a.flac"), "train.tsv:2: ../a.flac leads out of the corpus"),
    ],
    ids=["column", "table", "dev-file", "speaker-in-both", "column-twice", "empty", "short-row", "twice", "outside"],
)
def test_a_wrong_table_is_refused(change: Callable[[Path], None], message: str, recipe: Path, tmp_path: Path) -> None:
    corpus = shutil.copytree(recipe / "my corpus", tmp_path / "my corpus")
    change(corpus)
    done = run(["python", recipe / "local" / "tables.py", "my corpus", ""], tmp_path, 1)
    assert message in done.stderr and "Traceback" not in done.stderr and done.stdout == ""


def test_only_a_line_feed_ends_a_row(recipe: Path, tmp_path: Path) -> None:
    corpus = shutil.copytree(recipe / "my corpus", tmp_path / "my corpus")
    for character in "\u2028\u2029\x85\x0b\x1c":
        edited("train.tsv", "\txx\t", f"\tx{character}x\t")(corpus)
    done = run(["python", recipe / "local" / "tables.py", "my corpus", ""], tmp_path)
    assert done.stdout.splitlines() == ["train-0.tar", "train-1.tar"]


def test_options_are_checked(recipe: Path) -> None:
    for options, status, message in (
        (["--stage", "0"], 2, "say where the corpus is: run.sh --corpus DIR"),
        (["--stage", "1"], 2, "say where the corpus is: run.sh --corpus DIR"),
        (["--corpus", "nowhere"], 1, "nowhere: no such folder"),
        (["--model", "double"], 2, "--model is single or residual, got 'double'"),
        (["--profile", "tpu"], 2, "--profile is cpu or gpu, got 'tpu'"),
        (["--stage", "1", "--corpus", "my corpus", "--held-out", "0"], 2, "--held-out is a number from 1 on, got '0'"),
        (["--stage", "1", "--corpus", "my corpus", "--held-out", "8"], 1, "nothing is left for train: 8 clips"),
    ):
        assert message in run(["./run.sh", *options], recipe, status).stderr


# --- the conditions, measured


def clips(recipe: Path, name: str) -> list[np.ndarray]:
    """The three clips of a set that were at 24 kHz in dev, in float64; in the order of dev."""
    found = []
    for key, path in sorted(table(recipe / "data" / name / "wav.scp").items())[1:]:
        wav, rate = soundfile.read(path)
        assert rate == RATE and wav.ndim == 1
        assert name == "dev" or path == str(recipe / "audio" / name / f"{key}.flac")
        found.append(wav)
    assert len(found) == 3
    return found


def pairs(recipe: Path, condition: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(changed, as in dev)."""
    return list(zip(clips(recipe, f"dev_{condition}"), clips(recipe, "dev"), strict=True))


def db(wav: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(wav**2))))


def power(wav: np.ndarray, low: float, high: float) -> float:
    """Between two frequencies."""
    frequency = np.arange(len(wav) // 2 + 1) * RATE / len(wav)
    return float((np.abs(np.fft.rfft(wav)) ** 2)[(frequency >= low) & (frequency < high)].sum())


LSB = 1 / 32768


def test_clips_of_other_rates_and_channels_are_brought_to_24_khz_mono(recipe: Path) -> None:
    key, path = min(table(recipe / "data" / "dev" / "wav.scp").items())
    wav, rate = soundfile.read(path)
    assert (rate, wav.ndim) == (16_000, 2)
    expected = at_24_khz(wav.mean(1), rate)
    for condition in ("level", "noise", "silence"):
        changed, rate = soundfile.read(table(recipe / "data" / f"dev_{condition}" / "wav.scp")[key])
        assert (rate, changed.shape) == (RATE, expected.shape)
        assert condition != "level" or np.corrcoef(changed, expected)[0, 1] > 0.999


def test_level(recipe: Path) -> None:
    for changed, wav in pairs(recipe, "level"):
        assert db(changed) == pytest.approx(-40, abs=0.05)  # 16 bits
        assert np.corrcoef(changed, wav)[0, 1] > 0.999


def test_clipping(recipe: Path) -> None:
    for changed, wav in pairs(recipe, "clipping"):
        limit = np.abs(changed).max()
        assert 0.0009 < np.mean(np.abs(wav) > limit) < 0.051
        np.testing.assert_allclose(changed, np.clip(wav, -limit, limit), atol=1.01 * LSB)


def test_telephone(recipe: Path) -> None:
    for changed, wav in pairs(recipe, "telephone"):
        assert power(changed, 4001, 12_001) < 1e-3 * power(wav, 4001, 12_001)  # 16 bits make noise everywhere
        assert power(changed, 310, 3390) == pytest.approx(power(wav, 310, 3390), rel=1e-3)
        lows = power(changed, 0, 190) / power(wav, 0, 190)
        assert lows < 0.01 or lows == pytest.approx(1, rel=0.01)


def test_noise(recipe: Path) -> None:
    for changed, wav in pairs(recipe, "noise"):
        noise = changed - wav
        assert 4.9 < db(wav) - db(noise) < 35.1
        assert abs(np.corrcoef(noise, wav)[0, 1]) < 0.05
        assert power(noise, 50, 12_001) > 0.45 * power(noise, 0, 12_001)


def test_room(recipe: Path) -> None:
    for changed, wav in pairs(recipe, "room"):
        assert db(changed) == pytest.approx(db(wav), abs=0.1)
        length = 2 * len(wav)
        dry, wet = np.fft.rfft(wav, length), np.fft.rfft(changed, length)
        answer = np.fft.irfft(wet * dry.conj() / (np.abs(dry) ** 2 + 1e-2 * np.mean(np.abs(dry) ** 2)))
        after, late, before = ((answer[a:b] ** 2).sum() for a, b in ((24, 2400), (14_400, 16_800), (-2424, -24)))
        assert after > 5 * before  # what is before the direct sound is what the speech hides of its own spectrum
        assert after > 10 * late


def test_talker(recipe: Path) -> None:
    stereo, rate = soundfile.read(min(table(recipe / "data" / "dev" / "wav.scp").items())[1])
    voices = [at_24_khz(stereo[:, 0], rate), *clips(recipe, "dev")]
    for number, (changed, wav) in enumerate(pairs(recipe, "talker"), 1):
        length = len(changed)
        second = changed - wav[:length]
        assert -0.1 < db(wav[:length]) - db(second) < 15.1
        found = [n for n, voice in enumerate(voices) if _like(second, voice)]
        assert len(found) == 1 and found != [number]
        assert length == min(len(wav), len(voices[found[0]]))


def _like(a: np.ndarray, b: np.ndarray) -> bool:
    length = min(len(a), len(b))
    return bool(np.corrcoef(a[:length], b[:length])[0, 1] > 0.99)


def test_music(recipe: Path) -> None:
    for changed, wav in pairs(recipe, "music"):
        music = changed - wav
        assert db(wav) - db(music) == pytest.approx(10, abs=0.05)
        lines = np.sort(np.abs(np.fft.rfft(music)) ** 2)[::-1]
        assert lines[: len(lines) // 20].sum() > 0.9 * lines.sum()  # tones; of noise it would be a fifth


def test_silence(recipe: Path) -> None:
    first, _ = soundfile.read(min(table(recipe / "data" / "dev_silence" / "wav.scp").items())[1])
    assert len(first) and not first.any()
    for changed, wav in pairs(recipe, "silence"):
        lost = np.flatnonzero((changed == 0) & (np.abs(wav) > 1.01 * LSB))
        assert 0.09 < (lost[-1] - lost[0] + 1) / len(wav) < 0.61
        assert not changed[lost[0] : lost[-1] + 1].any()
        kept = np.r_[changed[: lost[0]], changed[lost[-1] + 1 :]]
        np.testing.assert_allclose(kept, np.r_[wav[: lost[0]], wav[lost[-1] + 1 :]], atol=1.01 * LSB)


# --- stages 2 to 6


@pytest.mark.parametrize(
    ("options", "config", "given"),
    [
        ([], "speech_24k", []),
        (["--model", "residual"], "speech_24k_residual", []),
        (["--profile", "gpu", "--max-minutes", "25"], "speech_24k_gpu", ["--max-minutes", "25"]),
        (
            [
                "--profile",
                "gpu",
                "--model",
                "residual",
                "--init-from",
                "my runs/speech_24k",
                "--train-options",
                "--set seed=2",
            ],
            "speech_24k_residual_gpu",
            ["--init-from", "my runs/speech_24k", "--set", "seed=2"],
        ),
    ],
    ids=["single-cpu", "residual-cpu", "single-gpu", "residual-gpu"],
)
def test_what_is_trained(options: list[str], config: str, given: list[str], recipe: Path, tmp_path: Path) -> None:
    """Against a stand-in for audiocodec that notes its arguments."""
    stand_in = tmp_path / "bin" / "audiocodec"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" >{tmp_path}/noted\n')
    stand_in.chmod(0o755)
    run(
        ["./run.sh", "--stage", "2", "--stop-stage", "2", *options],
        recipe,
        env={"PATH": f"{stand_in.parent}:/usr/bin:/bin"},
    )
    words = (tmp_path / "noted").read_text().splitlines()
    conf = recipe.parents[2] / "audiocodec" / "configs" / f"{config}.yaml"
    expected = ["train", "--config", config, "--exp", f"exp/{config}", "--resume", "--set", "data.train=data/train"]
    assert words == [*expected, "--set", "data.valid=data/valid", *given]
    assert conf.is_file()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_from_corpus_to_card(recipe: Path) -> None:
    """A few steps of a tiny model; the silent clip has no score, which fails unless it is allowed."""
    sets = "train.steps=2 train.warmup_autoencoder_steps=1 train.batch_size=2 discriminator.start_step=1 data.segment_seconds=0.5"
    options = ["--config", "mini", "--train-options", " ".join(f"--set {pair}" for pair in sets.split())]
    (recipe / "about.md").write_text("## Known failures\n")
    options += ["--test-sets", "dev dev_silence", "--metrics", "stoi", "--about", "about.md"]
    done = run(["./run.sh", "--stage", "2", *options, "--allow-unscored", "true"], recipe)
    exp = recipe / "exp" / "mini"
    assert (exp / "checkpoints" / "step_00000002" / "discriminators.safetensors").is_file()  # for --init-from
    summaries = {
        name: json.loads((exp / "eval" / name / "summary.json").read_text()) for name in ("dev", "dev_silence")
    }
    assert {name: s["n_rows"] for name, s in summaries.items()} == {"dev": 4, "dev_silence": 4}
    assert {name: s["n_rows_with_failures"] for name, s in summaries.items()} == {"dev": 0, "dev_silence": 1}
    assert (exp / "RESULTS.md").read_text() in done.stdout
    card = (exp / "CARD.md").read_text()
    assert card.startswith("# mini\n") and "(training.png)" in card and card.endswith("## Known failures\n")
    stoi = summaries["dev"]["measures"]["stoi"]["mean"]
    assert re.search(rf"^\| dev \| 4 \|.* {stoi:.3f} \[", card, re.MULTILINE)
    assert "| dev_silence | 4 |" in card and (exp / "training.png").is_file()
    failed = run(["./run.sh", "--stage", "6", *options], recipe, 1)
    assert "some utterances have no score (rows.jsonl says why); --allow-unscored true" in failed.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_into_the_package(recipe: Path, tmp_path: Path) -> None:
    """The weights as 16 bits, scored as they are, beside another codec; scores of other weights stop it."""
    root = shutil.copytree(recipe.parents[2], tmp_path / "copy")
    folder, package = root / "egs" / "speech24k" / "codec", root / "audiocodec" / "pretrained" / "tiny"
    for name in CONDITIONS:
        if name != "silence":
            shutil.rmtree(folder / "data" / f"dev_{name}")
    sets = ("train.steps=1", "train.warmup_autoencoder_steps=0", "train.batch_size=2", "data.segment_seconds=0.5")
    options = " ".join(f"--set {pair}" for pair in (*sets, "quantizer.codebook_size=512"))
    train = ["./run.sh", "--stage", "2", "--stop-stage", "2", "--config", "mini", "--name", "tiny", "--train-options"]
    run([*train, options], folder)
    command = ["./package.sh", "--exp", "exp/tiny", "--name", "tiny", "--prior-minutes", "0.02", "--prior-every", "2"]
    run(command, folder)
    assert {tensor.dtype for tensor in load_file(package / "model.safetensors").values()} == {np.dtype("float16")}
    model, ours = package / "model.safetensors", DiscriminatorBundle(build_discriminators(load_config("mini")))
    assert Prior.load(package / "prior.safetensors").config.codec == model_file.describe(model).fingerprint
    taken = take_discriminators(ours, model)
    assert taken and not taken.fresh and not taken.resized
    card = (package / "CARD.md").read_text()
    scores = {
        name: json.loads((folder / f"exp/tiny/package/{name}/summary.json").read_text())
        for name in ("dev", "dev_silence")
    }
    codec = re.search(r"^\| fingerprint \| (\w+) \|$", card, re.MULTILINE)
    assert codec and all(s["tokens"]["codecs"] == [codec[1]] for s in scores.values())
    assert re.search(rf"^\| dev \| 4 \|.* {scores['dev']['measures']['dnsmos_ovrl']['mean']:.3f} ", card, re.MULTILINE)
    assert "| dev_silence | 4 |" in card and "## Training audio and licences" in card and "](training.png)" in card
    baselines = folder / "compared"
    for name in ("opus-6", "codec2-1200", "codec2-3200"):
        (baselines / name).mkdir(parents=True)
        (baselines / name / "summary.json").write_text(
            json.dumps({**scores["dev"], "tokens": {}, "command": "compared"})
        )
    run([*command, "--baselines", "compared"], folder)
    assert "| dev, opus-6 | 4 |" in (package / "CARD.md").read_text()
    prior = folder / "exp/tiny/package/prior.safetensors"
    kept = prior.rename(prior.with_suffix(".kept"))
    assert "nowhere.safetensors: " in run([*command, "--prior-from", "nowhere.safetensors"], folder, 1).stderr
    kept.rename(prior)
    run([*train, options.replace("steps=1", "steps=2", 1)], folder)
    before = fingerprint(package)
    assert "but the card is about" in run(command, folder, 1).stderr
    assert fingerprint(package) == before
    assert "say which experiment: --exp DIR" in run(["./package.sh"], folder, 2).stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_search(recipe: Path) -> None:
    """Two rows of a tiny model; what is finished is not done again, a row that was changed is not taken for what it was."""
    head, *_ = (recipe / "conf" / "search.tsv").read_text().splitlines()
    rows = recipe / "conf" / "search.tsv"
    rows.write_text(f"{head}\nplain\t-\t0.1\t\nnarrow\t-\t0.1\tquantizer.codebook_dim=4 train.seed_of_nothing=1\n")
    command = ["./search.sh", "--config", "mini", "--metrics", "stoi"]
    assert "train.seed_of_nothing" in run(command, recipe, 2).stderr
    assert (recipe / "search" / "scores" / "plain" / "summary.json").is_file()
    rows.write_text(f"{head}\nplain\t-\t0.1\t\nslim\t-\t0.1\tquantizer.codebook_dim=4\n")
    scored = fingerprint(recipe / "search" / "scores" / "plain")
    done = run(command, recipe)
    assert fingerprint(recipe / "search" / "scores" / "plain") == scored
    page = (recipe / "search" / "RESULTS.md").read_text()
    assert page in done.stdout and "./search.sh --config mini --metrics stoi" in page
    for name, changed in (("plain", ""), ("slim", "quantizer.codebook_dim=4")):
        summary = json.loads((recipe / "search" / "scores" / name / "summary.json").read_text())
        stoi = summary["measures"]["stoi"]["mean"]
        assert re.search(rf"^\| search/scores/{name} \| 2 \| {stoi:.3f} \[", page, re.MULTILINE)
        assert re.search(rf"^\| {name} \| - \| 0.1 \| {changed} \| \d+ \|$", page, re.MULTILINE)
        config = (recipe / "search" / "exp" / name / "config.yaml").read_text()
        assert bool(re.search(r"\bcodebook_dim: 4\b", config)) == bool(changed)
    summary_file = recipe / "search" / "scores" / "slim" / "summary.json"
    summary_file.write_text(summary_file.read_text().replace('"n_rows_with_failures": 0', '"n_rows_with_failures": 1'))
    assert "some utterances have no score, see search/scores/NAME/rows.jsonl: slim" in run(command, recipe, 1).stderr
    rows.write_text(f"{head}\nslim\t-\t0.1\tquantizer.codebook_dim=6\n")
    assert "search/exp/slim was made by other options or another row; remove it" in run(command, recipe, 2).stderr
    assert "conf/search.tsv has no row 'wide'" in run([*command, "--rows", "wide"], recipe, 2).stderr
