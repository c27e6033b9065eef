"""The address of a code: a binary number whose leading bits say roughly where in the codebook's space the code lies.

A codebook of a SimVQ quantizer has no digits, but it is a table of vectors. Halving it again and again along the direction in
which the part at hand varies most gives every code a path of left and right, all equally long. A model that predicts a code
digit by digit needs a few hundred outputs instead of 65,536, and codes that it has seldom seen share digits with their neighbours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

DIGIT_BITS = 8  # at most

IntArray = npt.NDArray[np.integer]


def addresses_of(table: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Addresses of the codes of a codebook.

    Args:
        table: the vectors of the codes `[V, D]`.

    Returns:
        `[V]`, each different, from 0 to below `2**bits`, where `bits = (V - 1).bit_length()`. Splits are at the median: with V a
        power of two, every address is used. Codes of equal vectors are told apart by their number.
    """
    points = np.asarray(table, np.float64)
    found = np.zeros(len(points), np.int64)
    bits = (len(points) - 1).bit_length()
    parts: list[IntArray] = [np.arange(len(points))]
    for bit in range(bits - 1, -1, -1):
        halves = []
        for part in parts:
            lower, upper = _halves(points, part, 1 << bit)
            found[upper] += 1 << bit
            halves += [half for half in (lower, upper) if len(half)]
        parts = halves
    return found


def _halves(points: npt.NDArray[np.float64], part: IntArray, room: int) -> tuple[IntArray, IntArray]:
    """Split at the median of the principal component; each half has at most `room` codes."""
    if len(part) == 1:
        return part, part[:0]
    centred = points[part] - points[part].mean(0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    direction *= np.sign(direction[np.abs(direction).argmax()])  # one of two opposite ones, always the same
    order = part[np.argsort(centred @ direction, kind="stable")]
    middle = min(room, (len(part) + 1) // 2)
    return order[:middle], order[middle:]


def digit_sizes(codebook_size: int) -> tuple[int, ...]:
    """How many values each digit of an address has, the leading digit first: 256 and 256 for 65,536 codes, 32 and 32 for 1,024."""
    bits = (codebook_size - 1).bit_length()
    count = -(-bits // DIGIT_BITS)
    return tuple(1 << (bits * (i + 1) // count - bits * i // count) for i in range(count))


def digits_of(addresses: IntArray, sizes: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Digits `[..., N]` of addresses `[...]`."""
    found = []
    rest = np.asarray(addresses, np.int64)
    for size in reversed(sizes):
        found.append(rest % size)
        rest = rest // size
    return np.stack(found[::-1], -1)


def address_of_digits(digits: IntArray, sizes: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The inverse of `digits_of`: addresses `[...]` of digits `[..., N]`."""
    address = np.zeros(digits.shape[:-1], np.int64)
    for place, size in enumerate(sizes):
        address = address * size + digits[..., place]
    return address
