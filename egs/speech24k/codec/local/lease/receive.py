"""On the card's machine: parts come in, are checked, and become data folders, audio and weights.

`there/base`, `there/parts` as they came, `there/code` the package, `there/site` the readers of audio; then `there/audio`,
`there/data`, `there/start`. What came with an earlier call stays; the same part may come twice.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import time
import zipfile
from pathlib import Path

from common import LIST, MIB, STREAM, LeaseError, Pack, bytes_below, extract, in_mib, need_space, sha256_of
from streams import Joined

PACKAGE = Path(__file__).parents[5] / "audiocodec"
UNPACKED = "unpacked"  # a file with the id of the pack
BEGUN = "begun"
OTHER_SECONDS = 3600  # what was begun longer ago was another lease of the same machine
TRAINING_BYTES = 2 << 30  # checkpoints, logs and compiled code


def receive(there: Path, folders: list[Path]) -> int:
    """Take over what a call carried, and say what is still lacking.

    Raises:
        LeaseError: a part that is damaged, or of another pack; too little disk.
    """
    there.mkdir(parents=True, exist_ok=True)
    if not (there / BEGUN).exists() or not 0 <= time.monotonic() - begun(there) < OTHER_SECONDS:
        (there / BEGUN).write_text(str(time.monotonic()))
    for folder in folders:
        if not folder.is_dir():
            raise LeaseError(f"{folder}: did not come with the call; name it as carried")
        need_space(there, 2 * bytes_below(folder))
    bases = [folder for folder in folders if (folder / LIST).exists()]
    for folder in bases:
        _take_base(there, folder)
    pack = Pack.read(there / "base")
    parts = {part.name: part for part in pack.parts}
    for folder in (folder for folder in folders if folder not in bases):
        if folder.name not in parts:
            raise LeaseError(f"{folder}: the pack has no such part; it has {', '.join(parts)}")
        found, part = folder / STREAM, parts[folder.name]
        size = found.stat().st_size if found.is_file() else 0
        if size != part.bytes:
            raise LeaseError(f"{found}: {size} of {part.bytes} bytes came; send it again")
        if sha256_of(found) != part.sha256:
            raise LeaseError(
                f"{found}: damaged on the way, or of another pack (its checksum is another); send it again"
            )
        (there / "parts").mkdir(exist_ok=True)
        _move(folder, there / "parts" / folder.name)
    lacking = [part.name for part in pack.parts if not (there / "parts" / part.name / STREAM).exists()]
    got = len(pack.parts) - len(lacking)
    print(
        f"pack {pack.id}: {got} of {len(pack.parts)} parts are there"
        + (f"; lacking: {' '.join(lacking)}" if lacking else "")
    )
    return 0


def begun(there: Path) -> float:
    """When the first command ran here, on the clock that runs since the machine started."""
    return float((there / BEGUN).read_text())


def unpack(there: Path, pack: Pack) -> None:
    """Unpack the parts, once.

    Raises:
        LeaseError: one lacks, or the disk has no room.
    """
    mark = there / UNPACKED
    if mark.exists() and mark.read_text() == pack.id:
        return
    streams = [there / "parts" / part.name / STREAM for part in pack.parts]
    lacking = [path.parent.name for path in streams if not path.exists()]
    if lacking:
        raise LeaseError(f"{there}: {' '.join(lacking)} did not come; send what lacks, then call again")
    need_space(there, pack.unpacked_bytes + TRAINING_BYTES)
    for name in ("audio", "data", "start", "exp"):
        shutil.rmtree(there / name, ignore_errors=True)
    with io.BufferedReader(Joined(streams), MIB) as joined, tarfile.open(fileobj=joined, mode="r|") as tar:
        extract(tar, there)
    mark.write_text(pack.id)
    print(f"pack {pack.id}: unpacked {in_mib(pack.unpacked_bytes)}: {pack.summary}")


def environment(there: Path) -> dict[str, str]:
    """Variables of the programs that the job starts."""
    path = os.pathsep.join([str(there / "code"), str(there / "site")])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(there / "compiled"),
    }


def _take_base(there: Path, folder: Path) -> None:
    """The base, the package as it is in this call's tree, and the wheels, unpacked; parts of another pack go."""
    if (there / "base" / LIST).exists() and Pack.read(there / "base").id != Pack.read(folder).id:
        shutil.rmtree(there / "parts", ignore_errors=True)
    _move(folder, there / "base")
    for name in ("code", "site"):
        shutil.rmtree(there / name, ignore_errors=True)
    shutil.copytree(
        PACKAGE, there / "code" / "audiocodec", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
    )
    for wheel in sorted((there / "base" / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(there / "site")


def _move(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(source, target)
