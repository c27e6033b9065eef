"""Addresses of codes: a bijection, balanced, and near for near codes."""

from __future__ import annotations

import numpy as np
import pytest

from audiocodec.tokens.address import address_of_digits, addresses_of, digit_sizes, digits_of


@pytest.mark.parametrize("size", [2, 3, 5, 64, 100, 1000, 1024])
def test_every_code_has_an_address_of_its_own(size: int) -> None:
    table = np.random.default_rng(size).normal(size=(size, 6))
    found = addresses_of(table)
    assert len(set(found.tolist())) == size
    assert 0 <= found.min() and found.max() < 1 << (size - 1).bit_length()
    assert np.array_equal(found, addresses_of(table))


def test_equal_vectors_have_different_addresses() -> None:
    assert sorted(addresses_of(np.zeros((16, 3)))) == list(range(16))


def test_each_bit_splits_at_the_median_of_the_principal_component() -> None:
    """Against a recursion written as the definition reads, with singular values in place of eigenvalues."""
    table = np.random.default_rng(1).normal(size=(64, 5)) * [3, 2, 1, 0.5, 0.1]

    def split(codes: np.ndarray, bits: int) -> dict[int, int]:
        if bits == 0:
            return {int(codes[0]): 0}
        centred = table[codes] - table[codes].mean(0)
        direction = np.linalg.svd(centred)[2][0]
        direction = direction if direction[np.abs(direction).argmax()] > 0 else -direction
        order = codes[np.argsort(centred @ direction)]
        half = len(codes) // 2
        upper = {code: address + (1 << (bits - 1)) for code, address in split(order[half:], bits - 1).items()}
        return split(order[:half], bits - 1) | upper

    expected = split(np.arange(64), 6)
    assert addresses_of(table).tolist() == [expected[code] for code in range(64)]


def test_codes_that_share_the_leading_digit_are_near() -> None:
    table = np.random.default_rng(2).normal(size=(1024, 8))
    leading = digits_of(addresses_of(table), digit_sizes(1024))[:, 0]
    within = np.mean([np.var(table[leading == digit], axis=0).sum() for digit in range(32)])
    assert (
        within < 0.55 * np.var(table, axis=0).sum()
    )  # 5 halvings of 8 equal variances leave 0.50 (1 - 0.637 for each of 5)


@pytest.mark.parametrize(
    "size, sizes",
    [(65_536, (256, 256)), (1024, (32, 32)), (1000, (32, 32)), (256, (256,)), (3, (4,)), (1 << 17, (32, 64, 64))],
)
def test_digits(size: int, sizes: tuple[int, ...]) -> None:
    assert digit_sizes(size) == sizes
    addresses = np.random.default_rng(0).integers(0, size, (3, 7))
    digits = digits_of(addresses, sizes)
    assert digits.shape == (3, 7, len(sizes))
    place = addresses
    for position in reversed(range(len(sizes))):
        place, digit = np.divmod(place, sizes[position])
        assert np.array_equal(digits[..., position], digit)
    assert np.array_equal(address_of_digits(digits, sizes), addresses)
