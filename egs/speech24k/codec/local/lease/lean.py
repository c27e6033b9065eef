"""Lean states on their way back: split into files small enough, there whole or not at all, and put together again.

`OUT/state-00001234/` holds `part-0`, `part-1`, ... (the files of a lean state, one after the other) and `state.json`: which
files, with sizes and checksums. It is written three folders down, where nothing comes back from, and moved: a job that is
killed at any moment leaves the last one whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import LeaseError, in_mib

NOTES = "state.json"
MODEL, DISCRIMINATORS = "model.safetensors", "discriminators.safetensors"
COMING = "discriminators.next.safetensors"  # the trainer's, until the model that they belong to is in its place
BELONGS_TO = "model_sha256"  # in the header of the discriminators
STAGING = Path("new") / "a" / "b"


@dataclass(frozen=True)
class Returned:
    """A state as it came back.

    Attributes:
        folder: where.
        notes: its `state.json`.
    """

    folder: Path
    notes: dict[str, Any]

    @property
    def step(self) -> int:
        """Updates it has behind it."""
        return int(self.notes["step"])


def send(state: Path, out: Path, pack: str, file_bytes: int) -> Path | None:
    """Put the lean state of a run into `out`, in place of an older one.

    Args:
        state: folder with the model and, if there are any, the discriminators; a trainer may be replacing them.
        out: the folder whose files come back.
        pack: id of the pack it was made from.
        file_bytes: what a file may have.

    Returns:
        Its folder; None where there is no pair that belongs together just now.

    Raises:
        LeaseError: the model file is damaged.
    """
    contents = _pair(state)
    if not contents:
        return None
    step = _step(contents[MODEL], state / MODEL)
    name = f"state-{step:08d}"
    if (out / name).exists():
        return out / name
    staged = out / STAGING / name
    shutil.rmtree(out / STAGING, ignore_errors=True)
    staged.mkdir(parents=True)
    together = b"".join(contents.values())
    parts = []
    for number, first in enumerate(range(0, len(together), file_bytes)):
        part = together[first : first + file_bytes]
        (staged / f"part-{number}").write_bytes(part)
        parts.append(_described(f"part-{number}", part))
    files = [_described(file, content) for file, content in contents.items()]
    (staged / NOTES).write_text(json.dumps({"pack": pack, "step": step, "files": files, "parts": parts}, indent=1))
    os.rename(staged, out / name)
    for old in out.glob("state-*"):
        if old.name != name:
            os.rename(old, out / STAGING / old.name)
    shutil.rmtree(out / STAGING.parts[0], ignore_errors=True)
    return out / name


def newest(folders: Sequence[Path]) -> Returned:
    """The last whole state in what came back.

    Args:
        folders: what calls brought back, or single states, in the order of the calls; of several states in one folder the one
            with the most updates counts.

    Raises:
        LeaseError: none is whole; says what is wrong with each.
    """
    problems = []
    for folder in reversed(folders):
        if not folder.is_dir():
            raise LeaseError(f"{folder}: no such folder")
        places = [path.parent for path in folder.rglob(f"state-*/{NOTES}") if STAGING.parts[0] not in path.parts]
        places = sorted(places, reverse=True) + ([folder] if (folder / NOTES).is_file() else [])
        for place in places:
            try:
                notes = json.loads((place / NOTES).read_text())
                _check(place, notes)
                return Returned(place, notes)
            except (LeaseError, OSError, ValueError, KeyError, TypeError) as error:
                problems.append(str(error) if isinstance(error, LeaseError) else f"{place}: damaged: {error!r}")
        if not places:
            problems.append(f"{folder}: nothing named state-*/{NOTES}")
    raise LeaseError(f"no whole state came back: {'; '.join(problems)}")


def join(state: Returned, into: Path) -> list[Path]:
    """Write the files of a state to a folder; their paths."""
    together = b"".join((state.folder / part["name"]).read_bytes() for part in state.notes["parts"])
    made, first = [], 0
    for file in state.notes["files"]:
        content = together[first : first + file["bytes"]]
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise LeaseError(f"{state.folder}: {file['name']}: the parts do not make what {NOTES} says")
        (into / file["name"]).write_bytes(content)
        made.append(into / file["name"])
        first += file["bytes"]
    return made


def _pair(state: Path) -> dict[str, bytes]:
    """Model and discriminators that were written together; empty while the trainer is between the two."""
    try:
        model = (state / MODEL).read_bytes()
        discriminators = [(state / name).read_bytes() for name in (DISCRIMINATORS, COMING) if (state / name).exists()]
    except FileNotFoundError:
        return {}
    if not discriminators:
        return {MODEL: model}
    owner = hashlib.sha256(model).hexdigest()
    ours = [
        content for content in discriminators if _metadata(content, state / DISCRIMINATORS).get(BELONGS_TO) == owner
    ]
    return {MODEL: model, DISCRIMINATORS: ours[0]} if ours else {}


def _step(model: bytes, path: Path) -> int:
    try:
        return int(json.loads(_metadata(model, path)["notes"])["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise LeaseError(f"{path}: its header does not say how many steps it has: {error!r}") from None


def _metadata(content: bytes, path: Path) -> dict[str, Any]:
    """The texts in the header of a safetensors file."""
    try:
        size = struct.unpack("<Q", content[:8])[0]
        return dict(json.loads(content[8 : 8 + size]).get("__metadata__", {}))
    except (ValueError, TypeError, AttributeError, struct.error) as error:
        raise LeaseError(f"{path}: is no safetensors file: {error!r}") from None


def _check(place: Path, notes: dict[str, Any]) -> None:
    if {file["name"] for file in notes["files"]} not in ({MODEL}, {MODEL, DISCRIMINATORS}):
        raise LeaseError(f"{place}: {NOTES} names other files than {MODEL} and {DISCRIMINATORS}")
    for part in notes["parts"]:
        path = place / part["name"]
        if path.parent != place or not path.is_file():
            raise LeaseError(f"{path}: did not come back")
        content = path.read_bytes()
        if len(content) != part["bytes"]:
            raise LeaseError(f"{path}: {in_mib(len(content))} of {in_mib(part['bytes'])} came back")
        if hashlib.sha256(content).hexdigest() != part["sha256"]:
            raise LeaseError(f"{path}: damaged on the way (its checksum is another)")


def _described(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
