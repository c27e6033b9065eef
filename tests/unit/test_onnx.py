"""The light runtime beside torch: latents, tokens and audio for every architecture and quantizer, chunks, refusals."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_models import HOP, NETWORKS, QUANTIZERS, config, noise, save

from audiocodec import model_file
from audiocodec.codec import interface
from audiocodec.codec.torch import Codec
from audiocodec.config.plain import config_from_json, config_to_json
from audiocodec.errors import AudioError, CheckpointError, ConfigError, TokenFileError
from audiocodec.nn.istft_decoder import ISTFTDecoder
from audiocodec.onnx import folder
from audiocodec.onnx.codec import OnnxCodec
from audiocodec.onnx.load import load, read
from audiocodec.onnx.search import half_squares, nearest_codes
from audiocodec.quantization.codebook import CodebookStage

FRAMES = 60
AUDIO = 2e-5  # float32 rounding through a dozen layers, of audio within [-1, 1]
NEAR = 1e-4  # of a unit-RMS latent's distance to two codes: nearer than that, rounding decides


def assert_same_tokens(
    ours: np.ndarray, theirs: np.ndarray, codec: Codec, wav: np.ndarray, promised: bool = False
) -> None:
    """Equal; where nothing is promised, but where two codes are equally near, of which there may be one in a thousand."""
    assert ours.shape == theirs.shape
    if promised:
        np.testing.assert_array_equal(ours, theirs)
    frames = np.flatnonzero((ours != theirs).any(0))
    assert len(frames) <= 0.001 * ours.shape[1]
    with torch.inference_mode():
        latents = codec.scale.running(codec.encoder(codec._pad(torch.from_numpy(wav)[None, None])))[..., frames]
    distances = [(latents - codec.quantizer.decode(torch.from_numpy(codes[None, :, frames]))).norm(dim=1)
                 for codes in (ours, theirs)]  # fmt: skip
    torch.testing.assert_close(*distances, rtol=0, atol=NEAR)


def compare(path: Path, samples: int = FRAMES * HOP - 7) -> None:
    theirs, ours, wav = model_file.load(path), load(path, threads=1), noise(samples)
    assert ours.fingerprint == theirs.fingerprint and ours.codebook_sizes == theirs.codebook_sizes
    assert (ours.encoder_context, ours.decoder_context) == (theirs.encoder_context, theirs.decoder_context)
    assert (ours.has_lstm, ours.level_db) == (theirs.has_lstm, theirs.level_db)
    codes = theirs.encode(wav).numpy()
    assert len(np.unique(codes[0, 0])) > 5, "equality of codes that are all alike means nothing"
    promised = not theirs.has_lstm and all(isinstance(stage, CodebookStage) for stage in theirs.quantizer.stages)
    assert_same_tokens(ours.encode(wav)[0], codes[0], theirs, wav, promised)
    expected = theirs.decode(codes, samples).numpy()
    np.testing.assert_allclose(ours.decode(codes, samples), expected, rtol=0, atol=AUDIO * abs(expected).max())


@pytest.mark.parametrize("causal", [False, True], ids=["whole", "causal"])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_network_is_that_of_torch(network: str, causal: bool, tmp_path: Path) -> None:
    compare(save(config(network, causal=causal), tmp_path / "m.safetensors"))


@pytest.mark.parametrize("quantizer", QUANTIZERS.values(), ids=QUANTIZERS)
def test_every_quantizer_is_that_of_torch(quantizer: str, tmp_path: Path) -> None:
    compare(save(config(NETWORKS["istft_odd"], quantizer), tmp_path / "m.safetensors"), 400 * HOP)


def test_loud_frames_are_limited_as_in_torch(path: Path, tmp_path: Path) -> None:
    codec = model_file.load(path)
    assert isinstance(codec.decoder, ISTFTDecoder)
    head = codec.decoder.head
    head.linear.bias[: head.bins] += torch.linspace(0, 12, head.bins)  # from far below the limit to far above
    model_file.save(codec, config(NETWORKS["istft"]), tmp_path / "m.safetensors")
    compare(tmp_path / "m.safetensors")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(config(NETWORKS["istft"]), tmp_path_factory.mktemp("onnx") / "m.safetensors")


@pytest.mark.parametrize("samples", [1, HOP, 5 * HOP + 1, 41 * HOP - 7])
def test_chunks_are_the_whole(path: Path, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    codec, wav = load(path, threads=1), noise(samples, seed=samples)
    codes = codec.encode(wav)
    audio = codec.decode(codes, samples)
    assert codes.shape == (1, 3, -(-samples // HOP)) and audio.shape == (1, 1, samples)
    monkeypatch.setattr(interface, "CHUNK_SECONDS", 5 / codec.frame_rate)
    np.testing.assert_array_equal(np.concatenate(list(codec.encode_blocks([wav])), 1), codes[0])
    pieces = list(codec.decode_blocks(codes[0], samples))
    assert max(len(piece) for piece in pieces) <= 5 * HOP
    np.testing.assert_allclose(np.concatenate(pieces), audio[0, 0], rtol=0, atol=AUDIO)


def test_batches_fewer_codebooks_and_no_samples(path: Path) -> None:
    codec, wav = load(path, threads=1), np.stack([noise(9 * HOP, 1), noise(9 * HOP, 2)])[:, None]
    codes = codec.encode(wav)
    np.testing.assert_array_equal(codes[1], codec.encode(wav[1])[0])
    np.testing.assert_array_equal(codec.encode(wav, num_codebooks=2), codes[:, :2])
    assert codec.decode(codes[:, :1]).shape == (2, 1, 9 * HOP)
    assert codec.decode(codes, 0).shape == (2, 1, 0)


BAD_AUDIO = {
    "integers": (np.zeros(9, np.int16), "need float samples"),
    "stereo": (np.zeros((2, 9), np.float32), r"need mono audio .* got \[2, 9\]"),
    "nothing": (np.zeros(0, np.float32), "without samples"),
    "not finite": (np.full(9, np.nan, np.float32), "NaN or infinite"),
}


@pytest.mark.parametrize(("wav", "message"), BAD_AUDIO.values(), ids=BAD_AUDIO)
def test_bad_audio_is_refused_as_torch_refuses_it(path: Path, wav: np.ndarray, message: str) -> None:
    for codec in (load(path), model_file.load(path)):
        with pytest.raises(AudioError, match=message):
            codec.encode(wav)


BAD_CODES = {
    "floats": (np.zeros((1, 4), np.float32), "need integer codes"),
    "too large": (np.full((1, 4), 64), "codes outside 0 to 63"),
    "below zero": (np.full((1, 4), -1), "codes outside 0 to 63"),
    "too many codebooks": (np.zeros((4, 4), np.int32), "1 <= K <= 3"),
    "no frames": (np.zeros((1, 0), np.int32), "1 <= K <= 3"),
}


@pytest.mark.parametrize(("codes", "message"), BAD_CODES.values(), ids=BAD_CODES)
def test_bad_codes_are_refused_as_torch_refuses_them(path: Path, codes: np.ndarray, message: str) -> None:
    for codec in (load(path), model_file.load(path)):
        with pytest.raises(TokenFileError, match=message):
            codec.decode(codes)


def test_the_search_finds_the_nearest_and_of_equals_the_first() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(2500, 5)).astype(np.float32)  # several tiles
    table[2400] = table[7]
    latents = np.concatenate([rng.normal(size=(1500, 5)).astype(np.float32), table[[2400, 2499]]])
    exact = ((latents[:, None].astype(np.float64) - table) ** 2).sum(-1)
    found = nearest_codes(latents, table, half_squares(table))
    reached = exact[np.arange(len(latents)), found]
    np.testing.assert_allclose(reached, exact.min(1), atol=1e-5)
    assert found[-2:].tolist() == [7, 2499]


# --- files


def test_an_exported_folder_codes_alike(path: Path, tmp_path: Path) -> None:
    for name, quantizer in QUANTIZERS.items():
        made = config(NETWORKS["istft_odd"], quantizer)
        source = save(made, tmp_path / f"{name}.safetensors")
        folder.write(read(source), made, tmp_path / name, {"step": 2})
        ours, theirs, wav = load(tmp_path / name), load(source), noise(30 * HOP)
        codes = theirs.encode(wav)
        np.testing.assert_array_equal(ours.encode(wav), codes)
        np.testing.assert_array_equal(ours.decode(codes), theirs.decode(codes))
        assert ours.fingerprint == theirs.fingerprint
    described = folder.describe(tmp_path / "simvq")
    assert described.notes == {"step": 2} and described.token_agreement is None
    assert described.config == config(NETWORKS["istft_odd"])


def test_damage_to_an_exported_folder_is_seen(path: Path, tmp_path: Path) -> None:
    made = config(NETWORKS["istft"])
    for name in (folder.ENCODER, folder.DECODER, folder.QUANTIZER, folder.DESCRIPTION):
        folder.write(read(path), made, tmp_path, {})
        data = bytearray((tmp_path / name).read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError, match=name):
            load(tmp_path)
        (tmp_path / name).unlink()
        if name != folder.DESCRIPTION:
            with pytest.raises(CheckpointError, match=f"{name}: cannot read"):
                load(tmp_path)


def test_int8_is_near_float32(path: Path) -> None:
    exact, rough = OnnxCodec(read(path)), OnnxCodec(read(path, "int8"))
    codes = exact.encode(noise(FRAMES * HOP))
    audio, other = exact.decode(codes), rough.decode(codes)
    error = np.sqrt(((audio - other) ** 2).mean() / (audio**2).mean())
    assert 0 < error < 0.1
    assert (rough.encode(noise(FRAMES * HOP)) == codes).mean() > 0.5
    assert b"MatMulInteger" in read(path, "int8").encoder.file and b"MatMulInteger" not in read(path).encoder.file


def test_a_damaged_model_file_is_refused(path: Path, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    damaged = tmp_path / "m.safetensors"
    damaged.write_bytes(data[:-1])
    with pytest.raises(CheckpointError, match="cut short"):
        load(damaged)
    data[-3] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(CheckpointError, match="the weights have fingerprint"):
        load(damaged)


def test_weights_are_read_as_safetensors_reads_them(path: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    half = tmp_path / "half.safetensors"
    model_file.save(model_file.load(path), config(NETWORKS["istft"]), half, half=True)
    for file in (path, half):
        ours, theirs = model_file.read_weights(file), load_file(file)
        assert ours.keys() == theirs.keys()
        for name, array in theirs.items():
            np.testing.assert_array_equal(ours[name], array)


def test_the_configuration_in_a_model_file_reads_back_equal() -> None:
    made = dataclasses.replace(config(NETWORKS["lstm"]), name='no "ä" \n')
    assert config_from_json(config_to_json(made), "x") == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "x: not JSON"),
        ('{"sed": 1}', "x: sed: unknown key; did you mean 'seed'"),
        ('{"seed": 1.5}', "x: seed: expected .*, got 1.5"),
        ('{"model": 3}', "x: model.: expected a section"),
        ('{"model": {"encoder": {"strides": [2, "3"]}}}', r"x: model.encoder.strides: expected .*, got \[2, '3'\]"),
        ('{"quantizer": {"codebook_size": 1}}', "x: quantizer.codebook_size: got 1"),
    ],
)
def test_a_bad_configuration_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_json(text, "x")
