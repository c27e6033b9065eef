"""A data folder with its audio for the tests of `audiocodec.data`, and ways to damage it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile


def save(path: Path, samples: int = 100, rate: int = 8_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"format": "OGG", "subtype": "OPUS"} if path.suffix.lower() == ".opus" else {}
    soundfile.write(path, np.random.default_rng(samples).normal(0, 0.1, samples), rate, **kind)
    return path


def write_data_folder(root: Path) -> Path:
    """A sound data folder of three utterances, `root/data`, written by hand."""
    for name in ("a", "b", "c"):
        save(root / "audio" / f"{name} {name}.wav")
    out = root / "data"
    out.mkdir()
    (out / "wav.scp").write_text("".join(f"{n} {root}/audio/{n} {n}.wav\n" for n in "abc"))
    (out / "utt2spk").write_text("a s1\nb s1\nc s2\n")
    (out / "utt2num_samples").write_text("a 100\nb 100\nc 100\n")
    return out


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    """What puts `new` for `old` in a table of a data folder."""

    def apply(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return apply


def damage_flac(folder: Path) -> None:
    """Damage that only decoding finds: the header is whole."""
    path = save(folder.parent / "audio" / "b b.flac", 50_000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 500] = bytes(500)
    (folder.parent / "audio" / "b b.wav").write_bytes(data)
    edit("utt2num_samples", "b 100", "b 50000")(folder)
