"""Arrays in numpy's files that somebody else may have written: sizes are held against the file before memory is taken."""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

import numpy.typing as npt
from numpy.lib import format as npy

Array = npt.NDArray[Any]
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def from_npy(data: bytes) -> Array:
    """The array of an `.npy` file: numbers, as many as its header says.

    Raises:
        ValueError: it is no such file, or its header contradicts its size.
    """
    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"version {version}")
        shape, _, dtype = _HEADERS[version](stream)
    except Exception as error:  # noqa: BLE001 - the header is a Python literal, and fails in many ways
        raise ValueError(f"no array of numpy: {error}") from None
    if dtype.kind not in "biuf" or len(shape) > 8 or any(size < 0 for size in shape):
        raise ValueError(f"need an array of numbers, got {dtype} {list(shape)[:9]}")
    if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ValueError(f"the array {dtype} {list(shape)} does not have {len(data) - stream.tell()} bytes")
    stream.seek(0)
    array: Array = npy.read_array(stream, allow_pickle=False)
    return array


def from_npz(data: bytes) -> dict[str, Array]:
    """The arrays of an `.npz` file as `numpy.savez` writes it: not compressed, so that it cannot grow.

    Raises:
        ValueError: it is no such file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ValueError("holds compressed arrays")
            if sum(member.file_size for member in members) > len(data):
                raise ValueError("claims to hold more than it has")
            return {member.filename.removesuffix(".npy"): from_npy(archive.read(member)) for member in members}
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"no archive of numpy arrays: {error}") from None
