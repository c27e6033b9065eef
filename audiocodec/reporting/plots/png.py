"""Small pictures: palette PNG files (ISO/IEC 15948, colour type 3) without a library."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]


def palette_png(pixels: npt.NDArray[np.uint8], palette: Sequence[Colour]) -> bytes:
    """Encode a picture.

    Args:
        pixels: places in the palette [rows, columns], the top row first.
        palette: at most 256 colours, 0 to 255 each of red, green, blue.
    """
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    lines = np.pad(pixels, ((0, 0), (1, 0)))  # each line begins with its filter: 0, none
    colours = bytes(value for colour in palette for value in colour)
    chunks = [(b"IHDR", header), (b"PLTE", colours), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def data_uri(png: bytes) -> str:
    """The picture as the `src` of an image in HTML."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def blend(stops: Sequence[Colour], count: int) -> list[Colour]:
    """`count` colours evenly along a line through `stops`."""
    places = np.linspace(0, len(stops) - 1, count)
    parts = [
        np.interp(places, np.arange(len(stops)), [stop[i] for stop in stops]).round().astype(int) for i in range(3)
    ]
    return [(int(red), int(green), int(blue)) for red, green, blue in zip(*parts)]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
