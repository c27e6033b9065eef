"""`pack.py`: everything that a lease needs, in parts small enough to travel beside the checkout.

`OUT/base/` travels with the first call: the configuration, readers of audio as wheels, some clips to try things on and the
packing list. `OUT/part-<n>/` are stretches of one tar: audio under short names, data folders with all that lies in them, and
the weights to begin with.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import cast

from common import MIB, STREAM, LeaseError, Pack, Part, bytes_below, exit_status, in_mib, need_space, sha256_of
from lean import BELONGS_TO, JUDGES, MODEL
from tree import heavy, travelling

from audiocodec.config.load import dump_config, load_config
from audiocodec.config.schema import Config
from audiocodec.data.manifest import FILES, Utterance, read_folder
from audiocodec.errors import AudioCodecError

SLACK = 256 << 10  # for what an archive of the files takes beside them
SMOKE_CLIPS = 12
READERS = ("soundfile", "cffi", "pycparser", "soxr")
GLIBC = ("2_28", "2_27", "2_17")  # of the wheels that the card's machine can use


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


def make(args: argparse.Namespace) -> int:
    """Make the pack in `args.out`, whole or not at all."""
    config = load_config(args.config, args.set)
    _refuse_scores(config)
    out = Path(args.out)
    sets = {name: read_folder(folder) for name, folder in (("train", args.train), ("valid", args.valid))}
    room = _room(Path(args.tree), args.leave_out.split(), args.call_mib)
    made = out.with_name(f"{out.name}.tmp")
    shutil.rmtree(made, ignore_errors=True)
    try:
        base = made / "base"
        base.mkdir(parents=True)
        audio = sum(Path(u.path).stat().st_size for clips in sets.values() for u in clips)
        need_space(made, audio + 128 * MIB)
        _fill_base(base, config, sets, args)
        start = _start(args.init_from, config, made)
        first = room - bytes_below(base)
        if first < MIB:
            raise LeaseError(
                f"{in_mib(room)} are left beside the tree, too little for {in_mib(room - first)} of {base.name}/"
            )
        pack = _write_parts(made, [first, room], sets, args, start)
        pack.write(base)
        shutil.rmtree(out, ignore_errors=True)
        made.rename(out)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    print(
        f"{out}: {pack.summary}; {len(pack.parts)} parts, {in_mib(sum(part.bytes for part in pack.parts))}",
        file=sys.stderr,
    )
    return 0


def _room(tree: Path, left_out: Sequence[str], call_mib: float) -> int:
    """Bytes that a call may carry beside the checkout without the files that will be left out of it."""
    sizes = travelling(tree)
    for path in [path for path in sizes if any(fnmatch(str(path), pattern) for pattern in left_out)]:
        del sizes[path]
    total = sum(sizes.values())
    room = int(call_mib * MIB) - total - SLACK
    if room < MIB:
        raise LeaseError(
            f"{tree}: the files that travel weigh {in_mib(total)}, a call carries {call_mib:g} MiB; leave out what the job "
            f"does not need (--leave-out): {heavy(sizes)}"
        )
    without = f" without {' '.join(left_out)}" if left_out else ""
    print(f"the checkout weighs {in_mib(total)}{without}; {in_mib(room)} of a call are left", file=sys.stderr)
    return room


def _refuse_scores(config: Config) -> None:
    if config.train.valid_scores:
        names = ", ".join(config.train.valid_scores)
        raise LeaseError(f"train.valid_scores: {names}: cannot be computed there; --set 'train.valid_scores=[]'")


def _fill_base(base: Path, config: Config, sets: dict[str, list[Utterance]], args: argparse.Namespace) -> None:
    (base / "config.yaml").write_text(dump_config(config))
    _get_wheels(base / "wheels", args)
    by_length = sorted(sets["train"], key=lambda u: Path(u.path).stat().st_size)
    clips = by_length[:: max(1, len(by_length) // SMOKE_CLIPS)][-SMOKE_CLIPS:]
    names = {u.id: f"smoke/{number}{Path(u.path).suffix}" for number, u in enumerate(clips)}
    (base / "smoke").mkdir()
    for u in clips:
        shutil.copyfile(u.path, base / names[u.id])
    _write_tables(
        base / "data", sorted(clips, key=lambda u: u.id.encode()), {key: f"base/{name}" for key, name in names.items()}
    )


def _get_wheels(folder: Path, args: argparse.Namespace) -> None:
    """Readers of audio for the card's Python: those of a folder, or from the package index."""
    if args.wheels:
        shutil.copytree(
            args.wheels, folder, ignore=lambda _, names: {name for name in names if not name.endswith(".whl")}
        )
    else:
        words = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            folder,
        ]
        words += ["--python-version", args.python_version, "--implementation", "cp"]
        words += [word for glibc in GLIBC for word in ("--platform", f"manylinux_{glibc}_x86_64")]
        words += ["--platform", "manylinux2014_x86_64", "--constraint", Path(args.tree) / "constraints.txt", *READERS]
        if subprocess.run(words, stdout=sys.stderr, check=False).returncode:
            raise LeaseError(
                f"no wheels of {', '.join(READERS)} for Python {args.python_version}; --wheels takes a folder of them"
            )
    lacking = [name for name in READERS if not list(folder.glob(f"{name}-*.whl"))]
    if lacking:
        raise LeaseError(f"{args.wheels or folder}: has no wheel of {', '.join(lacking)}")


def _start(source: str, config: Config, made: Path) -> list[Path]:
    """The weights to begin with as 16 bits, and discriminators that come with them; says what of them fits."""
    if not source:
        return []
    from safetensors.torch import load_file, save_file

    from audiocodec import checkpoint
    from audiocodec.build import build_codec
    from audiocodec.training.initial import take_codec
    from audiocodec.training.lean import discriminators_beside

    path, folder = checkpoint.resolve(source), made / "start"
    taken, _ = take_codec(build_codec(config), config, path)
    print(f"{path}: {'; '.join(taken.lines())}", file=sys.stderr)
    folder.mkdir()
    described = checkpoint.describe(path)
    checkpoint.save(
        checkpoint.load(path), checkpoint.config_of(described), folder / MODEL, half=True, notes=described["notes"]
    )
    if judges := discriminators_beside(path):
        halves = {name: t.half() if t.is_floating_point() else t for name, t in load_file(judges).items()}
        save_file(halves, folder / JUDGES, {BELONGS_TO: sha256_of(folder / MODEL)})
    return sorted(folder.iterdir())


def _write_parts(
    made: Path, sizes: Sequence[int], sets: dict[str, list[Utterance]], args: argparse.Namespace, start: Sequence[Path]
) -> Pack:
    tables = made / "tables"
    with Splitter(made, sizes) as splitter, tarfile.open(fileobj=splitter, mode="w|", bufsize=MIB) as tar:
        for path in start:
            tar.add(path, f"start/{path.name}")
        for name, clips in sets.items():
            names = {u.id: f"audio/{name}-{number:05d}{Path(u.path).suffix}" for number, u in enumerate(clips)}
            _write_tables(tables / name, clips, names)
            extras = [
                path
                for path in sorted(Path(getattr(args, name)).iterdir())
                if path.is_file() and path.name not in FILES
            ]
            for path in [*sorted((tables / name).iterdir()), *extras]:
                tar.add(path, f"data/{name}/{path.name}")
            for u in clips:
                tar.add(Path(u.path).resolve(), names[u.id])
    shutil.rmtree(tables)
    shutil.rmtree(made / "start", ignore_errors=True)
    unpacked = sum(part.bytes for part in splitter.parts)
    summary = f"{len(sets['train'])} clips to train on, {len(sets['valid'])} to validate on, "
    summary += f"begins with {args.init_from}" if start else "begins with random weights"
    digest = hashlib.sha256("".join(part.sha256 for part in splitter.parts).encode())
    digest.update((made / "base" / "config.yaml").read_bytes())
    return Pack(digest.hexdigest()[:12], args.call_mib, unpacked, summary, splitter.parts)


def _write_tables(folder: Path, utterances: Sequence[Utterance], paths: dict[str, str]) -> None:
    """Tables of a data folder, in the order of `utterances`."""
    folder.mkdir(parents=True)
    columns = (
        [paths[u.id] for u in utterances],
        [u.speaker for u in utterances],
        [str(u.num_samples) for u in utterances],
    )
    for name, column in zip(FILES, columns):
        (folder / name).write_text("".join(f"{u.id} {value}\n" for u, value in zip(utterances, column)))


def main() -> int:
    """Read the arguments and pack."""
    parser = argparse.ArgumentParser()
    for name in ("--config", "--train", "--valid", "--out", "--tree"):
        parser.add_argument(name, required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--init-from", default="")
    parser.add_argument("--wheels", default="")
    parser.add_argument("--leave-out", default="")
    parser.add_argument("--python-version", required=True)
    parser.add_argument("--call-mib", type=float, required=True)
    args = parser.parse_args()
    try:
        return make(args)
    except AudioCodecError as error:
        raise LeaseError(str(error)) from error


if __name__ == "__main__":
    sys.exit(exit_status(main))
