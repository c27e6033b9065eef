"""Files from outside that lie, nest, grow or are not what they say: one clear error each."""

from __future__ import annotations

import gzip
import io as memory
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import audiocodec
from audiocodec import model_file
from audiocodec.arrays import from_npy, from_npz
from audiocodec.cli.main import main
from audiocodec.codec.files import decode_file
from audiocodec.config.load import load_config
from audiocodec.config.plain import config_from_json
from audiocodec.decoding import decompress
from audiocodec.errors import AudioCodecError, CheckpointError, ConfigError, NotFinite, TokenFileError
from audiocodec.files import read_text
from audiocodec.onnx import folder
from audiocodec.onnx.load import read as read_onnx
from audiocodec.records import from_json, parse
from audiocodec.terminal import printable
from audiocodec.tokens.token_file import TokenFile

Damage = Callable[[dict[str, Any]], object]


def reseal(model: Path, to: Path, **said: str | None) -> Path:
    """A model file with other texts in its header, and a checksum that fits; None leaves one out."""
    data = model.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    texts = {name: text for name, text in (header["__metadata__"] | said).items() if text is not None}
    header["__metadata__"] = texts | {"digest": model_file._digest(texts)}
    text = json.dumps(header).encode()
    to.write_bytes(struct.pack("<Q", len(text)) + text + data[end:])
    return to


# --- configurations


@pytest.mark.parametrize("parent", ["../../../etc/passwd", "/dev/zero", "speech_24k"])
def test_a_model_opens_no_other_file(parent: str, tmp_path: Path, tiny_model_path: Path) -> None:
    bad = reseal(tiny_model_path, tmp_path / "m.safetensors", config=f"extends: {parent}\n")
    with pytest.raises(ConfigError, match="extends: belongs in a file") as caught:
        _ = model_file.describe(bad).config
    assert "root:" not in str(caught.value)


def test_a_configuration_extends_regular_files_of_a_limited_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large.yaml").write_text("# \n" * 40_000)
    for parent, why in (
        ("pipe", "no regular file"),
        ("/dev/zero", "no regular file"),
        ("large.yaml", "more than 65,536"),
    ):
        (tmp_path / "c.yaml").write_text(f"extends: {parent}\n")
        with pytest.raises(ConfigError, match=why):
            load_config(tmp_path / "c.yaml")
    for i in range(20):
        (tmp_path / f"{i}.yaml").write_text(f"extends: {i + 1}.yaml\n")
    with pytest.raises(ConfigError, match="extends more than 16 files"):
        load_config(tmp_path / "0.yaml")


def test_many_keys_are_refused_without_a_word_about_each(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("".join(f"k{i}: 1\n" for i in range(5000)))
    with pytest.raises(ConfigError, match="5000 keys, need at most 200"):
        load_config(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    "config",
    [
        {"model": {"decoder": {"layers": 10**7}}},
        {"model": {"encoder": {"residual_layers": 10**6}}},
        {"model": {"encoder": {"residual_layers": 30, "dilation_base": 9}}},
        {"model": {"encoder": {"base_channels": 10**6}}},
        {"model": {"encoder": {"base_channels": 8192, "strides": [2] * 8}}},
        {"model": {"encoder": {"strides": [2] * 100_000}}},
        {"model": {"encoder": {"strides": [1000, 1000]}}},
        {"model": {"decoder": {"overlap": 64, "dim": 8}, "encoder": {"strides": [64, 64]}}},
        {"quantizer": {"codebook_dim": 10**9}},
        {"data": {"level_db": -1e9}},
        {"sample_rate": 10**4000},
        {"data": {"segment_seconds": 1e300}},
    ],
)
def test_sizes_are_bounded(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"need at most|at least|more than|expected a"):
        config_from_json(json.dumps(config), "c")


# --- models


@pytest.mark.parametrize(
    "said",
    [
        {"notes": "[" * 5000},
        {"notes": "[]"},
        {"notes": None},
        {"config": None},
        {"fingerprint": None},
        {"fingerprint": "xyz"},
        {"config": '{"seed": 1, "seed": 2}'},
        {"config": "{" + '"a": {' * 3000},
        {"config": "{" + " " * 100_000 + "}"},
    ],
)
def test_headers_that_make_no_sense(
    said: dict[str, str | None], tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = reseal(tiny_model_path, tmp_path / "m.safetensors", **said)
    assert main(["info", str(bad)]) == 1
    assert "m.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("section", ['"layers": 3', '"dim": 8192', '"kernel_size": 5'])
def test_a_configuration_of_other_weights_is_refused_by_both_runtimes(
    section: str, tmp_path: Path, tiny_model_path: Path
) -> None:
    config = json.loads(model_file.describe(tiny_model_path).config_text)
    config["model"]["decoder"] |= json.loads("{" + section + "}")
    bad = reseal(tiny_model_path, tmp_path / "m.safetensors", config=json.dumps(config))
    for load in (model_file.load, read_onnx):
        with pytest.raises(CheckpointError, match="weights do not fit this configuration"):
            load(bad)


@pytest.fixture
def exported(tmp_path: Path, tiny_model_path: Path) -> Path:
    """The tiny model for onnxruntime."""
    folder.write(read_onnx(tiny_model_path), model_file.describe(tiny_model_path).config, tmp_path / "onnx", {})
    return tmp_path / "onnx"


def rewrite(exported: Path, change: Damage) -> None:
    said = json.loads((exported / folder.DESCRIPTION).read_text())
    change(said)
    (exported / folder.DESCRIPTION).write_text(json.dumps(said | {"digest": folder._digest(said)}))


@pytest.mark.parametrize(
    "change",
    [
        *(
            lambda said, key=key: said.pop(key)
            for key in ("fingerprint", "halo", "precision", "files", "config", "notes")
        ),
        *(
            lambda said, key=key: said.update({key: 3})
            for key in ("fingerprint", "halo", "precision", "files", "config")
        ),
        lambda said: said["halo"].pop("decoder"),
        lambda said: said["halo"].update(encoder=[-1, 10**9]),
        lambda said: said["files"].pop(folder.QUANTIZER),
        lambda said: said.update(lookback=-5),
    ],
)
def test_descriptions_of_exports_that_make_no_sense(change: Damage, exported: Path) -> None:
    rewrite(exported, change)
    with pytest.raises(AudioCodecError, match="onnx"):
        folder.read(exported)


def test_an_export_that_is_not_finite_is_refused(exported: Path) -> None:
    for name in (folder.EXACT, folder.QUANTIZER):  # the second is read first
        arrays = from_npz((exported / name).read_bytes())
        first = next(iter(arrays))
        arrays[first] = np.full_like(arrays[first], np.nan)
        folder._save_arrays(exported / name, arrays)
        rewrite(
            exported,
            lambda said, name=name: said["files"].update({name: folder._sha256((exported / name).read_bytes())}),
        )
        with pytest.raises(NotFinite, match=name):
            folder.read(exported)


def test_latents_that_are_not_finite_are_no_tokens(tiny_model_path: Path) -> None:
    """Weights may be finite and too large all the same."""
    for runtime in ("torch", "onnx"):
        codec = audiocodec.load(tiny_model_path, runtime=runtime)  # type: ignore[call-overload]
        with pytest.raises(NotFinite):
            codec.encode(np.full(4000, 3e38, np.float32))


def test_arrays_do_not_grow() -> None:
    stream = memory.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(10_000_000))
    with pytest.raises(ValueError, match="compressed"):
        from_npz(stream.getvalue())
    header = memory.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
    for data in (header.getvalue(), b"", b"x" * 100, header.getvalue()[:20]):
        with pytest.raises(ValueError, match="array"):
            from_npy(data)


# --- JSON


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 60 + "]" * 60, '{"a": 1, "a": 1}', "NaN", "9" * 5000, "", b"\xff", "{"]
)
def test_json_is_a_value_error_and_nothing_else(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        from_json(text)
    assert not isinstance(caught.value, RecursionError)


@pytest.mark.parametrize(
    ("kind", "value"), [(float, float("inf")), (float, 10**400), (int, 2**63), (float, float("nan"))]
)
def test_numbers_are_finite_and_of_64_bits(kind: type, value: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse(kind, value)


def test_only_small_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("12345")
    assert read_text(tmp_path / "a", 5) == "12345"
    with pytest.raises(ValueError, match="more than 4"):
        read_text(tmp_path / "a", 4)
    for place in ("/dev/zero", tmp_path):
        with pytest.raises(OSError, match=r"no regular file|a folder|directory"):
            read_text(place)


# --- tokens


@pytest.fixture
def tokens(tiny_model_path: Path) -> TokenFile:
    codec = audiocodec.load(tiny_model_path, runtime="torch")
    return TokenFile.from_bytes(audiocodec.compress(codec, 0.1 * np.random.default_rng(0).standard_normal(6400)))


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sample_rate": 12_000}, "sample_rate 12000, its model has 24000"),
        ({"codebook_sizes": (64, 65)}, r"codebook_sizes \[64, 65\]"),
        ({"hop_length": 640, "num_samples": 12_800}, "hop_length 640"),
    ],
)
def test_tokens_that_contradict_their_model(
    runtime: str, change: dict[str, Any], said: str, tokens: TokenFile, tiny_model_path: Path, tmp_path: Path
) -> None:
    codec, bad = audiocodec.load(tiny_model_path, runtime=runtime), replace(tokens, **change)  # type: ignore[call-overload]
    for decode in (
        codec.decode,
        lambda t: decode_file(codec, t, tmp_path / "a.wav"),
        lambda t: decompress(codec, t.to_bytes()),
    ):
        with pytest.raises(TokenFileError, match=said):
            decode(bad)
    bad.write(tmp_path / "a.act")
    assert main(["decode", str(tmp_path / "a.act"), "-m", str(tiny_model_path), "--runtime", runtime]) == 1
    assert not (tmp_path / "a.wav").exists()


def test_the_size_of_a_file_is_that_of_the_file(tokens: TokenFile, tmp_path: Path) -> None:
    data = replace(tokens, notes={"a": 1}).to_bytes()
    from audiocodec.tokens import layout

    header = layout.parse_header(data, "x")
    notes = b'{ "a" : 1 }'
    at = header.header_bytes
    body = header._replace(notes_bytes=len(notes)).to_bytes() + notes + data[at + header.notes_bytes : -4]
    import zlib

    spaced = body + layout.CHECKSUM.pack(zlib.crc32(body))
    found = TokenFile.from_bytes(spaced)
    assert found.describe()["file_bytes"] == len(spaced) == len(data) + 4
    assert found == TokenFile.from_bytes(data)


def test_a_number_of_many_digits_in_a_stream(tiny_model_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "audiocodec", "stream", "--decode", "-m", str(tiny_model_path), "--quiet"],
        input="9" * 5000 + " 1\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "codes outside 0 to 63" in done.stderr and "Traceback" not in done.stderr


# --- lists and names


def test_a_nul_byte_is_one_failed_input(
    tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "g.wav", np.zeros(4000), 24_000)
    (tmp_path / "n.scp").write_text(f"good {tmp_path / 'g.wav'}\nbad x\0y.wav\nb\0d {tmp_path / 'g.wav'}\n")
    assert main(["encode", str(tmp_path / "n.scp"), "-d", str(tmp_path / "o"), "-m", str(tiny_model_path)]) == 1
    said = capsys.readouterr().err
    assert "1 of 3 done, 2 failed" in said and r"x\x00y.wav" in said and "\0" not in said
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["good.act"]


def test_no_escape_character_reaches_the_terminal(
    tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printable("a\x1b]0;x\x07\x9b\u202eb\tc\nd\udcff") == "a\\x1b]0;x\\x07\\x9b\\u202eb\tc\nd\udcff"
    bad = tmp_path / "\x1b]0;x\x07.wav"
    bad.write_bytes(b"none")
    config = json.loads(model_file.describe(tiny_model_path).config_text) | {"name": "\x1b[2J\nfingerprint 1"}
    model = reseal(tiny_model_path, tmp_path / "m.safetensors", config=json.dumps(config))
    assert main(["encode", str(bad), "-d", str(tmp_path / "o")]) == 1
    assert main(["info", str(bad), str(model)]) == 1
    found = capsys.readouterr()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", found.out + found.err)
    assert r"\x1b[2J\nfingerprint 1" in found.out and r"\x1b]0;x\x07.wav" in found.err


# --- evaluations


@pytest.mark.parametrize(
    "change",
    [
        {"file_bits": -5},
        {"payload_bits": 81},
        {"payload_bits": -1},
        {"wall_seconds": float("nan")},
        {"wall_seconds": -1.0},
    ],
)
def test_sizes_that_cannot_be(change: dict[str, Any], tmp_path: Path) -> None:
    from audiocodec.evaluation.systems.reconstruct import read_sizes

    good = {"id": "a", "file_bits": 80, "payload_bits": 72, "sample_rate": 8000, "num_samples": 16_000}
    (tmp_path / "s").write_text(json.dumps(good | change) + "\n" + json.dumps(good) + "\n")
    with pytest.raises(AudioCodecError, match=r"s:1: not a size"):
        read_sizes(tmp_path / "s")


def test_sizes_of_other_audio_are_failures(tmp_path: Path) -> None:
    from audiocodec.evaluation.pairing import Entry
    from audiocodec.evaluation.systems.folder import sizes_of

    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    line = {"id": "a", "file_bits": 80, "payload_bits": 72, "sample_rate": 8000, "num_samples": 1}
    (tmp_path / "s.jsonl").write_text(
        json.dumps(line) + "\n" + json.dumps(line | {"id": "b", "num_samples": 8000}) + "\n"
    )
    paths = {name: [str(tmp_path / "a.wav")] for name in "ab"}
    sizes = sizes_of(str(tmp_path / "s.jsonl"), paths)
    assert sizes.bitrate_of(Entry("b", None, None)).file_bits == 80
    with pytest.raises(AudioCodecError, match="1 samples at 8000 Hz, the reference has 1.0"):
        sizes.bitrate_of(Entry("a", None, None))
    assert sizes.describe().rates["kbps_file"] == pytest.approx(0.08)


# --- sources of data sets


def test_a_compressed_manifest_does_not_grow(tmp_path: Path) -> None:
    from audiocodec.tokenize.sources import manifest

    (tmp_path / "m.jsonl.gz").write_bytes(gzip.compress(b" " * 20_000_000 + b"{}"))
    with pytest.raises(AudioCodecError, match=r"m\.jsonl\.gz:1: has more than"):
        list(manifest.source(str(tmp_path / "m.jsonl.gz")).entries())
