"""What reads files from outside. Each target takes a sound input and damages it; only the toolkit's errors may come out."""

from __future__ import annotations

import contextlib
import io as memory
import json
import shutil
import struct
import sys
import tarfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from random import Random
from unittest import mock

import numpy as np
import soundfile

from audiocodec import contents, hub, model_file
from audiocodec.audio import io
from audiocodec.cli.jobs import make_plan
from audiocodec.codec.interface import BlockCodec
from audiocodec.config.load import config_from_text, dump_config, load_config
from audiocodec.config.schema import Config
from audiocodec.data import manifest
from audiocodec.errors import AudioError
from audiocodec.evaluation.coding import read_timings
from audiocodec.evaluation.results import results_md
from audiocodec.evaluation.rows import Row, read_rows
from audiocodec.evaluation.summary import summarize
from audiocodec.evaluation.summary_file import Summary, read_summary
from audiocodec.evaluation.systems.reconstruct import Size, read_sizes
from audiocodec.files import sha256
from audiocodec.onnx import folder
from audiocodec.onnx.load import load as load_onnx
from audiocodec.onnx.load import read as read_onnx
from audiocodec.reporting.versa import read_scores
from audiocodec.tokenize import inputs, marks, plan, reading
from audiocodec.tokenize.rows import tokens_of
from audiocodec.tokenize.sources import manifest as manifests
from audiocodec.tokenize.sources import webdataset
from audiocodec.tokenize.utterance import Failure
from audiocodec.tokens.token_file import TokenFile
from audiocodec.training.checkpoints import state

from .mutations import damage, damage_json, damage_lines

CHECKOUT = Path(__file__).parents[2]
sys.path.insert(0, str(CHECKOUT / "recipes" / "utils"))
import unpack

Round = Callable[[Random], None]
FACTS = plan.ModelFacts("m", "0" * 16, "float32", 24_000, 320, (64, 64))


def token_file(place: Path, model: Path) -> Round:
    codes = np.arange(8).reshape(2, 4)
    sound = TokenFile(codes, (64, 64), 24_000, 320, 1280, 48_000, 2, 2560, 0.5, bytes(8), {"speaker": "a"}).to_bytes()

    def again(random: Random) -> None:
        TokenFile.from_bytes(damage(sound, random)).describe()

    return again


def model_header(place: Path, model: Path) -> Round:
    data = model.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header, wav = json.loads(data[8:end]), np.zeros(2000, np.float32)

    def again(random: Random) -> None:
        said = json.loads(json.dumps(header))
        metadata, key = (
            said["__metadata__"],
            random.choice(("config", "config", "notes", "latent_error", "fingerprint", "all")),
        )
        if key in ("config", "notes", "latent_error"):
            metadata[key] = damage_json(metadata.get(key, "[]"), random)
        elif key == "fingerprint":
            metadata[key] = random.choice(("", "xyz", "0" * 16, "ab" * 100, "\u0660" * 16))
        metadata["digest"] = model_file._digest(metadata)
        text = json.dumps(said) if key != "all" else damage_json(json.dumps(said), random)
        path = place / "m.safetensors"
        encoded = text.encode()
        path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data[end:])
        contents.recognise(str(path))
        codec: BlockCodec = model_file.load(path) if random.random() < 0.5 else load_onnx(path)
        list(codec.encode_blocks([wav]))

    return again


def onnx_folder(place: Path, model: Path) -> Round:
    header, made = model_file.describe(model), place / "onnx"
    folder.write(read_onnx(model), header.config, made, {})
    sound = {path.name: path.read_bytes() for path in made.iterdir()}

    def again(random: Random) -> None:
        said = json.loads(sound[folder.DESCRIPTION])
        for name, data in sound.items():
            (made / name).write_bytes(data)
        name = random.choice([folder.DESCRIPTION, folder.DESCRIPTION, folder.QUANTIZER, folder.EXACT])
        if name != folder.DESCRIPTION:
            (made / name).write_bytes(damage(sound[name], random))
            said["files"][name] = folder._sha256((made / name).read_bytes())
        else:
            with contextlib.suppress(ValueError, RecursionError):
                said = json.loads(damage_json(json.dumps(said), random))
        with contextlib.suppress(AttributeError, TypeError, RecursionError):
            said["digest"] = folder._digest(said)
        (made / folder.DESCRIPTION).write_text(json.dumps(said))
        contents.recognise(str(made))
        codec = load_onnx(made)
        list(codec.encode_blocks([np.zeros(2000, np.float32)]))

    return again


def audio(place: Path, model: Path) -> Round:
    kinds = {
        "wav": "PCM_16",
        "caf": "PCM_16",
        "flac": "PCM_16",
        "aiff": "PCM_16",
        "au": "PCM_16",
        "w64": "FLOAT",
        "ogg": "VORBIS",
        "rf64": "PCM_24",
    }
    sound = []
    for form, subtype in kinds.items():
        stream = memory.BytesIO()
        soundfile.write(stream, np.random.default_rng(0).normal(0, 0.1, (400, 2)), 8000, subtype, format=form)
        sound.append(stream.getvalue())

    def again(random: Random) -> None:
        path = place / "a.wav"
        path.write_bytes(damage(random.choice(sound), random))
        with contextlib.suppress(AudioError):
            io.read_beginning(path, random.choice([0.01, 1.0]))
        io.info(path)
        for _ in io.read_blocks(path, 8000, 1000):
            pass

    return again


def lists(place: Path, model: Path) -> Round:
    tables = {
        "wav.scp": "a /x/a.wav\nb cat /x/b.wav |\nc -\n",
        "utt2spk": "a s\nb s\nc t\n",
        "utt2num_samples": "a 9\nb 8\nc 7\n",
    }

    def again(random: Random) -> None:
        changed = random.choice(list(tables))
        for name, text in tables.items():
            (place / name).write_bytes(damage(text.encode(), random) if name == changed else text.encode())
        made = make_plan([str(place / "wav.scp")], None, str(place / "out"), (".wav",), ".act", True)
        for job in made.jobs:
            io.AudioFile(job.source).__exit__() if job.source.startswith("/x") else None
        manifest.read_folder(place, allow_pipes=True)

    return again


def configuration(place: Path, model: Path) -> Round:
    text = dump_config(Config()).encode()

    def again(random: Random) -> None:
        changed = damage(text, random)
        if random.random() < 0.3:
            changed += random.choice(
                (b"extends: /dev/zero\n", b"a: &a [*a]\n", b"x: " + b"[" * 5000, b"k: 1\n" * 20_000)
            )
        path = place / "c.yaml"
        path.write_bytes(changed)
        if random.random() < 0.5:
            load_config(path)
        config_from_text(changed.decode("utf-8", "replace"), "text")

    return again


def evaluations(place: Path, model: Path) -> Round:
    row = Row(
        "a",
        1.0,
        {"si_sdr": 3.0},
        {"pesq": "short"},
        {"short": "0.1 s"},
        ("odd",),
        {"speaker": "x"},
        "r",
        "e",
        "t",
        "ab",
        "s",
        ("pesq",),
        {"si_sdr": "w"},
    )
    size = Size("a", 80, 72, 8000, 16_000, "c", "s", 0.1)
    summary = json.loads(summarize([row, row], ["si_sdr", "pesq"], command="c").to_text())
    summary["tokens"] = {"codecs": ["ab"], "kbps_file": 1.5, "codebooks": None, "coded_by": "x"}
    timing = {"input": "a.wav", "output": "a.act", "seconds": 1.0, "wall_seconds": 0.5}
    files: dict[str, tuple[str, Callable[[Path], object]]] = {
        "rows.jsonl": (row.to_json() + "\n" + row.to_json(), read_rows),
        "sizes.jsonl": (json.dumps(asdict(size)) + "\n" + json.dumps(asdict(size)), read_sizes),
        "versa.jsonl": (
            '{"key": "a", "mcd": 1.5, "sir": Infinity, "vad": [{"start": 0}]}\n{"key": "b", "mcd": 2}',
            lambda path: read_scores(path, "s", {"a", "b"}),
        ),
        "timings": (json.dumps(timing), lambda path: read_timings([path])),
    }

    def again(random: Random) -> None:
        (place / "summary.json").write_text(damage_lines(json.dumps(summary), random), errors="replace")
        name = random.choice(list(files))
        text, read = files[name]
        (place / name).write_text(damage_lines(text, random), errors="replace")
        with contextlib.suppress(model_file.CheckpointError):
            found: Summary | None = None
            try:
                found = read_summary(place)
            finally:
                read(place / name)
            results_md(["x"], [found], "")

    return again


def data_sets(place: Path, model: Path) -> Round:
    shards = (plan.Shard(0, 60, 1), plan.Shard(60, 120, 1))
    made = plan.Plan("1", "kaldi", ("/x",), "d", FACTS, "webdataset", 3600.0, "l", {"age": "int64"}, shards)
    mark = marks.Mark("h", 0, "0" * 16, 1, 4, 1280, (Failure("a", "f", "e"),))
    line = json.dumps({"id": "a", "audio": "/x/a.wav", "start": 1.0, "seconds": 2.0, "columns": {"age": 3}})
    row = json.dumps({"id": "a", "codes": [[1, 2], [3, 4]], "gain": 0.5, "num_samples": 640, "text": "t"})
    stream, array = memory.BytesIO(), memory.BytesIO()
    np.save(array, np.array([[1, 2], [3, 4]]))
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in (("a.codes.npy", array.getvalue()), ("a.json", row.encode()), ("a.flac", b"x" * 50)):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(data), {"comment": "c"}
            tar.addfile(info, memory.BytesIO(data))
    sound = {"r.tar": stream.getvalue(), "r.npy": array.getvalue(), "r.ark": b"a 1 2 ; 3 4 ;\nb 5 6\n"}

    def again(random: Random) -> None:
        name = random.choice(("plan", "mark", "inputs", "jsonl", "manifest", *sound))
        if name == "plan":
            (place / plan.PLAN).write_text(damage_json(made.to_json(), random), errors="replace")
            plan.read(place)
        elif name == "mark":
            (place / "t.json").write_text(damage_json(mark.to_text(), random), errors="replace")
            marks.read(place / "t.tar")
        elif name == "inputs":
            (place / plan.INPUTS).write_text(damage_lines(line, random) + "\n", errors="replace")
            list(inputs.read(made, place, 0))
        elif name == "manifest":
            (place / "m.jsonl").write_text(
                damage_lines(json.dumps({"audio_filepath": "a", "duration": 1}), random), errors="replace"
            )
            list(manifests.source(str(place / "m.jsonl")).entries())
        else:
            path = place / (name if name in sound else "r.jsonl")
            path.write_bytes(
                damage(sound[name], random) if name in sound else damage_lines(row, random).encode("utf-8", "replace")
            )
            if name == "r.tar":
                list(webdataset.read(str(path), None))
            for found in reading.rows(path):
                tokens_of(found, FACTS)

    return again


def checkpoints(place: Path, model: Path) -> Round:
    said = {"step": 1, "files": {"a": "x"}, "guard": {"skipped": 0}}

    def again(random: Random) -> None:
        (place / "state.json").write_text(
            damage_json(json.dumps({**said, "sha256": state._digest(said)}), random), errors="replace"
        )
        state._verified(place)

    return again


def repositories(place: Path, model: Path) -> Round:
    """What a hub sends: a configuration, and weights whose hash it states rightly."""
    folder = model_file.load(model).save_pretrained(place / "repository")
    config, weights = (folder / "config.json").read_text(), (folder / "model.safetensors").read_bytes()

    def again(random: Random) -> None:
        said = json.loads(config)
        if random.random() < 0.3:
            (folder / "model.safetensors").write_bytes(damage(weights, random))
            said["files"]["model.safetensors"] = sha256(folder / "model.safetensors")
        else:
            (folder / "model.safetensors").write_bytes(weights)
        text = json.dumps(said)
        (folder / "config.json").write_text(
            text if random.random() < 0.2 else damage_json(text, random), errors="replace"
        )
        with mock.patch.object(hub, "_download", lambda repository, name, revision: folder / name):
            model_file.describe(hub.fetch(hub.Repository("org/name"), (hub.DISCRIMINATORS_FILE,)))

    return again


def archives(place: Path, model: Path) -> Round:
    sound = []
    for mode, form in (("w:gz", tarfile.PAX_FORMAT), ("w", tarfile.GNU_FORMAT)):
        stream = memory.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode, format=form) as tar:  # type: ignore[call-overload]
            for name in ("L/p/a", "L/p/b/c" * 30):
                info = tarfile.TarInfo(name)
                info.size = 5
                tar.addfile(info, memory.BytesIO(b"12345"))
        sound.append(stream.getvalue())

    def again(random: Random) -> None:
        (place / "a.tar").write_bytes(damage(random.choice(sound), random))
        shutil.rmtree(place / "out", ignore_errors=True)
        unpack.unpack(place / "a.tar", "L/p", place / "out")

    return again


TARGETS = (
    token_file,
    model_header,
    onnx_folder,
    audio,
    lists,
    configuration,
    evaluations,
    data_sets,
    checkpoints,
    repositories,
    archives,
)
OWN = (unpack.Refused,)
