"""The effective dimension of codes in use, and the tables of latents that it is computed from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec.errors import MetricUndefined
from audiocodec.metrics.codebook import effective_dimension
from audiocodec.model_file import load
from audiocodec.training.monitor import statistics


def test_it_is_the_participation_ratio_of_the_codes_as_often_as_they_occur() -> None:
    random = np.random.default_rng(0)
    latents = random.normal(3, 1, (50, 6)) * [5, 3, 1, 1, 0.1, 0]
    counts = random.integers(0, 9, 50)
    found = np.linalg.eigvalsh(np.cov(latents.T, fweights=counts))
    assert effective_dimension(counts, latents) == pytest.approx(found.sum() ** 2 / (found**2).sum())
    repeated = torch.from_numpy(np.repeat(latents, counts, axis=0))
    assert effective_dimension(counts, latents) == pytest.approx(
        float(statistics.effective_dimension(repeated)), rel=1e-4
    )


def test_its_bounds() -> None:
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    assert effective_dimension(np.array([3, 3, 3, 3]), corners) == pytest.approx(2)
    assert effective_dimension(np.array([2, 0, 0, 7]), corners) == pytest.approx(1)  # two points are a line
    for counts in ([0, 5, 0, 0], [0, 0, 0, 0]):
        with pytest.raises(MetricUndefined, match="fewer than two different codes"):
            effective_dimension(np.array(counts), corners)


def test_the_tables_hold_what_codes_decode_to(tiny_model_path: Path) -> None:
    quantizer = load(tiny_model_path).quantizer
    codes = torch.randint(64, (1, 2, 30), generator=torch.Generator().manual_seed(0))
    first, second = quantizer.tables()
    assert [list(table.shape) for table in (first, second)] == [[64, 16], [64, 16]]
    assert torch.equal(quantizer.decode(codes)[0].T, first[codes[0, 0]] + second[codes[0, 1]])
