"""Model files: same codec back, half storage, damage refused, headers without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from audiocodec.build import build_codec
from audiocodec.config.schema import Config
from audiocodec.errors import AudioCodecError, CheckpointError
from audiocodec.model_file import describe, load, load_state, save
from audiocodec.model_places import resolve

WAV = np.random.default_rng(0).normal(0, 0.1, 5000).astype(np.float32)


def config_of(path: Path) -> Config:
    return describe(path).config


def test_a_saved_codec_codes_as_before(tmp_path: Path, tiny_model_path: Path) -> None:
    config = config_of(tiny_model_path)
    codec = build_codec(config)
    codec.scale.mean.fill_(0.01)
    save(codec, config, tmp_path / "m.safetensors", notes={"steps": 3})
    assert any("parametrizations" in name for name in codec.state_dict())  # saving does not fold the original
    loaded = load(tmp_path / "m.safetensors")
    codes = codec.eval().encode(WAV)
    assert torch.equal(loaded.encode(WAV), codes)
    torch.testing.assert_close(loaded.decode(codes), codec.decode(codes), rtol=0, atol=1e-5)
    described = describe(tmp_path / "m.safetensors")
    assert described.notes == {"steps": 3}
    assert described.fingerprint == loaded.fingerprint.hex()
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
    (tmp_path / "plain").touch()
    assert (tmp_path / "m.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode  # others may read it, too


def test_half_storage_is_smaller_and_keeps_the_codebook_exactly(tmp_path: Path, tiny_model_path: Path) -> None:
    codec, path = load(tiny_model_path), tmp_path / "half.safetensors"
    save(codec, config_of(tiny_model_path), path, half=True)
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    assert path.stat().st_size < 0.6 * tiny_model_path.stat().st_size
    loaded = load(path)
    for ours, theirs in zip(codec.quantizer.stages, loaded.quantizer.stages, strict=True):
        assert torch.equal(ours.codebook, theirs.codebook)
    assert loaded.fingerprint != codec.fingerprint  # rounded weights are other weights


def test_fingerprints_tell_weights_apart(tiny_model_path: Path, other_model_path: Path) -> None:
    assert load(tiny_model_path).fingerprint == load(tiny_model_path).fingerprint
    assert load(tiny_model_path).fingerprint != load(other_model_path).fingerprint


def test_a_damaged_weight_is_refused(tmp_path: Path, tiny_model_path: Path) -> None:
    data = tiny_model_path.read_bytes()
    weights = 8 + int.from_bytes(data[:8], "little")
    for at in np.random.default_rng(0).integers(weights, len(data), 12):
        damaged = bytearray(data)
        damaged[at] ^= 1
        (tmp_path / "m.safetensors").write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            load(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("sound", "damaged"),
    [
        ('"shape"', '"shapd"'),
        ('"dtype"', '"dtypd"'),
        ('"F32"', '"F72"'),
        ('"data_offsets"', '"data_offsetr"'),
        ('"shape":[16]', '"shape":[17]'),
        ('"shape":[16]', '"shape":"16"'),
        ('"scale.mean"', '"scale.rms"'),
        ('"__metadata__":{', '"__metadata__":1,"x":{'),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, tiny_model_path: Path, sound: str, damaged: str) -> None:
    data = tiny_model_path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = data[8:end].decode()
    assert sound in header
    header = header.replace(sound, damaged, 1)
    (tmp_path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode() + data[end:])
    with pytest.raises(CheckpointError, match=r"m\.safetensors: .*damaged"):
        describe(tmp_path / "m.safetensors")


@pytest.mark.parametrize("size", [0, 7, 8, 100, -1])
def test_a_cut_file_is_refused(tmp_path: Path, tiny_model_path: Path, size: int) -> None:
    (tmp_path / "m.safetensors").write_bytes(tiny_model_path.read_bytes()[:size])
    with pytest.raises(AudioCodecError, match="m.safetensors"):
        load(tmp_path / "m.safetensors")


def test_all_that_does_not_fit_is_reported_at_once(tiny_model_path: Path) -> None:
    codec = load(tiny_model_path)
    state = dict(codec.state_dict())
    state["scale.mean"] = torch.zeros(5)
    state["extra"] = state.pop("scale.rms")
    with pytest.raises(CheckpointError) as error:
        load_state(codec, state, "here")
    for part in ("here", "1 missing (scale.rms)", "1 unknown (extra)", "scale.mean is [5], need [16]"):
        assert part in str(error.value)


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: no such model"):
        load(tmp_path / "nowhere")


def test_a_checkpoint_that_a_killed_process_was_writing_does_not_count(tmp_path: Path, tiny_model_path: Path) -> None:
    for name in ("step_00000004", "step_00000010", "step_00000010.tmp", "step_00000011.tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "model.safetensors").write_bytes(tiny_model_path.read_bytes())
    assert resolve(tmp_path).parent.name == "step_00000010"


def test_describing_needs_no_torch(tiny_model_path: Path) -> None:
    program = (
        "import sys; from audiocodec.model_file import describe; "
        f"print(describe({str(tiny_model_path)!r}).fingerprint, 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.split() == [load(tiny_model_path).fingerprint.hex(), "False"]
