"""Webdataset tars: members `key.flac` (or another audio format), `key.json`, `key.txt`; read once, front to back.

Nothing is extracted to disk and nothing is unpickled: a sample with a pickled member is refused.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from itertools import islice
from typing import Any

from audiocodec.data.corpus import AUDIO_EXTENSIONS
from audiocodec.records import from_json
from audiocodec.tokenize import storage, tars
from audiocodec.tokenize.columns import OTHER, TEXTS, fits, renamed, settled, widen
from audiocodec.tokenize.sources.base import Files
from audiocodec.tokenize.utterance import Failure, Utterance

EXTENSIONS = (".tar", ".tar.gz", ".tgz")
_PICKLED = ("pyd", "pickle", "pkl", "pth", "pt")
_LOOKED_AT = 100  # samples of the first tar that decide which columns there are


def source(files: list[str]) -> Files:
    """Tars, each a shard; the columns are those of the first samples of the first tar, and `other` for the rest."""
    kinds: dict[str, str | None] = {OTHER: "string"}
    for sample in islice(read(files[0], None), _LOOKED_AT):
        if isinstance(sample, Utterance):
            widen(kinds, sample.columns)
    return Files("webdataset", files, settled(kinds))


def read(address: str, kinds: dict[str, str] | None) -> Iterator[Utterance | Failure]:
    """The samples of a tar, in order.

    Args:
        address: of the tar.
        kinds: types of the plan's columns; what fits none goes to `other`. None: all fields as they are.

    Yields:
        Utterances, and a failure for a sample without audio, with a pickle, or with damaged JSON; one for the tar where
        its rest cannot be read.
    """
    key = ""
    members: dict[str, bytes | None] = {}
    try:
        with storage.open_file(address) as raw:
            for tar, info in tars.members(raw):
                name, _, extension = _split(info.name)
                if name != key and members:
                    yield _sample(key, members, address, kinds)
                    members = {}
                key = name
                if info.isfile() and extension:
                    members[extension] = _content(tar, info, extension)
                elif not info.isdir():
                    members[extension] = None
        if members:
            yield _sample(key, members, address, kinds)
    except tars.ERRORS as error:
        yield Failure("", address, f"cannot be read after sample {key!r}: {error or type(error).__name__}")


def _split(name: str) -> tuple[str, str, str]:
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    return folder + slash + stem, dot, extension.lower()


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo, extension: str) -> bytes | None:
    if f".{extension}" not in AUDIO_EXTENSIONS and extension not in ("json", "txt"):
        return None
    return tars.content(tar, info)


def _sample(
    key: str, members: dict[str, bytes | None], address: str, kinds: dict[str, str] | None
) -> Utterance | Failure:
    pickled = [name for name in members if name.split(".")[-1] in _PICKLED]
    if pickled:
        return Failure(key, address, f"has a pickled member (.{pickled[0]}), which may run code: refused")
    audio = next((data for name, data in members.items() if f".{name}" in AUDIO_EXTENSIONS and data is not None), None)
    if audio is None:
        return Failure(key, address, f"has no audio, only {', '.join('.' + name for name in members)}")
    fields: dict[str, Any] = {}
    try:
        if (text := members.get("txt")) is not None:
            fields["text"] = text.decode().strip()
        if (described := members.get("json")) is not None:
            found = from_json(described, constants=True)
            fields |= found if isinstance(found, dict) else {"json": found}
    except ValueError as error:
        return Failure(key, address, f"its .json or .txt cannot be read: {error}")
    fields = renamed({name: value for name, value in fields.items() if name not in ("id", "__key__")})
    return Utterance(key, audio, f"{address}: {key}", columns=fields if kinds is None else _placed(fields, kinds))


def _placed(fields: dict[str, Any], kinds: dict[str, str]) -> dict[str, Any]:
    """Fields that have a column of their type, and all others as one object in `other`."""
    own = {
        name: value for name, value in fields.items() if name in TEXTS or (name in kinds and fits(value, kinds[name]))
    }
    rest = {name: value for name, value in fields.items() if name not in own}
    return {**own, **({OTHER: rest} if rest else {})}
