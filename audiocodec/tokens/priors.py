"""Where priors are found: in the package, beside a model that was fetched from a hub, or where the user says."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from audiocodec import hub
from audiocodec.errors import PriorError
from audiocodec.records import from_json
from audiocodec.tokens.prior import Prior

PRIOR_FILE = hub.PRIOR_FILE
ENVIRONMENT = "AUDIOCODEC_PRIORS"  # files and folders, separated as in PATH
_PACKAGED = Path(__file__).parents[1] / "pretrained"


def find(fingerprint: bytes, source: str) -> Prior:
    """The prior of that fingerprint.

    Args:
        fingerprint: 8 bytes.
        source: file that needs it, for the message.

    Raises:
        PriorError: it is not at hand.
    """
    for path in _places():
        if _stated(path, "fingerprint") == fingerprint.hex():
            return _loaded(str(path))
    raise PriorError(
        f"{source}: is compressed by prior {fingerprint.hex()}, which is not at hand; name its file or folder in {ENVIRONMENT}"
    )


def of_codec(fingerprint: bytes) -> Prior:
    """A prior of the codec of that fingerprint: the first that is found.

    Raises:
        PriorError: there is none, or it is damaged.
    """
    prior = at_hand(fingerprint)
    if prior is None:
        raise PriorError(
            f"no prior of model {fingerprint.hex()} is at hand; audiocodec prior trains one, {ENVIRONMENT} names its file"
        )
    return prior


def at_hand(fingerprint: bytes) -> Prior | None:
    """As `of_codec`; None: there is none.

    Raises:
        PriorError: it is damaged.
    """
    for path in _places():
        if _stated_codec(path) == fingerprint.hex():
            return _loaded(str(path))
    return None


def _places() -> Iterator[Path]:
    given = [Path(place) for place in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if place]
    for place in given:
        yield from sorted(place.glob("**/*prior*.safetensors")) if place.is_dir() else [place]
    yield from sorted(_PACKAGED.glob(f"*/{PRIOR_FILE}"))
    yield from hub.cached(PRIOR_FILE)


@lru_cache(maxsize=4)
def _loaded(path: str) -> Prior:
    return Prior.load(path)


def _stated_codec(path: Path) -> str | None:
    """The codec of a prior, as its file says."""
    try:
        found = from_json(_stated(path, "config") or "null")
    except ValueError:
        return None
    return found.get("codec") if isinstance(found, dict) else None


def _stated(path: Path, key: str) -> str | None:
    """An entry of a file's metadata, without its tensors; None: there is none."""
    try:
        with open(path, "rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            found = json.loads(file.read(min(size, 1 << 20)))["__metadata__"].get(key)
    except (OSError, ValueError, KeyError, struct.error, RecursionError, AttributeError):
        return None
    return found if isinstance(found, str) else None
