"""Optional packages, imported when they are first used; an error names the extra that brings a missing one."""

from __future__ import annotations

from typing import Any

from audiocodec.errors import CorpusError
from audiocodec.installing import advice


def pyarrow() -> Any:
    """The module, with `parquet` loaded.

    Raises:
        CorpusError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise _missing("Parquet", error, "tokenize") from None
    return pyarrow


def fsspec() -> Any:
    """The module.

    Raises:
        CorpusError: it is not installed.
    """
    try:
        import fsspec
    except ImportError as error:
        raise _missing("an address with ://", error, "tokenize") from None
    return fsspec


def ray() -> Any:
    """The module.

    Raises:
        CorpusError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise _missing("--engine ray", error, "ray") from None
    return ray


def _missing(what: str, error: ImportError, extra: str) -> CorpusError:
    return CorpusError(f"{what} needs a package that is not installed ({error}); {advice(extra)}")
