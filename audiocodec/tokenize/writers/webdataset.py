"""Webdataset tars: `KEY.codes.npy` (int32 or uint16 [K, T]) and `KEY.json`, KEY being a number, never an utterance's id."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from types import TracebackType
from typing import Any, final

import numpy as np

from audiocodec.tokenize.plan import ModelFacts


@final
class WebdatasetRows:
    """Writes rows to one tar; the same rows give the same bytes."""

    def __init__(self, path: Path, model: ModelFacts, prefix: str = "") -> None:
        """Open the tar.

        Args:
            path: written from the beginning.
            model: what encoded: its codebooks decide the type of the codes.
            prefix: of the keys, so that they differ between tars.
        """
        self._tar = tarfile.TarFile(path, "w", format=tarfile.USTAR_FORMAT)
        self._type = np.uint16 if max(model.codebook_sizes) <= 2**16 else np.int32
        self._prefix, self._count = prefix, 0

    def __enter__(self) -> WebdatasetRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tar.close()

    def write(self, row: dict[str, Any]) -> None:
        """Add a row, as `rows.row_of` gives it."""
        key = f"{self._prefix}{self._count:07d}"
        array = io.BytesIO()
        np.save(array, row["codes"].astype(self._type), allow_pickle=False)
        said = {name: value for name, value in row.items() if name != "codes" and value is not None}
        self._add(f"{key}.codes.npy", array.getvalue())
        self._add(f"{key}.json", json.dumps(said, ensure_ascii=False).encode())
        self._count += 1

    def _add(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        self._tar.addfile(info, io.BytesIO(data))
