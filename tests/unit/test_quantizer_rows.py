"""What every kind of quantizer has to do: code and decode as it trains, save and load, at its smallest and largest size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import model_file
from audiocodec.build import build_codec, build_quantizer
from audiocodec.codec.files import decode_file, encode_file
from audiocodec.config.load import config_from_text
from audiocodec.config.schema import Config
from audiocodec.errors import FingerprintMismatch
from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.tokens.token_file import TokenFile

ROWS = {
    "simvq": "kind: simvq, codebook_size: 64",
    "simvq_mlp": "kind: simvq, codebook_size: 64, map: mlp",
    "simvq_zero": "kind: simvq, codebook_size: 64, zero_code: true",
    "simvq_latents": "kind: simvq, codebook_size: 64, distribution: latents",
    "simvq_latents_zero": "kind: simvq, codebook_size: 64, distribution: latents, start: covariance, zero_code: true",
    "simvq_rotation": "kind: simvq, codebook_size: 64, gradient: rotation",
    "simvq_published": "kind: simvq, codebook_size: 64, start: published",
    "vq": "kind: vq, codebook_size: 64",
    "vq_kmeans": "kind: vq, codebook_size: 64, codebook_init: kmeans",
    "vq_rotation": "kind: vq, codebook_size: 64, codebook_init: latents, gradient: rotation",
    "vq_ema": "kind: vq_ema, codebook_size: 64",
    "vq_fc": "kind: vq_fc, codebook_size: 64, low_dim: 3",
    "vq_fc_rotation": "kind: vq_fc, codebook_size: 64, low_dim: 3, codebook_init: kmeans, gradient: rotation",
    "fsq": "kind: fsq, codebook_size: 240",
    "lfq": "kind: lfq, codebook_size: 64",
    "vq_lc": "kind: vq_lc, codebook_size: 64",
    "kmeans": "kind: kmeans, codebook_size: 64",
    "vq_ema_residual": "kind: vq_ema, codebook_size: 16, num_codebooks: 3",
    "fsq_residual": "kind: fsq, codebook_size: 25, num_codebooks: 3",
    "simvq_residual": "kind: simvq, codebook_size: 16, num_codebooks: 3",
    "simvq_latents_residual": "kind: simvq, codebook_size: 16, num_codebooks: 3, distribution: latents",
    "simvq_one_scale": "kind: simvq, codebook_size: 16, num_codebooks: 3, stage_init: latents",
    "semantic_first": "kind: simvq, codebook_size: 16, num_codebooks: 3, first_stage: vq_lc",
}
DIM = 8
TINY = "sample_rate: 8000\nmodel: {encoder: {strides: [4, 5], base_channels: 2}, decoder: {dim: 8, layers: 1}}\n"


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(11)


def config(row: str) -> Config:
    return config_from_text(f"{TINY}quantizer: {{codebook_dim: {DIM}, {row}}}\n", "row")


def speechlike(frames: int) -> torch.Tensor:
    """`[frames, DIM]`, centred, unit RMS, most energy in few directions."""
    rotation = torch.linalg.qr(torch.randn(DIM, DIM))[0]
    latents = (torch.randn(frames, DIM) * 0.6 ** torch.arange(DIM)) @ rotation.T
    return latents / latents.square().mean().sqrt()


def started(row: str) -> tuple[ResidualQuantizer, torch.Tensor]:
    """A started quantizer and latents `[4, DIM, 50]` it has not seen."""
    quantizer, latents = build_quantizer(config(row)), speechlike(2200)
    quantizer.initialize(latents[:2000])
    return quantizer, latents[2000:].reshape(4, 50, DIM).transpose(1, 2)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_training_coding_and_decoding_agree(row: str) -> None:
    quantizer, latents = started(row)
    out = quantizer.train()(latents)
    codes = quantizer.encode(latents)
    assert torch.equal(codes, out.codes) and codes.dtype == torch.int64
    assert codes.min() >= 0 and codes.max() < quantizer.codebook_size
    torch.testing.assert_close(out.quantized.detach(), quantizer.decode(codes), rtol=0, atol=1e-5)
    for k, stage in enumerate(quantizer.stages):
        step = codes[:, k : k + 1]
        torch.testing.assert_close(stage.lookup(step).detach(), stage.decode(step), rtol=0, atol=1e-5)
        assert not stage.decode(step).requires_grad


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_tables_hold_what_codes_decode_to(row: str) -> None:
    quantizer, latents = started(row)
    codes = quantizer.encode(latents)
    total = sum(table[codes[:, k]] for k, table in enumerate(quantizer.tables()))
    torch.testing.assert_close(total.transpose(1, 2), quantizer.decode(codes))


@pytest.mark.parametrize("name", [name for name in ROWS if name not in ("vq", "simvq_published", "simvq_one_scale")])
def test_a_start_from_latents_leaves_less_than_there_was(name: str) -> None:
    quantizer, latents = started(ROWS[name])
    errors = quantizer.eval()(latents).errors.tolist()
    assert all(after < before for before, after in zip([1.0, *errors], errors, strict=False)), errors


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_saved_quantizer_codes_as_before(row: str, tmp_path: Path) -> None:
    made, wav = config(row), np.random.default_rng(0).normal(0, 0.1, 3000).astype(np.float32)
    codec = build_codec(made)
    codec.quantizer.initialize(speechlike(2000))
    model_file.save(codec, made, tmp_path / "m.safetensors")
    loaded = model_file.load(tmp_path / "m.safetensors")
    codes = codec.eval().encode(wav)
    assert torch.equal(loaded.encode(wav), codes)
    torch.testing.assert_close(loaded.decode(codes), codec.decode(codes), rtol=0, atol=1e-5)


SMALLEST = {"simvq": 2, "vq": 2, "vq_ema": 2, "vq_fc": 2, "fsq": 5, "lfq": 2, "vq_lc": 2, "kmeans": 2}


@pytest.mark.parametrize("size", ["smallest", 262_144])
@pytest.mark.parametrize("kind", SMALLEST)
def test_the_smallest_and_the_largest_codebook(kind: str, size: int | str) -> None:
    number = SMALLEST[kind] if size == "smallest" else size
    made = config_from_text(f"quantizer: {{kind: {kind}, codebook_size: {number}, codebook_dim: 18}}", "row")
    quantizer, latents = build_quantizer(made), torch.randn(300, 18)
    quantizer.initialize(latents)
    entering = latents.T[None].clone().requires_grad_()
    out = quantizer.train()(entering)
    loss = out.quantized.square().mean() + out.codebook_loss + out.commitment_loss
    if kind == "kmeans":
        assert not loss.requires_grad  # nothing before the decoder learns
    else:
        loss.backward()
        assert torch.isfinite(entering.grad).all() and float(entering.grad.abs().sum()) > 0
    assert int(out.codes.max()) < number
    assert len(out.codes.unique()) > (1 if number == SMALLEST[kind] else 20)
    torch.testing.assert_close(quantizer.decode(out.codes), out.quantized.detach(), rtol=0, atol=1e-5)


def test_token_files_of_one_quantizer_are_refused_by_another(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 8000)
    codecs = {}
    for name in ("vq", "vq_lc", "kmeans", "lfq", "simvq"):
        torch.manual_seed(0)  # the same encoder and decoder
        codecs[name] = build_codec(config(ROWS[name]))
        codecs[name].quantizer.initialize(speechlike(500))
        encode_file(codecs[name].freeze(), tmp_path / "a.wav").write(tmp_path / f"{name}.act")
    for name, codec in codecs.items():
        for other in codecs:
            tokens = TokenFile.read(tmp_path / f"{other}.act")
            if other == name:
                decode_file(codec, tokens, tmp_path / "b.wav")
            else:
                with pytest.raises(FingerprintMismatch, match="give the right one"):
                    decode_file(codec, tokens, tmp_path / "b.wav")
