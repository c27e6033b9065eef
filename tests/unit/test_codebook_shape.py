"""The shape of a codebook: distances, spread and use against numpy and numbers by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec.analysis import codebook_shape as module
from audiocodec.analysis.codebook_picture import draw
from audiocodec.analysis.codebook_shape import codebook_shape, nearest_distances
from audiocodec.errors import MetricUndefined
from audiocodec.metrics.codebook import octave_names, octaves
from audiocodec.quantization.fsq import FSQ
from audiocodec.quantization.simvq import SimVQ
from audiocodec.quantization.vq import VQ


def vq(rows: list[list[float]]) -> VQ:
    stage = VQ(len(rows), len(rows[0]))
    with torch.no_grad():
        stage.codebook.copy_(torch.tensor(rows))
    return stage


def test_a_codebook_by_hand() -> None:
    """Two codes that are one, one 3 away from them, one 4 further: distances 0, 0, 3, 4."""
    shape = codebook_shape(vq([[0, 0], [0, 0], [3, 0], [3, 4]]), np.array([6, 0, 1, 1]))
    np.testing.assert_allclose(shape.nearest, [0, 0, 3, 4])
    assert (shape.codebook_size, shape.codebook_dim, shape.neighbour_sample) == (4, 2, 4)
    assert shape.use is not None and shape.use.dead_codes == 1 and shape.use.usage == 0.75 and shape.use.frames == 8
    assert shape.octaves == [1, 2, 0, 1]  # never: 1; once: 2; six times: in 4-7
    assert len(shape.map_singular_values) == 0


def test_spread_and_effective_dimension_by_hand() -> None:
    shape = codebook_shape(vq([[3, 1], [3, -1], [-3, 1], [-3, -1]]), np.array([5, 0, 0, 5]))
    np.testing.assert_allclose(shape.spread, [3, 1])
    assert shape.effective_dimension == pytest.approx(100 / 82)  # variances 9 and 1
    assert shape.used_effective_dimension == pytest.approx(1)  # the two codes in use lie on a line
    alike = codebook_shape(vq([[1, 2], [1, 2]]))
    assert alike.effective_dimension == 0 and alike.use is None and alike.used_effective_dimension is None


@pytest.mark.parametrize("queries", [5, 1000])
def test_tiles_change_nothing_and_numpy_agrees(queries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Distances of all pairs, and singular values of the centred table, from numpy."""
    for name, size in (("CODE_TILE", 7), ("QUERY_TILE", 4), ("MAX_QUERIES", queries)):
        monkeypatch.setattr(module, name, size)
    torch.manual_seed(0)
    stage = SimVQ(50, 6)
    with torch.no_grad():
        stage.map.weight.copy_(torch.randn(6, 6))
        stage.map.bias.copy_(torch.randn(6))
    table = stage.codebook.detach().double().numpy() @ stage.map.weight.detach().double().numpy().T
    apart = np.linalg.norm(table[:, None] - table[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    nearest, every = nearest_distances(stage), apart.min(1)
    assert len(nearest) == min(queries, 50)
    assert all(np.isclose(every, distance, rtol=1e-5).any() for distance in nearest)
    if queries > 50:
        np.testing.assert_allclose(nearest, every, rtol=1e-5)
    shape = codebook_shape(stage)
    values = np.linalg.svd(table - table.mean(0), compute_uv=False) / np.sqrt(50)
    np.testing.assert_allclose(shape.spread, values, rtol=1e-5)
    weight = stage.map.weight.detach().numpy()
    np.testing.assert_allclose(shape.map_singular_values, np.linalg.svd(weight, compute_uv=False), rtol=1e-5)


def test_a_quantizer_without_a_table_has_a_shape() -> None:
    """FSQ with maps of ones and zeros: a grid of 5 x 5 codes half a unit apart."""
    stage = FSQ((5, 5), 3)
    with torch.no_grad():
        stage.up.weight.copy_(torch.eye(3)[:, :2])
        stage.up.bias.zero_()
    shape = codebook_shape(stage)
    np.testing.assert_allclose(shape.nearest, np.full(25, 0.5))
    np.testing.assert_allclose(shape.spread, [np.sqrt(0.5), np.sqrt(0.5), 0], atol=1e-7)  # of -1, -.5, 0, .5, 1
    assert shape.effective_dimension == pytest.approx(2)


def test_octaves_are_powers_of_two() -> None:
    assert octaves(np.array([0, 0, 1, 2, 3, 4, 7, 8, 1024])) == [2, 1, 2, 2, 1, 0, 0, 0, 0, 0, 0, 1]
    assert octave_names(5) == ["0", "1", "2-3", "4-7", "8-15"]


def test_no_codes_at_all_have_no_use() -> None:
    with pytest.raises(MetricUndefined, match="no codes were counted"):
        codebook_shape(vq([[0], [1]]), np.zeros(2, np.int64))


def test_a_picture_of_used_and_unused_codebooks(tmp_path: Path) -> None:
    shapes = [codebook_shape(SimVQ(16, 4), np.arange(16)), codebook_shape(vq([[0.0], [1.0]]))]
    draw(shapes, tmp_path / "two.png")
    assert (tmp_path / "two.png").read_bytes().startswith(b"\x89PNG")
