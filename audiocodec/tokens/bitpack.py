"""Integers <-> packed bits, vectorised.

Bit `n` of a stream is bit `n % 8` of byte `n // 8`, least significant first, and a value's lowest bit
comes first. The last byte is filled up with zero bits. The work is done in blocks of whole bytes, so
that memory beyond the input and the output does not grow with the length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from audiocodec.errors import CorruptFile, TokenFileError, TruncatedFile

MAX_BITS = 24
_BLOCK_BITS = 1 << 22  # bits unpacked to a byte each at a time


def packed_bytes(bits: int, count: int) -> int:
    """Bytes that `count` values of `bits` bits take: `ceil(bits * count / 8)`."""
    return -(-bits * count // 8)


def pack(values: npt.NDArray[np.integer], bits: int) -> bytes:
    """Pack equally wide integers.

    Args:
        values: integers [N], each 0 to `2**bits - 1`.
        bits: width of each, 1 to 24.

    Returns:
        `ceil(N * bits / 8)` bytes.

    Raises:
        TokenFileError: a value does not fit.
    """
    return pack_frames(np.asarray(values).reshape(1, -1), [bits])


def unpack(data: bytes, bits: int, count: int) -> npt.NDArray[np.int32]:
    """Unpack equally wide integers.

    Args:
        data: what `pack` returned.
        bits: width of each value, 1 to 24.
        count: number of values.

    Returns:
        The values, int32 [count].

    Raises:
        TruncatedFile: fewer bytes than `count` values take.
        CorruptFile: more bytes than that, or filling bits that are not zero.
    """
    values: npt.NDArray[np.int32] = unpack_frames(data, [bits], count)[0]
    return values


def pack_frames(codes: npt.NDArray[np.integer], widths: Sequence[int]) -> bytes:
    """Pack codes frame by frame, and in a frame codebook by codebook.

    Args:
        codes: integers [K, T]; row `k` within 0 to `2**widths[k] - 1`.
        widths: bits per codebook [K], each 1 to 24.

    Returns:
        `ceil(T * sum(widths) / 8)` bytes.

    Raises:
        TokenFileError: a code does not fit.
    """
    _check_widths(widths)
    for index, (row, width) in enumerate(zip(codes, widths, strict=True)):
        if row.size and (int(row.min()) < 0 or int(row.max()) >= 1 << width):
            raise TokenFileError(f"codebook {index}: values {row.min()} to {row.max()} do not fit in {width} bits")
    step = _block_frames(widths)
    blocks = (codes[:, start : start + step] for start in range(0, codes.shape[1], step))
    return b"".join(_pack_block(block, widths) for block in blocks)


def unpack_frames(data: bytes, widths: Sequence[int], frames: int) -> npt.NDArray[np.int32]:
    """Unpack what `pack_frames` packed.

    Args:
        data: exactly the packed bytes.
        widths: bits per codebook [K], each 1 to 24.
        frames: number of frames T.

    Returns:
        The codes, int32 [K, T].

    Raises:
        TruncatedFile: fewer bytes than the frames take; nothing has been allocated then.
        CorruptFile: more bytes than that, or filling bits that are not zero.
    """
    _check_widths(widths)
    bits_per_frame = sum(widths)
    needed = packed_bytes(bits_per_frame, frames)
    if len(data) < needed:
        raise TruncatedFile(f"{len(data)} bytes of codes, {needed} expected")
    if len(data) > needed:
        raise CorruptFile(f"{len(data)} bytes of codes, {needed} expected")
    used = bits_per_frame * frames % 8
    if used and data[-1] >> used:
        raise CorruptFile("the bits that fill the last byte of the codes are not zero")
    codes = np.empty((len(widths), frames), dtype=np.int32)
    step = _block_frames(widths)
    for start in range(0, frames, step):
        count = min(step, frames - start)
        first = start * bits_per_frame // 8  # exact: `step` is a multiple of 8
        block = np.frombuffer(data, np.uint8, packed_bytes(bits_per_frame, count), first)
        _unpack_block(block, widths, codes[:, start : start + count])
    return codes


def _check_widths(widths: Sequence[int]) -> None:
    if not widths or not all(1 <= width <= MAX_BITS for width in widths):
        raise TokenFileError(f"widths of {list(widths)} bits; each must be 1 to {MAX_BITS}")


def _block_frames(widths: Sequence[int]) -> int:
    return max(_BLOCK_BITS // sum(widths) // 8, 1) * 8


def _pack_block(codes: npt.NDArray[np.integer], widths: Sequence[int]) -> bytes:
    columns = []
    for row, width in zip(codes, widths):
        four = np.ascontiguousarray(row, dtype="<u4").view(np.uint8).reshape(-1, 4)
        columns.append(np.unpackbits(four, axis=1, count=width, bitorder="little"))
    return np.packbits(np.concatenate(columns, axis=1), bitorder="little").tobytes()


def _unpack_block(data: npt.NDArray[np.uint8], widths: Sequence[int], out: npt.NDArray[np.int32]) -> None:
    frames, bits_per_frame = out.shape[1], sum(widths)
    bits = np.unpackbits(data, count=frames * bits_per_frame, bitorder="little").reshape(frames, bits_per_frame)
    first = 0
    for row, width in zip(out, widths):
        column = np.packbits(bits[:, first : first + width], axis=1, bitorder="little")
        four = np.zeros((frames, 4), dtype=np.uint8)
        four[:, : column.shape[1]] = column
        row[:] = four.view("<u4")[:, 0]
        first += width
