"""The same samples give the same codes: in any batch, chunks, stream and number of threads, and where float32 cannot tell."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.streams import sizes, stream_encode
from support.tiny_codecs import HOP, make, noise

import audiocodec
from audiocodec.audio.resampling import resample
from audiocodec.codec.torch import Codec
from audiocodec.constants import LATENT_ERROR
from audiocodec.errors import AudioError
from audiocodec.quantization.search import half_squares, nearest_codes, nearest_with_margins

SPEECH = Path(__file__).parents[2] / "egs" / "mini" / "codec" / "local" / "audio"


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def every_way(codec: Codec, wavs: list[np.ndarray], chunk_seconds: float) -> None:
    """Each signal whole and by itself on one thread, against all the other ways."""
    torch.set_num_threads(1)
    alone = [codec.encode(wav)[0].numpy() for wav in wavs]
    padded = np.stack([np.pad(wav, (0, max(map(len, wavs)) - len(wav)), constant_values=0.3) for wav in wavs])
    for count in (1, 2):
        torch.set_num_threads(count)
        together = codec.encode(padded[:, None], lengths=[len(wav) for wav in wavs]).codes.numpy()
        for i, (wav, codes) in enumerate(zip(wavs, alone)):
            np.testing.assert_array_equal(together[i, :, : codes.shape[1]], codes)
            assert not together[i, :, codes.shape[1] :].any()
            np.testing.assert_array_equal(codec.encode(wav)[0].numpy(), codes)
            parts = list(codec.encode_blocks([wav], chunk_seconds=chunk_seconds))
            assert len(parts) > 1 or codes.shape[1] < 4
            np.testing.assert_array_equal(np.concatenate(parts, 1), codes)
            streamed = stream_encode(codec, wav, sizes(len(wav), 4 * codec.hop_length, count))
            np.testing.assert_array_equal(streamed, codes)


def speech() -> list[np.ndarray]:
    """Two seconds of each recording at 24 kHz, at the level that models are trained at."""
    wavs = []
    for path in sorted(SPEECH.glob("*/*.flac")):
        wav, rate = soundfile.read(path, dtype="float32")
        wav = resample(wav[None, : 2 * rate], rate, 24_000)[0]
        wavs.append((wav * 10 ** (-24 / 20) / np.sqrt(np.mean(wav**2))).astype(np.float32))
    return wavs


@pytest.mark.slow
def test_the_bound_covers_what_float32_does_to_speech() -> None:
    codec = audiocodec.load()
    exact = copy.deepcopy(codec.encoder).double()
    worst = 0.0
    with torch.inference_mode():
        for wav in [*speech(), np.zeros(24_000, np.float32)]:
            padded = codec._pad(torch.from_numpy(wav)[None, None])
            error = (codec.encoder(padded).double() - exact(padded.double())) / codec.scale.rms.double()
            worst = max(worst, float(error.norm(dim=1).max()))
    assert 1e-5 < worst < LATENT_ERROR


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_speech_through_a_model_in_the_package() -> None:
    """The one with eight codebooks, whose codes lie closest."""
    codec = audiocodec.load("speech_24k_residual")
    every_way(codec, [wav[: 40_000 + 1_111 * i] for i, wav in enumerate(speech()[3::4])], 0.41)
    assert 0 < codec.near_ties.settled < 0.05 * codec.near_ties.frames  # it happens, and it is rare


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("kind", "causal"), [("istft", False), ("seanet", True)])
def test_noise_of_many_lengths_through_random_weights(kind: str, causal: bool) -> None:
    lengths = [1, HOP - 1, HOP, HOP + 1, 5 * HOP, 17 * HOP + 3, 60 * HOP - 1]
    wavs = [noise(n, seed=n) * 10.0 ** -(i % 4) for i, n in enumerate(lengths)]
    every_way(make(kind, causal, codebooks=3), [wav.astype(np.float32) for wav in wavs], 0.03)


def nearest_in_float64(codec: Codec, wav: np.ndarray) -> np.ndarray:
    """Codes `[K, T]` of the definition: the whole in float64, all distances."""
    exact = copy.deepcopy(codec).double()
    with torch.no_grad():
        latents = exact.encoder(exact._pad(torch.from_numpy(wav).double()[None, None]))
        residual = ((latents - exact.scale.mean[:, None]) / exact.scale.rms)[0].T.numpy()
        found = []
        for stage in exact.quantizer.stages:
            table = stage.effective().numpy()  # type: ignore[operator]
            found.append(((residual[:, None] - table) ** 2).sum(-1).argmin(1))
            residual = residual - table[found[-1]]
    return np.stack(found)


def test_errors_within_the_bound_change_no_code() -> None:
    """Latents as wrong as they may be; the answer must be that of float64."""
    codec, wav = copy.deepcopy(make(codebooks=3)), noise(HOP * 1500)
    expected = nearest_in_float64(codec, wav)
    exact, generator = codec.encoder.forward, torch.Generator().manual_seed(0)

    def wrong(x: torch.Tensor, frames: torch.Tensor | None = None) -> torch.Tensor:
        latents = exact(x, frames)
        error = torch.randn(latents.shape, generator=generator)
        return latents + error / error.norm(dim=1, keepdim=True) * 0.9 * LATENT_ERROR * codec.scale.rms

    codec.encoder.forward = wrong  # type: ignore[method-assign]
    codes = codec.encode(wav)[0].numpy()
    np.testing.assert_array_equal(codes, expected)
    assert 0 < codec.near_ties.settled < 0.2 * codec.near_ties.frames
    with torch.no_grad():  # without the second decision some would be wrong, or this test shows nothing
        latents = codec.scale.running(wrong(torch.from_numpy(wav)[None, None]))
    assert (codec.quantizer.encode(latents)[0].numpy() != expected).any()


def test_margins_are_the_distance_to_the_border_or_less() -> None:
    """Against the distance to every bisecting plane, in float64."""
    generator = np.random.default_rng(1)
    latents, table = generator.normal(0, 1, (300, 8)), generator.normal(0, 1, (2500, 8))
    x, rows = torch.from_numpy(latents).float(), torch.from_numpy(table).float()
    index, margins = nearest_with_margins(x, rows, half_squares(rows))
    np.testing.assert_array_equal(index.numpy(), nearest_codes(x, rows, half_squares(rows)).numpy())
    x64, rows64 = x.double().numpy(), rows.double().numpy()
    for latent, chosen, margin in zip(x64, index.numpy(), margins.numpy()):
        other = np.delete(rows64, chosen, 0)
        squares = ((latent - other) ** 2).sum(1) - ((latent - rows64[chosen]) ** 2).sum()
        border = (squares / (2 * np.linalg.norm(other - rows64[chosen], axis=1))).min()
        assert margin <= border
        nearest, second = np.sort(np.linalg.norm(latent - rows64, axis=1))[:2]
        assert margin == pytest.approx((second - nearest) / 2, abs=2e-4)


def test_of_equal_codes_the_lowest_is_taken() -> None:
    codec = copy.deepcopy(make(codebooks=1))
    stage = codec.quantizer.stages[0]
    with torch.no_grad():
        stage.codebook[40:] = stage.codebook[:24].clone()  # type: ignore[index, operator, union-attr]
    codes = codec.encode(noise(HOP * 60))
    assert codes.max() < 40
    assert codec.near_ties.settled > 0


STATES = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "gradients": torch.enable_grad,
    "no gradients": torch.no_grad,
    "low precision": lambda: low_precision(),
    "deterministic": lambda: deterministic(),
}


@contextlib.contextmanager
def low_precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
        assert torch.get_float32_matmul_precision() == "medium"  # left as it was found
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("state", STATES)
def test_whatever_surrounds_the_call(state: str) -> None:
    codec, wav = copy.deepcopy(make(codebooks=3)), noise(HOP * 400)
    expected, sound = codec.encode(wav)[0], codec.decode(codec.encode(wav))
    with STATES[state]():  # type: ignore[operator]
        assert torch.equal(codec.encode(wav)[0], expected)
        parts = list(codec.encode_blocks([wav], chunk_seconds=0.37))
        np.testing.assert_array_equal(stream_encode(codec, wav, sizes(len(wav), 7 * HOP, 0)), expected.numpy())
        torch.testing.assert_close(codec.decode(expected), sound, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(np.concatenate(parts, 1), expected.numpy())


@pytest.mark.parametrize("lengths", [[5], [5, 0], [5, 101], [5, -1], [1, 2, 3]])
def test_lengths_that_are_not_those_of_the_items_are_refused(lengths: list[int]) -> None:
    with pytest.raises(AudioError, match="need 2 lengths of 1 to 100 samples"):
        make().encode(np.zeros((2, 1, 100), np.float32), lengths=lengths)
