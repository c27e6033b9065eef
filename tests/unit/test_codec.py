"""The codec: lengths, chunks against the whole, causality, context, latency, wrong input."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from support.tiny_codecs import HOP, PIECES, make, noise

from audiocodec.build import build_codec
from audiocodec.codec import interface
from audiocodec.codec.torch import Codec
from audiocodec.config.schema import Config, QuantizerConfig
from audiocodec.errors import AudioError, TokenFileError
from audiocodec.nn import voiced_decoder
from audiocodec.nn.pitch import Contour

FRAMES = 60
MORE = 40  # frames than a dependence spans: a voice's longest ones need voiced frames in a row


@pytest.fixture(params=[(kind, causal) for kind in PIECES for causal in (False, True)], ids=str)
def any_codec(request: pytest.FixtureRequest) -> Codec:
    return make(*request.param)


def test_the_codes_of_noise_are_diverse_so_that_equality_means_something() -> None:
    codes = make().encode(noise(HOP * FRAMES))
    assert len(codes[0, 0].unique()) > 15
    assert len(codes[0, 1].unique()) > 15


def test_encoding_a_codec_in_training_changes_nothing_in_it() -> None:
    codec = make()
    expected = codec.encode(noise(HOP * FRAMES))
    before = {name: tensor.clone() for name, tensor in codec.state_dict().items()}
    assert torch.equal(codec.train().encode(noise(HOP * FRAMES)), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in codec.state_dict().items())


@pytest.mark.parametrize("codebooks", [1, 3])
@pytest.mark.parametrize("kind", ["istft", "seanet", "voiced"])
@pytest.mark.parametrize("samples", [1, HOP - 1, HOP, HOP + 1, 2 * HOP - 1, 2 * HOP, 2 * HOP + 1])
def test_decoding_the_codes_is_the_forward_pass(kind: str, codebooks: int, samples: int) -> None:
    codec, wav = make(kind, codebooks=codebooks), noise(samples)
    with torch.no_grad():
        whole = codec(torch.from_numpy(wav)[None, None])
    codes = codec.encode(wav)
    assert codes.dtype == torch.int64
    assert codes.shape == (1, codebooks, -(-samples // HOP))
    assert torch.equal(codes, whole.quantizer.codes)
    assert codec.decode(codes).shape == (1, 1, codes.shape[-1] * HOP)
    torch.testing.assert_close(codec.decode(codes, samples), whole.estimate, rtol=0, atol=1e-5)


def blocks_of(wav: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    generator, at = np.random.default_rng(seed), 0
    while at < len(wav):
        size = int(generator.integers(0, 3 * HOP))
        yield wav[at : at + size]
        at += size


@pytest.mark.parametrize("samples", [1, HOP, 5 * HOP, 5 * HOP + 1, 41 * HOP - 7])
def test_coding_in_chunks_is_coding_the_whole(any_codec: Codec, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wav = noise(samples, seed=samples)
    codes = any_codec.encode(wav)
    audio = any_codec.decode(codes, samples)
    monkeypatch.setattr(interface, "CHUNK_SECONDS", 5 / any_codec.frame_rate)  # 5 frames
    assert torch.equal(any_codec.encode(wav), codes)
    sings = isinstance(any_codec.decoder, voiced_decoder.VoicedDecoder)
    within = 5e-5 if sings else 1e-5  # 2e-5 seen with AVX2; docs/guide/streaming.md promises 1e-3
    torch.testing.assert_close(any_codec.decode(codes, samples), audio, rtol=0, atol=within)
    parts = list(any_codec.encode_blocks(blocks_of(wav, samples)))
    assert all(part.dtype == np.int32 and part.shape[1] <= 5 for part in parts)
    np.testing.assert_array_equal(np.concatenate(parts, 1), codes[0])
    pieces = list(any_codec.decode_blocks(codes[0].numpy(), samples))
    held_back = any_codec.decoder_context[1]  # by a stream, to its end
    assert max(len(piece) for piece in pieces) <= (5 + held_back) * HOP
    np.testing.assert_allclose(np.concatenate(pieces), audio[0, 0], rtol=0, atol=within)


@pytest.mark.parametrize("kind", ["istft", "seanet"])
def test_models_with_an_lstm_are_coded_piece_by_piece(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By streams, so that memory does not grow; latents are those of the whole but for rounding."""
    codec, wav = make(kind, lstm=1), noise(23 * HOP + 5)
    assert codec.has_lstm
    with torch.no_grad():
        expected = codec(torch.from_numpy(wav)[None, None])
    monkeypatch.setattr(interface, "CHUNK_SECONDS", 5 / codec.frame_rate)
    parts = list(codec.encode_blocks(blocks_of(wav, 1)))
    codes = np.concatenate(parts, 1)
    assert len(parts) > 3 and all(0 < part.shape[1] < 24 for part in parts)
    np.testing.assert_array_equal(codes, expected.quantizer.codes[0])
    pieces = list(codec.decode_blocks(codes, len(wav)))
    assert len(pieces) == 5
    np.testing.assert_allclose(np.concatenate(pieces), expected.estimate[0, 0], rtol=0, atol=1e-5)


def test_encoding_with_fewer_codebooks_gives_the_first_ones() -> None:
    codec, wav = make(codebooks=3), noise(HOP * 9)
    codes = codec.encode(wav)
    assert torch.equal(codec.encode(wav, num_codebooks=2), codes[:, :2])
    np.testing.assert_array_equal(np.concatenate(list(codec.encode_blocks([wav], 2)), 1), codes[0, :2])
    assert codec.decode(codes[:, :1]).shape == (1, 1, HOP * 9)


@pytest.mark.parametrize("kind", ["seanet", "voiced"])
def test_a_batch_gives_what_its_items_give(kind: str) -> None:
    codec = make(kind)
    wavs = torch.from_numpy(np.stack([noise(HOP * 7 + 3, seed) for seed in range(3)]))[:, None]
    codes = codec.encode(wavs)
    for i in range(3):
        assert torch.equal(codes[i : i + 1], codec.encode(wavs[i]))
        torch.testing.assert_close(codec.decode(codes)[i : i + 1], codec.decode(codes[i]), rtol=0, atol=1e-5)


def dependences(codec: Codec, samples: int) -> np.ndarray:
    """`[samples, frames]`: which latents move when one input sample does (from the gradient, in float64)."""
    encoder, wav = codec.encoder.double(), torch.randn(1, 1, samples, dtype=torch.float64, requires_grad=True)
    latents = encoder(wav).sum((0, 1))
    rows = [torch.autograd.grad(value, wav, retain_graph=True)[0][0, 0].abs() > 0 for value in latents]
    encoder.float()
    return torch.stack(rows, 1).numpy()


def decoder_dependences(codec: Codec, frames: int) -> np.ndarray:
    """`[frames, frames * hop]`: which output samples move when one latent does."""
    decoder, dim = codec.decoder, codec.quantizer.codebook_dim
    latents = torch.randn(1, dim, frames, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        items = torch.cat([latents, latents.repeat(frames, 1, 1)])
        for frame in range(frames):
            items[1 + frame, :, frame] += torch.randn(dim, generator=torch.Generator().manual_seed(frame))
        wavs = torch.cat([decoder(item[None]) for item in items])[:, 0]
    return ((wavs[1:] - wavs[:1]).abs() > 1e-7).numpy()


def test_the_context_covers_all_dependences_and_no_frame_more(
    any_codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voiced_decoder, "phases", _no_phases)
    left, right = any_codec.encoder_context
    frames = left + right + 5
    frame_of_sample = dependences(any_codec, frames * HOP).reshape(frames, HOP, frames).any(1)
    offsets = [source - target for source, target in np.argwhere(frame_of_sample)]
    assert (-min(offsets), max(offsets)) == (left, right)
    left, right = any_codec.decoder_context
    frames = left + right + MORE
    moved = decoder_dependences(any_codec, frames).reshape(frames, frames, HOP).any(2)
    offsets = [source - target for source, target in np.argwhere(moved)]
    assert -min(offsets) in (left, left - 1)  # the last tap of a Hann window is too small to see
    assert max(offsets) in (right, right - 1)
    assert -min(offsets) <= left and max(offsets) <= right


def _no_phases(path: Contour, start: torch.Tensor, hop_length: int) -> torch.Tensor:
    """In place of `nn.pitch.phases`, through which a frame depends on the whole voice before it: every frame begins alike."""
    return start[:, None].expand(-1, path.start.shape[1] + 1)


def test_the_latency_is_the_look_ahead(any_codec: Codec) -> None:
    """Input sample -> latent frames -> output samples: the latest input sample that an output sample waits for."""
    frames = sum(any_codec.encoder_context) + sum(any_codec.decoder_context) + MORE
    to_latents = dependences(any_codec, frames * HOP)
    to_samples = decoder_dependences(any_codec, frames)
    reach = to_latents.astype(np.float32) @ to_samples.astype(np.float32) > 0  # [input sample, output sample]
    inputs, outputs = np.nonzero(reach)
    look_ahead = int((inputs - outputs).max()) + 1  # counting the sample itself
    assert look_ahead <= any_codec.latency_samples < look_ahead + HOP // 2  # the outermost taps are too small to see


def test_a_causal_codec_does_not_look_beyond_its_latency() -> None:
    codec, samples, change = make("seanet", causal=True), 30 * HOP, 20 * HOP
    first = noise(samples)
    second = first.copy()
    second[change:] = noise(samples - change, seed=9)
    codes = [codec.encode(wav)[0] for wav in (first, second)]
    assert torch.equal(codes[0][:, : change // HOP], codes[1][:, : change // HOP])
    assert not torch.equal(codes[0][:, change // HOP :], codes[1][:, change // HOP :])
    assert codec.latency_samples == HOP  # a frame, and nothing after it
    audio = [codec.decode(c)[0, 0] for c in codes]
    same = change - codec.latency_samples + 1
    torch.testing.assert_close(audio[0][:same], audio[1][:same], rtol=0, atol=1e-6)
    assert (audio[0][change:] - audio[1][change:]).abs().max() > 1e-4


@pytest.mark.parametrize("shape", [(2, 100), (1, 2, 100), (1, 1, 1, 100), (0,), (1, 1, 0), (0, 1, 100)])
def test_audio_of_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioError, match="mono|without samples"):
        make().encode(np.zeros(shape, np.float32))


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int64, np.bool_, np.complex64])
def test_samples_without_a_full_scale_are_refused(dtype: type) -> None:
    wav = np.ones(100, dtype)
    for audio in (wav, torch.from_numpy(wav), [wav.item(0)] * 100):
        with pytest.raises(AudioError, match=r"need float samples in \[-1, 1\], got .*divide 16-bit integers by 32768"):
            make().encode(audio)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="divide 16-bit integers by 32768"):
        list(make().encode_blocks([wav]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_samples_of_any_float_type_are_taken(dtype: type) -> None:
    wav = (noise(100) * 0.1).astype(dtype)
    codes = make().encode(wav.astype(np.float32))
    for audio in (wav, torch.from_numpy(wav), wav.tolist()):
        assert torch.equal(make().encode(audio), codes)


@pytest.mark.parametrize("rate", [0, -24_000, 24_000.5, float("nan"), float("inf"), 999, 1_000_001, "24000", 24_000j])
def test_a_sample_rate_that_cannot_be_is_refused(rate: object) -> None:
    with pytest.raises(AudioError, match="sample_rate .*: need whole Hz"):
        make().encode(noise(100), sample_rate=rate)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_audio_that_is_not_finite_is_refused(value: float) -> None:
    wav = noise(100)
    wav[50] = value
    with pytest.raises(AudioError, match="NaN or infinite"):
        make().encode(wav)
    with pytest.raises(AudioError, match="NaN or infinite"):
        list(make().encode_blocks([wav]))


@pytest.mark.parametrize("count", [0, 3, -1])
def test_a_number_of_codebooks_that_is_not_there_is_refused(count: int) -> None:
    with pytest.raises(AudioError, match="has 1 to 2"):
        make().encode(noise(50), num_codebooks=count)
    with pytest.raises(AudioError, match="has 1 to 2"):
        list(make().encode_blocks([noise(50)], num_codebooks=count))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.full((2, 3), 64), "outside 0 to 63"),
        (np.full((2, 3), -1), "outside 0 to 63"),
        (np.zeros((3, 3), np.int64), "1 <= K <= 2"),
        (np.zeros((0, 3), np.int64), "1 <= K <= 2"),
        (np.zeros((2, 0), np.int64), "1 <= K <= 2"),
        (np.zeros((0, 2, 3), np.int64), "1 <= K <= 2"),
        (np.zeros(3, np.int64), "1 <= K <= 2"),
        (np.zeros((2, 3)), "integer codes"),
    ],
)
def test_codes_that_cannot_be_are_refused(codes: np.ndarray, message: str) -> None:
    with pytest.raises(TokenFileError, match=message):
        make().decode(codes)
    with pytest.raises(TokenFileError, match=message):
        make().decode(torch.from_numpy(codes))


@pytest.mark.parametrize("count", [-1, -HOP, 3 * HOP + 1, 1.5])
def test_samples_that_the_codes_do_not_hold_are_refused(count: int) -> None:
    codes = np.zeros((2, 3), np.int64)
    with pytest.raises(TokenFileError, match=f"num_samples {count}: 3 frames hold 0 to 72"):
        make().decode(codes, count)
    with pytest.raises(TokenFileError, match=f"num_samples {count}: 3 frames hold 0 to 72"):
        list(make().decode_blocks(codes, count))


def test_streamed_codes_that_cannot_be_are_refused() -> None:
    for codes, message in [(np.zeros((1, 2, 3), np.int64), r"shape \[K, T\]"), (np.full((2, 3), 64), "outside")]:
        with pytest.raises(TokenFileError, match=message):
            list(make().decode_blocks(codes, 10))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_any_integer_type_and_read_only_arrays_are_taken(dtype: type) -> None:
    codec = make()
    codes = codec.encode(noise(HOP * 4))[0]
    array = codes.numpy().astype(dtype)
    array.flags.writeable = False
    assert torch.equal(codec.decode(array), codec.decode(codes))  # a warning of torch's would fail the test
    wav = noise(HOP * 4)
    wav.flags.writeable = False
    assert torch.equal(codec.encode(wav)[0], codes)


def test_audio_at_another_rate_is_resampled() -> None:
    seconds = np.arange(4800) / 4800
    wav = np.sin(2 * np.pi * 100 * seconds).astype(np.float32)
    codec = make()
    assert codec.encode(wav, sample_rate=4800).shape[-1] == 2400 // HOP
    assert torch.equal(codec.encode(wav, sample_rate=2400), codec.encode(wav))
    for rate in (4800.0, np.int32(4800), np.float32(4800)):  # as other libraries give it
        assert torch.equal(codec.encode(wav, sample_rate=rate), codec.encode(wav, sample_rate=4800))


def test_encoder_and_decoder_start_alike_whatever_the_quantizer() -> None:
    codecs = []
    for quantizer in (QuantizerConfig(kind="simvq"), QuantizerConfig(kind="vq", codebook_size=64)):
        torch.manual_seed(7)
        codecs.append(build_codec(Config(quantizer=quantizer)))
    for part in ("encoder", "decoder"):
        first, second = (dict(getattr(codec, part).named_parameters()) for codec in codecs)
        assert first and all(torch.equal(first[name], second[name]) for name in first)
