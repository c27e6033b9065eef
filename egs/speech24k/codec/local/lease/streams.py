"""One stream of bytes as several files, to write and to read."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from common import STREAM, Part


class Splitter(io.RawIOBase):
    """A file to write to that becomes parts: `part-1`, `part-2`, ... of the sizes given, the last size for all further ones."""

    def __init__(self, out: Path, sizes: Sequence[int]) -> None:
        self._out, self._sizes = out, sizes
        self.parts: list[Part] = []
        self._open()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(cast(bytes, data)).cast("B")
        count = len(view)
        while len(view):
            taken, view = view[: self._room], view[self._room :]
            self._file.write(taken)
            self._sum.update(taken)
            self._room -= len(taken)
            if not self._room:
                self._end()
                self._open()
        return count

    def close(self) -> None:
        if not self.closed:
            self._end()
        super().close()

    def _open(self) -> None:
        number = len(self.parts)
        folder = self._out / f"part-{number + 1}"
        folder.mkdir()
        self._file, self._sum = io.FileIO(folder / STREAM, "wb"), hashlib.sha256()
        self._room = self._sizes[min(number, len(self._sizes) - 1)]

    def _end(self) -> None:
        self._file.close()
        folder = Path(self._file.name).parent
        size = (folder / STREAM).stat().st_size
        if size:
            self.parts.append(Part(folder.name, size, self._sum.hexdigest()))
        else:
            shutil.rmtree(folder)


class Joined(io.RawIOBase):
    """Files one after the other, to read."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = list(reversed(paths))
        self._file = io.FileIO(self._paths.pop())

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while True:
            count = self._file.readinto(buffer)
            if count or not self._paths:
                return count
            self._file.close()
            self._file = io.FileIO(self._paths.pop())

    def close(self) -> None:
        self._file.close()
        super().close()
