"""Priors: what numpy computes is what was trained, and files are refused that would not compute it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support.priors import random_network

from audiocodec.errors import PriorError
from audiocodec.nn.exact.integers import FloatArray
from audiocodec.tokens.predictor import Predictor, counts_of
from audiocodec.tokens.prior import Prior

SIZES = [(65,), (300, 5), (8, 8, 8)]


def codes_of(sizes: tuple[int, ...], frames: int) -> np.ndarray:
    random = np.random.default_rng(3)
    return np.stack([random.integers(0, size, frames) for size in sizes])


@pytest.mark.parametrize("sizes", SIZES)
def test_numpy_computes_what_torch_trains(sizes: tuple[int, ...]) -> None:
    network = random_network(sizes)
    codes = codes_of(sizes, 17)
    with torch.inference_mode():
        expected = network(torch.from_numpy(codes.T[None]))[0].numpy()
    prior = network.export()
    predictor, nats = Predictor(prior, 1, len(sizes)), np.zeros((17, len(sizes)))

    for t in range(17):

        def choose(k: int, j: int, counts: FloatArray, t: int = t) -> np.ndarray:
            digit = prior.digits[k][codes[k, t], j]
            nats[t, k] -= math.log(counts[0, digit] / counts[0].sum())
            return np.array([digit])

        assert predictor.frame(choose)[0].tolist() == codes[:, t].tolist()
    usual = expected < 8  # a count is 1 at least
    assert usual.mean() > 0.5
    assert nats[usual] == pytest.approx(expected[usual], rel=5e-3, abs=5e-3)  # counts are rounded


@pytest.mark.parametrize("sizes", SIZES)
def test_known_codes_are_predicted_as_a_decoder_predicts_them(sizes: tuple[int, ...]) -> None:
    prior = random_network(sizes).export()
    codes = codes_of(sizes, 23)[: max(1, len(sizes) - 1)]
    at_once = {(k, j): found for k, j, found in counts_of(codes, prior)}
    predictor, seen = Predictor(prior, 1, len(codes)), 0
    for t in range(23):

        def choose(k: int, j: int, counts: FloatArray, t: int = t) -> np.ndarray:
            nonlocal seen
            seen += 1
            assert np.array_equal(at_once[k, j][t], counts[0]), (t, k, j)
            return prior.digits[k][codes[k, t : t + 1], j]

        predictor.frame(choose)
    assert seen == 23 * len(at_once) and len({counts.tobytes() for found in at_once.values() for counts in found}) > 20


@pytest.mark.parametrize("used", [1, 2])
def test_fewer_codebooks(used: int) -> None:
    network = random_network((8, 8, 8))
    codes = torch.from_numpy(codes_of((8, 8, 8), 12).T[None])
    with torch.inference_mode():
        assert network(codes[..., :used]).shape == (1, 12, used)
        whole, part = network(codes), network(codes[..., :used])
    torch.testing.assert_close(whole[:, 0, :used], part[:, 0])  # no past yet: the same
    assert not torch.equal(whole[:, 1:, :used], part[:, 1:])


def test_it_sees_the_past_only() -> None:
    network = random_network((65,))
    codes = torch.from_numpy(codes_of((65,), 12).T[None])
    changed = codes.clone()
    changed[0, 6:] = (changed[0, 6:] + 7) % 65
    with torch.inference_mode():
        assert torch.equal(network(codes)[:, :6], network(changed)[:, :6])


def test_file(tmp_path: Path) -> None:
    prior = random_network((65, 9)).export()
    prior.save(tmp_path / "p.safetensors")
    again = Prior.load(tmp_path / "p.safetensors")
    assert (again.config, again.fingerprint) == (prior.config, prior.fingerprint)
    assert random_network((65, 9), seed=1).export().fingerprint != prior.fingerprint


@pytest.mark.parametrize("sizes", SIZES)
def test_a_network_goes_on_from_a_prior(sizes: tuple[int, ...]) -> None:
    prior, other = random_network(sizes).export(), random_network(sizes, seed=1)
    other.load(prior)
    assert other.export().fingerprint == prior.fingerprint
    codes = torch.from_numpy(codes_of(sizes, 9).T[None])
    with torch.inference_mode():
        assert torch.equal(other(codes), random_network(sizes)(codes))


def test_a_prior_of_other_sizes_is_no_start() -> None:
    prior = random_network((65, 9)).export()
    for other in (random_network((65, 10)), random_network((65,))):
        with pytest.raises(PriorError, match="of other sizes: its codebook_sizes"):
            other.load(prior)
    wider = random_network((65, 9), channels=32)
    with pytest.raises(PriorError, match="its channels is 24, not 32"):
        wider.load(prior)
    stretched = dataclasses.replace(prior.config, dilations=(1, 2, 8))  # every tensor has the same shape
    with pytest.raises(PriorError, match="its dilations"):
        random_network((65, 9)).load(Prior(stretched, prior.tensors))


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    random_network((65,)).export().save(path)
    data = path.read_bytes()
    for broken, message in (
        (b"", "p.safetensors: "),
        (data[:100], "p.safetensors: "),
        (data[:-1] + bytes([data[-1] ^ 1]), "fingerprint|must be|address"),
        (data.replace(b"audiocodec-prior-1", b"audiocodec-prior-2"), "not a prior"),
        (data.replace(b'\\"channels\\": 24', b'\\"channels\\": 25'), "tensors are not those"),
    ):
        path.write_bytes(broken)
        with pytest.raises(PriorError, match=message):
            Prior.load(path)


def test_weights_whose_sums_are_not_exact_are_refused() -> None:
    prior = random_network((65,)).export()
    tensors = dict(prior.tensors)
    tensors["enter.bias"] = np.full_like(tensors["enter.bias"], 1 << 24)
    with pytest.raises(PriorError, match="enter.weight: sums could be too large"):
        Prior(prior.config, tensors)
    twice = dict(prior.tensors)
    twice["stages.0.address"] = np.zeros_like(twice["stages.0.address"])
    with pytest.raises(PriorError, match="two codes have one address"):
        Prior(prior.config, twice)
