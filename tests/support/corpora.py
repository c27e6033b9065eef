"""A small corpus of several rates and formats, in each form that `audiocodec tokenize` reads, and what encoding it gives."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiocodec.cli.main import main
from audiocodec.tokens.token_file import TokenFile

# name -> (Hz, channels, samples, format)
CLIPS = {
    "a": (24_000, 1, 9_000, "wav"),
    "s1/b": (16_000, 1, 12_345, "flac"),
    "s1/c": (44_100, 2, 30_000, "wav"),
    "s2/d": (48_000, 1, 20_000, "ogg"),
    "s2/e": (24_000, 1, 4_321, "flac"),
}


def write_corpus(root: Path, names: Mapping[str, tuple[int, int, int, str]] = CLIPS) -> Path:
    """Noise that swells, at another level in each file."""
    for number, (name, (rate, channels, samples, form)) in enumerate(names.items()):
        path = root / f"{name}.{form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).standard_normal((samples, channels))
        swell = np.linspace(0.1, 1, samples)[:, None]
        soundfile.write(path, 0.02 * (number + 1) * swell * noise, rate)
    return root


def files_of(root: Path) -> dict[str, Path]:
    """Name -> file of a corpus."""
    return {str(p.relative_to(root).with_suffix("")): p for p in sorted(root.rglob("*.*")) if p.is_file()}


def encoded(root: Path, model: Path, out: Path) -> dict[str, TokenFile]:
    """What `audiocodec encode` makes of each file."""
    assert main(["encode", str(root), "-m", str(model), "-d", str(out), "--quiet"]) == 0
    return {str(p.relative_to(out).with_suffix("")): TokenFile.read(p) for p in out.rglob("*.act")}


def write_kaldi(root: Path, out: Path) -> Path:
    """`wav.scp`, `utt2spk`, `text`; the last in another order and without one entry."""
    out.mkdir()
    files = {name.replace("/", "-"): path for name, path in files_of(root).items()}
    (out / "wav.scp").write_text("".join(f"{key} {path}\n" for key, path in files.items()))
    (out / "utt2spk").write_text("".join(f"{key} spk-{key[:2]}\n" for key in files))
    (out / "text").write_text("".join(f"{key} words of {key}\n" for key in reversed(files) if key != "a"))
    return out


def write_manifest(root: Path, path: Path) -> Path:
    """NeMo's JSON lines, paths relative to the manifest, with columns of several types."""
    lines = []
    for number, (name, file) in enumerate(files_of(root).items()):
        said = {"audio_filepath": str(file.relative_to(path.parent)), "duration": soundfile.info(file).duration}
        said |= {"text": f"words of {name}", "lang": "cs", "snr": number + 0.5 * (number % 2), "tags": [name, number]}
        lines.append(json.dumps(said))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar of files in memory."""
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_tars(root: Path, folder: Path) -> Path:
    """Two webdataset tars, `part-0.tar` and `part-1.tar`."""
    folder.mkdir()
    files = list(files_of(root).items())
    for number, part in enumerate((files[:3], files[3:])):
        members = {}
        for name, file in part:
            members[name + file.suffix] = file.read_bytes()
            members[name + ".json"] = json.dumps(
                {"text": f"words of {name}", "speaker": name[:2], "n": number}
            ).encode()
        write_tar(folder / f"part-{number}.tar", members)
    return folder


def write_parquet(root: Path, path: Path) -> Path:
    """Hugging Face's form: a struct of bytes and path."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    rows = [
        {
            "id": name,
            "audio": {"bytes": file.read_bytes(), "path": file.name},
            "sentence": f"words of {name}",
            "age": 30,
        }
        for name, file in files_of(root).items()
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def same_codes(row: Mapping[str, Any], tokens: TokenFile) -> bool:
    """Whether a row holds what a token file holds: codes, gain, lengths before and after."""
    names = ("num_samples", "gain", "original_sample_rate", "original_channels", "original_num_samples")
    return np.array_equal(np.array(list(map(list, row["codes"]))), tokens.codes) and all(
        row[name] == getattr(tokens, name) for name in names
    )
