"""Streams: what comes out is what the whole gives, as early as it can, and in memory that does not grow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.streams import sizes, stream_decode, stream_encode
from support.tiny_codecs import HOP, PIECES, make, noise

from audiocodec.build import build_codec
from audiocodec.config.load import load_config
from audiocodec.errors import AudioError, TokenFileError
from audiocodec.nn.streaming import stream_of

CONF = Path(__file__).parents[2] / "audiocodec" / "configs"
KINDS = [(kind, causal) for kind in PIECES for causal in (False, True)]


def same_sound(found: np.ndarray, expected: np.ndarray, error: float = 1e-5) -> None:
    """But for rounding: torch takes its kernels by the size of what they are given."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=error * max(1, np.abs(expected).max(initial=0)))


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "snake"])
@pytest.mark.parametrize(("kind", "causal"), KINDS)
def test_streamed_is_offline(kind: str, causal: bool, activation: str) -> None:
    codec = make(kind, causal, activation=activation)
    for samples, largest in [(1, 1), (HOP, 5), (HOP + 1, HOP), (7 * HOP - 1, 3), (41 * HOP + 5, 4 * HOP)]:
        wav = noise(samples, seed=samples)
        codes = codec.encode(wav)[0].numpy()
        audio = codec.decode(codes)[0, 0].numpy()
        streamed = stream_encode(codec, wav, sizes(samples, largest, 1))
        assert streamed.dtype == np.int32
        np.testing.assert_array_equal(streamed, codes)
        sound = stream_decode(codec, codes, sizes(codes.shape[1], 3, 2))
        assert sound.dtype == np.float32
        same_sound(sound, audio, 1e-3 if "voiced" in kind else 1e-5)


@pytest.mark.parametrize(("kind", "causal"), KINDS)
def test_frames_and_samples_come_when_the_latency_says(kind: str, causal: bool) -> None:
    """One sample at a time; `latency_samples` is held against gradients in test_codec.py."""
    codec, behind = make(kind, causal), []
    with codec.stream_encoder() as encoder, codec.stream_decoder() as decoder:
        frames = given = 0
        for received in range(1, codec.latency_samples + 6 * HOP):
            codes = encoder.push(noise(1, received))
            frames += codes.shape[1]
            assert frames == max(0, (received - encoder.latency_samples) // HOP + 1)
            given += len(decoder.push(codes))
            behind.append(received - given)
    assert encoder.latency_samples + decoder.latency_samples == codec.latency_samples
    assert max(behind) <= codec.latency_samples - 1  # then the next sample out waits for one more
    assert max(behind) >= codec.latency_samples - HOP


def test_the_causal_recipe_stays_below_forty_milliseconds() -> None:
    config = load_config(CONF / "simvq_24k_causal.yaml")
    assert config.model.causal
    codec = build_codec(config).eval()
    assert codec.encoder_context[1] == 0
    assert codec.latency_samples == 320 + 480  # a frame, and half of what the window of four frames has beyond one
    assert codec.latency_samples / codec.sample_rate <= 0.040


def test_the_causal_recipe_streams_as_the_whole() -> None:
    """At a small size; chunks of 10 ms, as from a sound card."""
    small = ["model.encoder.base_channels=4", "model.decoder.dim=32", "model.decoder.layers=2"]
    config = load_config(CONF / "simvq_24k_causal.yaml", [*small, "quantizer.codebook_dim=16"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codec = build_codec(config)
        with torch.no_grad():
            for name, parameter in codec.encoder.named_parameters():
                if name.endswith("bias"):  # random ones would drown the input
                    parameter.zero_()
        latents = codec.encoder(0.1 * torch.randn(2, 1, 32_000)).detach()
        codec.scale.calibrate([latents])
        codec.eval().quantizer.initialize(codec.scale(latents).transpose(1, 2).flatten(0, 1))
    codec.freeze()
    wav = 0.1 * noise(30_000)
    codes = codec.encode(wav)[0].numpy()
    assert len(np.unique(codes)) > 20
    np.testing.assert_array_equal(stream_encode(codec, wav, [240] * 125), codes)
    same_sound(stream_decode(codec, codes, [1] * codes.shape[1]), codec.decode(codes)[0, 0].numpy())


@pytest.mark.parametrize("kind", ["istft", "seanet"])
def test_an_lstm_carries_its_state(kind: str) -> None:
    """Without the promise on codes: an LSTM rounds by the length of what it is given."""
    codec, wav = make(kind, True, lstm=1), torch.from_numpy(noise(40 * HOP))[None, None]
    with torch.inference_mode():
        for module, whole in ((codec.encoder, wav), (codec.decoder, codec.encoder(wav))):
            stream = stream_of(module)
            parts = [stream.step(piece, False) for piece in whole.split(7, -1)]
            got = torch.cat([*parts, stream.step(whole[..., :0], True)], -1)
            torch.testing.assert_close(got, module(whole), rtol=0, atol=1e-5)


def test_fewer_codebooks_can_be_streamed() -> None:
    codec, wav = make(codebooks=3), noise(9 * HOP)
    codes = stream_encode(codec, wav, [100, 116], num_codebooks=2)
    np.testing.assert_array_equal(codes, codec.encode(wav)[0, :2].numpy())
    same_sound(stream_decode(codec, codes, [4, 5]), codec.decode(codes)[0, 0].numpy())
    with pytest.raises(AudioError, match="has 1 to 3"):
        codec.stream_encoder(4)


@pytest.mark.parametrize("kind", ["seanet", "voiced"])
def test_what_is_held_does_not_grow(kind: str) -> None:
    codec = make(kind, causal=False)
    with codec.stream_encoder() as encoder, codec.stream_decoder() as decoder:
        held = []
        for step in range(200):
            decoder.push(encoder.push(noise(HOP, step)))
            held.append(_floats(encoder) + _floats(decoder))
    assert max(held[100:]) == max(held[50:100]) < 20_000


def _floats(value: object, seen: set[int] | None = None) -> int:
    """Numbers in all storages that an object holds, but for weights."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, torch.nn.Module) or callable(value):
        return 0
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        return value.untyped_storage().nbytes() // 4
    inner = value if isinstance(value, (list, tuple)) else vars(value).values() if hasattr(value, "__dict__") else ()
    return sum(_floats(part, seen) for part in inner)


def test_an_ended_stream_and_wrong_input_are_refused() -> None:
    codec = make()
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder()
    for wav, message in [
        (np.ones(5, np.int16), "divide 16-bit integers"),
        (np.full(5, np.nan, np.float32), "NaN or infinite"),
    ]:
        with pytest.raises(AudioError, match=message):
            encoder.push(wav)
    for codes, message in [
        (np.full((2, 1), 64), "outside 0 to 63"),
        (np.zeros((3, 1), int), "1 <= K <= 2"),
        (np.zeros(3, int), r"shape \[K, T\]"),
    ]:
        with pytest.raises(TokenFileError, match=message):
            decoder.push(codes)
    encoder.finish()
    decoder.finish()
    for end in (lambda: encoder.push(noise(1)), encoder.finish, lambda: decoder.push(np.zeros((2, 1), int))):
        with pytest.raises(AudioError, match="this stream has ended"):
            end()
    with codec.stream_encoder() as left:
        pass
    with pytest.raises(AudioError, match="this stream has ended"):
        left.push(noise(1))
