"""The search of the nearest code on a GPU, by one product with the whole table: its way forced on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiocodec.constants import SCORE_ERROR
from audiocodec.quantization import search

LARGEST_SCORE = 1.5 * 48  # of three coordinates up to 4


@pytest.fixture(params=[0, 1, 7, 1000], ids=lambda frames: f"{frames} frames")
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tiles (0) or so many frames at once; a list of how many were given to the large product."""
    given: list[int] = []
    whole = search._search_whole

    def counted(latents: torch.Tensor, *rest: object) -> object:
        given.append(len(latents))
        return whole(latents, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "_frames_at_once", lambda table: request.param)
    monkeypatch.setattr(search, "_search_whole", counted)
    return given


@pytest.mark.parametrize("size", [1, 2, 1023, 1025, 3000])
def test_both_ways_find_the_lowest_of_the_nearest(size: int, way: list[int], request: pytest.FixtureRequest) -> None:
    """Whole numbers: nothing is rounded, and many codes are equally near."""
    rng = np.random.default_rng(size)
    table, latents = rng.integers(-4, 5, (size, 3)), rng.integers(-4, 5, (25, 3))
    distances = ((latents[:, None] - table[None]) ** 2).sum(2)
    rows, frames = torch.from_numpy(table).float(), torch.from_numpy(latents).float()
    halves = search.half_squares(rows)
    np.testing.assert_array_equal(halves.numpy(), (table**2).sum(1) / 2)
    np.testing.assert_array_equal(search.nearest_codes(frames, rows, halves).numpy(), distances.argmin(1))
    index, margins = search.nearest_with_margins(frames, rows, halves)
    np.testing.assert_array_equal(index.numpy(), distances.argmin(1))
    if size > 1:
        first, second = np.sqrt(np.sort(distances, 1)[:, :2].T.astype(float))
        apart = second > 0  # else rounding alone decides
        slack = 2 * SCORE_ERROR * LARGEST_SCORE / (first + second)[apart] + 1e-5
        assert (np.abs(margins.numpy() - (second - first) / 2)[apart] <= slack).all()
        assert (margins.numpy()[second == first] < 0).all()
    at_once = {"7": [7, 7, 7, 4] * 2, "1": [1] * 50, "1000": [25, 25], "0": []}
    name = next(key for key in at_once if f"{key} frames" in request.node.callspec.id.split("-"))
    assert way == at_once[name]


def test_no_frames(way: list[int]) -> None:
    rows = torch.randn(5, 3)
    assert search.nearest_codes(rows[:0], rows, search.half_squares(rows)).shape == (0,)


def test_a_gpu_takes_as_many_frames_as_a_part_of_its_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        total_memory = 80 * 2**30

    class OnCard:
        device = torch.device("cuda")

        def __len__(self) -> int:
            return 65_536

        def element_size(self) -> int:
            return 4

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Card)
    assert search._frames_at_once(OnCard()) == 10_240  # type: ignore[arg-type]  # 2.5 GiB / (4 x 65,536)
    Card.total_memory = 2**20
    assert search._frames_at_once(OnCard()) == 1  # type: ignore[arg-type]
    assert search._frames_at_once(torch.zeros(9, 2)) == 0
