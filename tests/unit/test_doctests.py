"""The examples in the docstrings of the public names, run as they stand, in one folder with a second of speech."""

from __future__ import annotations

import doctest
import inspect
import pathlib
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile
import torch

import audiocodec
from audiocodec.cli.main import main

SPEECH = Path(__file__).parents[2] / "egs/mini/codec/local/audio/it-flora/vm-mismatch.flac"
# Later examples use what earlier ones wrote.
NAMES = (
    "AudioCodecError",
    "load",
    "Codec",
    "TokenFile",
    "encode_file",
    "decode_file",
    "compress",
    "decompress",
    "evaluate",
    "compare",
    "report",
    "train",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of speech, its tokens, and what is trained and scored in the examples."""
    place = tmp_path_factory.mktemp("examples")
    wav, rate = soundfile.read(SPEECH, start=8_000, frames=16_000)
    for name in ("speech.wav", "audio/speech.wav", "decoded/speech.wav", "more/a/speech.wav", "more/b/speech.wav"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / name, wav, rate)
    assert main(["encode", str(place / "speech.wav"), "-o", str(place / "speech.act"), "--quiet"]) == 0
    assert main(["make-data", str(place / "more"), str(place / "data")]) == 0
    return place


def test_no_other_public_name_has_an_example_that_nobody_runs() -> None:
    public = [name for name in audiocodec.__all__ if ">>>" in (inspect.getdoc(getattr(audiocodec, name)) or "")]
    assert {*public} == {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_example(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    known: dict[str, Any] = {"audiocodec": audiocodec, "numpy": numpy, "torch": torch, "pathlib": pathlib}
    held = inspect.getdoc(getattr(audiocodec, name)) or ""
    test = doctest.DocTestParser().get_doctest(held, known, name, None, 0)
    assert test.examples
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
    assert not said, "".join(said)
