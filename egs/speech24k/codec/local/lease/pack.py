"""`pack.py`: everything that a lease needs, in parts small enough to travel beside the checkout.

`OUT/base/` travels with the first call: the configurations of the runs, readers of audio as wheels, some clips to try things on and the
packing list. `OUT/part-<n>/` are stretches of one tar: audio under short names, data folders with all that lies in them, and
the weights to begin with.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from common import FIRST, MIB, THEN, LeaseError, Pack, bytes_below, exit_status, in_mib, need_space, runs
from contents import get_wheels, make_start, refuse_scores
from streams import Splitter
from tree import heavy, travelling

from audiocodec import model_places
from audiocodec.config.load import dump_config, load_config
from audiocodec.config.schema import Config
from audiocodec.data import pitch
from audiocodec.data.manifest import FILES, Utterance, read_folder, write_folder
from audiocodec.errors import AudioCodecError

SLACK = 256 << 10  # for what an archive of the files takes beside them
ROOM = 128 * MIB  # of disk beside the audio
SMOKE_CLIPS = 12

Sets = dict[str, list[Utterance]]


def make(args: argparse.Namespace) -> None:
    """Make the pack in `args.out`, whole or not at all.

    Raises:
        LeaseError, AudioCodecError: something is wrong with what is to be packed, or does not fit.
    """
    configs = {name: load_config(path, args.set) for name, path in ((FIRST, args.config), (THEN, args.then)) if path}
    for config in configs.values():
        refuse_scores(config)
    if args.init_from:
        model_places.resolve(args.init_from)
    folders = {"train": Path(args.train), "valid": Path(args.valid)}
    sets = {name: read_folder(folder) for name, folder in folders.items()}
    room, out = _room(Path(args.tree), args.leave_out.split(), args.call_mib), Path(args.out)
    if any(config.model.decoder.kind == "voiced" for config in configs.values()):
        pitch.tracks(folders["train"], sets["train"])  # what lacks is found here: there it cannot be
    made = out.with_name(f"{out.name}.tmp")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        need_space(made, ROOM + sum(Path(u.path).stat().st_size for clips in sets.values() for u in clips))
        base = made / "base"
        _fill_base(base, configs, sets["train"], folders["train"])
        get_wheels(base / "wheels", args.wheels, args.python_version, Path(args.tree) / "constraints.txt")
        if args.init_from:
            make_start(args.init_from, configs[FIRST], made / "start")
        first = room - bytes_below(base)
        if first < MIB:
            raise LeaseError(f"{base.name}/ has {in_mib(room - first)}, too much for the {in_mib(room)} left in a call")
        pack = _write_parts(made, [first, room], sets, folders, args)
        pack.write(base)
        shutil.rmtree(out, ignore_errors=True)
        made.rename(out)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    size = in_mib(sum(part.bytes for part in pack.parts))
    print(f"{out}: {pack.summary}; {len(pack.parts)} parts, {size}", file=sys.stderr)


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


def _fill_base(base: Path, configs: dict[str, Config], utterances: Sequence[Utterance], folder: Path) -> None:
    """The configurations, and a data folder of clips of all lengths."""
    base.mkdir()
    for name, config in configs.items():
        (base / f"{name}.yaml").write_text(dump_config(config))
    by_size = sorted(utterances, key=lambda u: Path(u.path).stat().st_size)
    clips = by_size[:: max(1, len(by_size) // SMOKE_CLIPS)][-SMOKE_CLIPS:]
    moved = _renamed(clips, "base/smoke/")
    (base / "smoke").mkdir()
    for there, here in zip(moved, clips):
        shutil.copyfile(here.path, base.parent / there.path)
    write_folder(moved, base / "data")
    for extra in _extras(folder):
        shutil.copyfile(extra, base / "data" / extra.name)


def _write_parts(
    made: Path, sizes: Sequence[int], sets: Sets, folders: dict[str, Path], args: argparse.Namespace
) -> Pack:
    """The tar, in parts; weights and tables first."""
    with Splitter(made, sizes) as splitter, tarfile.open(fileobj=splitter, mode="w|", bufsize=MIB) as tar:
        if args.init_from:
            tar.add(made / "start", "start")
            shutil.rmtree(made / "start")
        moved = {name: _renamed(clips, f"audio/{name}-") for name, clips in sets.items()}
        for name, clips in moved.items():
            write_folder(clips, made / "data" / name)
            for path in (*sorted((made / "data" / name).iterdir()), *_extras(folders[name])):
                tar.add(path.resolve(), f"data/{name}/{path.name}")
        shutil.rmtree(made / "data")
        for name, clips in moved.items():
            for there, here in zip(clips, sets[name]):
                tar.add(Path(here.path).resolve(), there.path)
    summary = f"{len(sets['train'])} clips to train on, {len(sets['valid'])} to validate on, begins with "
    summary += args.init_from or "random weights"
    digest = hashlib.sha256(b"".join((made / "base" / f"{name}.yaml").read_bytes() for name in runs(made / "base")))
    digest.update("".join(part.sha256 for part in splitter.parts).encode())
    unpacked = sum(part.bytes for part in splitter.parts)
    return Pack(digest.hexdigest()[:12], args.call_mib, unpacked, summary, splitter.parts)


def _renamed(utterances: Sequence[Utterance], prefix: str) -> list[Utterance]:
    """The same with short paths that any archive holds."""
    return [replace(u, path=f"{prefix}{number:05d}{Path(u.path).suffix}") for number, u in enumerate(utterances)]


def _extras(folder: Path) -> list[Path]:
    """What lies in a data folder besides its tables: pitch, say."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and path.name not in FILES]


def main() -> int:
    """Read the arguments and pack; the exit status."""
    parser = argparse.ArgumentParser()
    for name in ("--config", "--train", "--valid", "--out", "--tree", "--python-version"):
        parser.add_argument(name, required=True)
    for name in ("--then", "--init-from", "--wheels", "--leave-out"):
        parser.add_argument(name, default="")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--call-mib", type=float, required=True)
    args = parser.parse_args()
    try:
        make(args)
    except AudioCodecError as error:
        raise LeaseError(str(error)) from error
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
