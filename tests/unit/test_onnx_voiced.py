"""The voiced decoder on onnxruntime beside torch's stream: sound, phases, chunks, files, and what other programs are promised."""

from __future__ import annotations

import hashlib
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from audiocodec import model_file
from audiocodec.build import build_codec
from audiocodec.cli.main import main
from audiocodec.codec import interface
from audiocodec.codec.torch import Codec
from audiocodec.config.load import load_config
from audiocodec.dsp.voice import CYCLE, ONSET
from audiocodec.nn import pitch
from audiocodec.nn.voiced_decoder import VoicedDecoder, VoicedHead
from audiocodec.onnx import folder
from audiocodec.onnx.codec import OnnxCodec
from audiocodec.onnx.load import load, read

MINI = Path(__file__).parents[2] / "audiocodec" / "configs" / "mini.yaml"
HOP, BOOK = 320, 256
# Of the peak. Rounding moves the pitch by 1e-7 of itself, and over an unbroken voice of four seconds, the longest here, that
# adds up to some 1e-6 of a cycle, times the number of the harmonic.
SOUND = 2e-3
STEADY = 2e-5  # where the pitch is a constant: float32 rounding alone
LOG_F0, VOICING = 0.3, 1.5  # spread over the frames


def make(path: Path, log_f0: float | None = None, voicing: float | None = None, kind: str = "voiced") -> Path:
    """A model file with random weights; its log F0 and voicing vary, or are constants."""
    config = load_config(MINI, [f"model.decoder.kind={kind}"])
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(2)
        codec = build_codec(config)
        for name, parameter in codec.encoder.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
        latents = codec.encoder(0.1 * torch.randn(2, 1, 48_000))
        codec.scale.calibrate([latents])
        codec.eval().quantizer.initialize(codec.scale(latents).transpose(1, 2).flatten(0, 1))
        if isinstance(codec.decoder, VoicedDecoder):
            _sing(codec.decoder, codec.quantizer.decode(torch.from_numpy(codes(1000))[None]), (log_f0, voicing))
    model_file.save(codec, config, path)
    return path


def _sing(decoder: VoicedDecoder, latents: torch.Tensor, constants: tuple[float | None, float | None]) -> None:
    """Harmonics as loud as the rest; spread what varies, fix what is constant."""
    for parameter in decoder.blocks.parameters():
        if parameter.dim() > 1:
            parameter *= 3  # so that neighbours count
    linear, bins = decoder.head.linear, decoder.head.bins
    linear.bias[4 * bins : 5 * bins] = -4
    said = decoder.head.parameters_of(decoder.features(latents))[1]
    for row, values, spread, value in zip((-2, -1), said, (LOG_F0, VOICING), constants):
        linear.weight[row] *= spread / values.std() if value is None else 0
        linear.bias[row] = -(values.mean() * spread / values.std()) if value is None else value


def codes(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, BOOK, (1, frames))


CASES: dict[str, dict[str, float]] = {
    "varying": {},
    "all voiced": {"voicing": 1},
    "all unvoiced": {"voicing": -1},
    "lowest": {"log_f0": -1e9},
    "highest": {"log_f0": 1e9, "voicing": 1},
    "steady": {"log_f0": 0.1, "voicing": 1},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A case's model file by its name."""
    root = tmp_path_factory.mktemp("voiced")
    return cache(lambda name: make(root / f"{name}.safetensors", **CASES[name]))


@pytest.fixture(scope="module")
def path(models: Any) -> Path:
    found: Path = models("varying")
    return found


def close(ours: np.ndarray, theirs: np.ndarray | torch.Tensor, tolerance: float = SOUND) -> None:
    expected = np.asarray(theirs)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def voiced_share(codec: Codec, frames: int) -> float:
    return float((_said(codec, codes(frames)).voicing > 0).float().mean())


def _said(codec: Codec, batch: np.ndarray) -> pitch.Pitch:
    decoder = codec.decoder
    assert isinstance(decoder, VoicedDecoder)
    with torch.inference_mode():
        return decoder.head.parameters_of(decoder.features(codec.quantizer.decode(torch.from_numpy(batch)[None])))[1]


@pytest.mark.parametrize("name", CASES)
def test_the_sound_is_that_of_torch(name: str, models: Any) -> None:
    theirs, ours = model_file.load(models(name)), load(models(name), threads=1)
    assert (ours.decoder_context, ours.fingerprint) == (theirs.decoder_context, theirs.fingerprint)
    expected = theirs.decode(codes(300))
    close(ours.decode(codes(300)), expected, SOUND if "log_f0" not in CASES[name] else STEADY)
    share = voiced_share(theirs, 300)
    assert share == {1: 1, -1: 0}[CASES[name]["voicing"]] if "voicing" in CASES[name] else 0.2 < share < 0.8


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_few_frames(frames: int, models: Any) -> None:
    for name in ("varying", "all voiced", "highest"):
        theirs, ours = model_file.load(models(name)), load(models(name), threads=1)
        wav = ours.decode(codes(frames))
        assert wav.shape == (1, 1, frames * HOP)
        close(wav, theirs.decode(codes(frames)))


def test_a_minute_differs_no_more_than_a_second(path: Path) -> None:
    """Phases that went through the silence between voices would drift apart."""
    theirs, ours = model_file.load(path), load(path, threads=1)
    expected = theirs.decode(codes(4500)).numpy()
    assert np.abs(ours.decode(codes(4500)) - expected).max() <= SOUND * np.abs(expected).max()


def test_the_phases_are_those_of_torch(models: Any) -> None:
    for name, constants in CASES.items():
        codec, batch = model_file.load(models(name)), codes(200)
        decoder = codec.decoder
        assert isinstance(decoder, VoicedDecoder)
        expected = _phases(decoder.head, _said(codec, batch))
        found = _run(load(models(name), threads=1), batch, ONSET, 0, 0)[1]
        assert found.dtype == np.int64 and found.shape == expected.shape
        difference = (found - expected + CYCLE // 2) % CYCLE - CYCLE // 2
        assert np.abs(difference).max() <= (0 if "log_f0" in constants else 1e-5 * CYCLE)


def _phases(head: VoicedHead, said: pitch.Pitch) -> np.ndarray:
    """Those of a whole signal, frame by frame, in Python's integers."""
    frequency, voiced = (row[0].tolist() for row in head.whole(said))
    frequency, voiced, phase, found = [0, *frequency, 0], [False, *voiced, False], ONSET, []
    for i in range(1, len(frequency) - 1):
        found.append(phase)
        borders = [
            (frequency[i] + frequency[j]) // 2 if voiced[i] and voiced[j] else frequency[i] for j in (i - 1, i + 1)
        ]
        phase = (phase + sum(borders) * HOP // 2) % CYCLE if voiced[i] else ONSET
    return np.array(found)


def _run(codec: OnnxCodec, batch: np.ndarray, phase: int, anchor: int, frame: int) -> list[np.ndarray]:
    latents = codec._model.quantizer.decode(batch)[None]
    return list(codec._run("decoder", latents, *(np.array([value]) for value in (phase, anchor, frame))))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [1, 2, 5, 33])
def test_chunks_are_the_whole(name: str, size: int, models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    codec, frames = load(models(name), threads=1), 40 if size < 5 else 300
    whole = codec.decode(codes(frames))
    monkeypatch.setattr(interface, "CHUNK_SECONDS", size / codec.frame_rate)
    pieces = list(codec.decode_blocks(codes(frames), frames * HOP - 3))
    assert [len(piece) for piece in pieces[:-1]] == [size * HOP] * (len(pieces) - 1)
    expected = whole[0, 0, : frames * HOP - 3]
    close(np.concatenate(pieces), expected, STEADY if "log_f0" in CASES[name] else SOUND)


@pytest.mark.parametrize("broken", ["phase", "anchor", "frame"])
def test_what_is_carried_is_heard(broken: str, models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that is not told its place sounds otherwise: the comparison above sees it."""
    codec, run = load(models("all voiced"), threads=1), OnnxCodec._run
    whole = codec.decode(codes(100))[0, 0]
    wrong = {"phase": ONSET, "anchor": 0, "frame": 0}

    def forgetful(self: OnnxCodec, part: str, *arrays: np.ndarray) -> Any:
        given = dict(zip(("latents", *wrong), arrays))
        given[broken] = np.array([wrong[broken]])
        return run(self, part, *given.values())

    monkeypatch.setattr(interface, "CHUNK_SECONDS", 20 / codec.frame_rate)
    monkeypatch.setattr(OnnxCodec, "_run", forgetful)
    heard = np.concatenate(list(codec.decode_blocks(codes(100), 100 * HOP)))
    assert np.abs(heard - whole)[20 * HOP :].max() > 0.02 * np.abs(whole).max()


def test_batches_and_no_samples(path: Path) -> None:
    codec, batch = load(path, threads=1), np.stack([codes(30), codes(30, seed=1)])
    wav = codec.decode(batch)
    for i in range(2):
        np.testing.assert_array_equal(wav[i], codec.decode(batch[i])[0])
    assert codec.decode(batch, 0).shape == (2, 1, 0)
    np.testing.assert_array_equal(codec.decode(batch), wav)


def test_silence(path: Path) -> None:
    theirs, ours = model_file.load(path), load(path, threads=1)
    silence = np.zeros(50 * HOP, np.float32)
    found = ours.encode(silence)
    np.testing.assert_array_equal(found, theirs.encode(silence))
    close(ours.decode(found), theirs.decode(found))


# --- files


@pytest.fixture(scope="module")
def exported(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("export") / "model"
    assert main(["export", str(path), "--onnx", str(target)]) == 0
    return target


def test_an_exported_folder_decodes_alike(path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface, "CHUNK_SECONDS", 0.5)
    np.testing.assert_array_equal(load(exported).decode(codes(120)), load(path).decode(codes(120)))


def test_the_commands_take_an_exported_folder(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(exported), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["decoder"], said["precision"]) == ("model", "voiced", "float32")
    assert said["bytes"] == sum(file.stat().st_size for file in exported.iterdir())
    speech = min((MINI.parents[2] / "egs/mini/codec/local/audio").glob("*/*.flac"))
    tokens, wav = tmp_path / "a.act", tmp_path / "a.wav"
    assert main(["encode", str(speech), "-m", str(exported), "-o", str(tokens), "--quiet"]) == 0
    assert main(["decode", str(tokens), "-m", str(exported), "-o", str(wav), "--quiet"]) == 0
    assert wav.stat().st_size > 10_000


def test_another_program_decodes_by_the_page_alone(path: Path, exported: Path) -> None:
    """docs/guide/onnx.md, "Chunks", with nothing of this package."""
    said = json.loads((exported / "model.json").read_text())
    session = onnxruntime.InferenceSession(exported / "decoder.onnx")
    names = [(value.name, value.type) for value in session.get_inputs()]
    assert names == [("latents", "tensor(float)"), *((n, "tensor(int64)") for n in ("phase", "anchor", "frame"))]
    assert [value.name for value in session.get_outputs()] == ["wav", "phases"]
    batch, size = codes(230)[0], 60
    hop = math.prod(said["config"]["model"]["encoder"]["strides"])
    (before, after), lookback = said["halo"]["decoder"], said["lookback"]
    table = np.load(exported / "quantizer.npz")["quantizer.stages.0.table"]
    latents, parts, phase, anchor = table[batch].T[None].astype(np.float32), [], 2**31, 0
    for first in range(0, len(batch), size):
        last = min(first + size, len(batch))
        low, high = max(0, first - before), min(len(batch), last + after)
        given = {"phase": phase, "anchor": anchor - low, "frame": low}
        inputs = {name: np.array([value], np.int64) for name, value in given.items()}
        wav, phases = session.run(["wav", "phases"], {"latents": latents[..., low:high], **inputs})
        parts.append(wav[0, 0, (first - low) * hop : (last - low) * hop])
        anchor = max(0, last - lookback)
        phase = int(phases[anchor - low])
    close(np.concatenate(parts), load(path).decode(batch[None])[0, 0])


def test_folders_of_before_are_read(tmp_path: Path) -> None:
    """They say nothing of voices, and their decoders have none."""
    plain = make(tmp_path / "plain.safetensors", kind="istft")
    folder.write(read(plain), load_config(MINI, []), tmp_path / "old", {})
    described = tmp_path / "old" / "model.json"
    said = json.loads(described.read_text())
    assert said.pop("lookback") is None
    del said["digest"]
    said["digest"] = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
    described.write_text(json.dumps(said))
    np.testing.assert_array_equal(load(tmp_path / "old").decode(codes(20)), load(plain).decode(codes(20)))


def test_int8_sings_alike(models: Any) -> None:
    exact, rough = (OnnxCodec(read(models("steady"), precision), threads=1) for precision in ("float32", "int8"))
    audio, other = exact.decode(codes(200)), rough.decode(codes(200))
    assert 0 < np.sqrt(np.square(audio - other).mean() / np.square(audio).mean()) < 0.15
