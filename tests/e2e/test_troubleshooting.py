"""Every message of docs/guide/troubleshooting.md, provoked by the command that a user would have typed."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.workspace import CHECKOUT

from audiocodec import loading
from audiocodec.cli.main import main
from audiocodec.model_file import describe

PAGE = CHECKOUT / "docs/guide/troubleshooting.md"
SPEECH = CHECKOUT / "egs/mini/codec/local/audio/it-flora/vm-mismatch.flac"

# What the table says -> the command line that says it, in the folder of `place`.
CASES = {
    "...: No such file or directory": "encode none.wav -o a.act",
    "...: is empty (0 bytes)": "encode empty.wav -o a.act",
    "...: not audio, or damaged at its start (...)": "encode text.wav -o a.act",
    "...: its channels cancel when they are mixed (opposite polarity); choose one, as with --channel 1": "encode cancel.wav -o a.act",
    "...: has ... channels, no channel ...": "encode cancel.wav -o a.act --channel 3",
    "...: ... is a command (...); commands run only with --allow-pipes": "encode list.scp -d out",
    "...: no prior of model ... is at hand; audiocodec prior trains one, AUDIOCODEC_PRIORS names its file": "recode foreign.act --compress -o c.act",
    "...: holds no .wav, .flac, .ogg, .opus, .mp3, ... (audio) files": "encode folder -d out",
    "...: cannot write audio with extension '...'; use one of ...": "decode good.act -o a.xyz",
    "...: not a token file: starts with ..., not ...": "decode text.wav -o a.wav",
    "...: has ... bytes, its header says ...": "decode cut.act -o a.wav",
    "...: damaged: the checksum does not match": "decode bad.act -o a.wav",
    "...: no such folder": "validate-data none",
    "...: cannot read the summary: ...": "report folder -o r.html",
    "audiocodec: error: ...: .../wav.scp: No such file or directory": "validate-data folder",
    "... already exists; --force overwrites, --resume keeps what is finished": "encode speech.flac -o good.act",
    "-o names one output but there are ... inputs; use -d for a folder of outputs": "encode speech.flac text.wav -o a.act",
    "...: no such model; give a .safetensors file, an experiment folder, org/name on a hub, or one of: ...": "encode speech.flac -o a.act -m none",
    "...: was encoded by model ..., which is not here; give it with -m, or put it into ...": "decode foreign.act -o a.wav",
    "... codebooks are asked for, ... has ...": "encode speech.flac -o a.act --num-codebooks 3",
    "-m is given twice, ... and ...; only one can be used": "encode speech.flac -o a.act -m a -m b",
    "--device cuda: no CUDA device is available; use --device cpu": "decode good.act -o a.wav --device cuda",
    "torch is not installed; pip install ...": "encode speech.flac -o a.act --runtime torch",
    "unrecognized arguments: ...": "encode speech.flac -o a.act --bogus",
    "invalid choice: '...' (choose from ...)": "nonsense",
    "...: no such configuration; the package has ...": "train --config none --exp e",
    "train: data.train is not set; give it in the configuration or with --set data.train=FOLDER": "train --config mini --exp e",
    "...: unknown key; did you mean '...'?": "train --config mini --exp e --set train.stepz=4",
    "'...' is no metric; there are ...": "evaluate --reference folder --estimate folder -d s --metrics x",
    "say --estimate PATH to score what is there, or -m MODEL to code the references first": "evaluate --reference folder -d s",
    "... is inside ...: its audio would count as references": "compare --reference . -d c",
    "...: cannot write: ...": "export speech_24k -o none/x.safetensors",
    "...: is not a source of a known kind; need a folder, wav.scp, .jsonl manifest, .tar or .parquet files": "tokenize speech.flac -d t",
}


def messages() -> dict[str, int]:
    """The messages of the tables, with the exit status of their section."""
    found: dict[str, int] = {}
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        if status := re.match(r"Exit status (\d)", section):
            found |= dict.fromkeys(re.findall(r"^\| `([^`]+)` \| \S.+ \|$", section, re.MULTILINE), int(status[1]))
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with audio, token files and what is neither."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "folder").mkdir()
    (folder / "speech.flac").symlink_to(SPEECH)
    (folder / "text.wav").write_text("hello")
    (folder / "empty.wav").touch()
    (folder / "list.scp").write_text("a cat speech.flac |\n")
    tone = 0.1 * np.sin(np.arange(8_000) / 9)
    soundfile.write(folder / "cancel.wav", np.stack([tone, -tone], 1), 16_000)
    assert main(["encode", str(SPEECH), "-o", str(folder / "good.act"), "--runtime", "onnx", "--quiet"]) == 0
    good = (folder / "good.act").read_bytes()
    (folder / "cut.act").write_bytes(good[:100])
    (folder / "bad.act").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    at = good.index(bytes.fromhex(describe("speech_24k").fingerprint))
    foreign = good[:at] + bytes(8) + good[at + 8 : -4]
    (folder / "foreign.act").write_bytes(foreign + struct.pack("<I", zlib.crc32(foreign)))
    return folder


def outputs(place: Path) -> list[Path]:
    """What is there, but for the log of a training in `e`."""
    return [path for path in sorted(place.rglob("*")) if path.relative_to(place).parts[0] != "e"]


def test_the_page_and_the_cases_are_the_same() -> None:
    assert list(messages()) == list(CASES)


@pytest.mark.parametrize("message", CASES)
def test_message(
    message: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    if message.startswith("torch is not installed"):
        monkeypatch.setattr(loading, "find_spec", lambda name: None)
    before = outputs(place)
    words = CASES[message].split()
    onnx = (
        ["--runtime", "onnx"] if words[0] in ("encode", "decode") and not {"--runtime", "--device"} & {*words} else []
    )
    assert main([*words, *onnx]) == messages()[message]
    said = capsys.readouterr().err
    assert re.search(".+".join(map(re.escape, message.split("..."))), said), said
    assert "Traceback" not in said and outputs(place) == before  # nothing half-written
