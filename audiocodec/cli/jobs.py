"""From what the user named (files, folders, `wav.scp`, `-`) to pairs of one input and one output.

All that can be refused before a model is loaded is refused here.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audiocodec.data.corpus import find_files, named
from audiocodec.data.excerpt import Excerpt
from audiocodec.data.manifest import LIST, read_scp
from audiocodec.data.pipes import audio_file, is_pipe
from audiocodec.errors import AudioCodecError, AudioError, ManifestError, UsageError

STREAM = "-"
_SHOWN = 5


@dataclass(frozen=True)
class Job:
    """One input (a path, a command ending in `|`, or `-`) and the output it becomes (a path or `-`)."""

    source: str
    target: str


@dataclass(frozen=True)
class Plan:
    """The jobs, and the inputs that are already known to be bad, with the reason."""

    jobs: list[Job]
    failed: list[tuple[str, str]]


def make_plan(
    inputs: Sequence[str],
    out: str | None,
    folder: str | None,
    extensions: Sequence[str],
    suffix: str,
    allow_pipes: bool = False,
) -> Plan:
    """Expand inputs and give each its output.

    Args:
        out: the output of the only input, or `-`.
        folder: outputs go here, the tree below an input folder is kept; without both, beside each input file.
        extensions: the files of a folder that count.
        suffix: extension of the outputs.

    Raises:
        UsageError: a combination that has no meaning.
    """
    if out is not None:
        return Plan([Job(_single(inputs), _checked_out(out))], [])
    jobs: list[Job] = []
    failed: list[tuple[str, str]] = []
    for name in inputs:
        try:
            jobs += _expand(name, folder, extensions, suffix, allow_pipes)
        except (ManifestError, AudioError) as error:
            failed.append((name, str(error)))
    failed += [(job.source, "a NUL byte is in no file's name") for job in jobs if "\0" in job.source + job.target]
    alone, clashing = _by_target([job for job in jobs if "\0" not in job.source + job.target])
    return Plan(alone, failed + clashing)


def refuse_existing(jobs: Sequence[Job]) -> None:
    """Raise UsageError naming --force when an output is there already."""
    there = [job.target for job in jobs if job.target != STREAM and os.path.isfile(job.target)]
    if there:
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        verb = "exists" if len(there) == 1 else "exist"
        raise UsageError(
            f"{', '.join(there[:_SHOWN])}{more} already {verb}; --force overwrites, --resume keeps what is finished"
        )


@contextmanager
def local_file(source: str, allow_pipes: bool) -> Iterator[str]:
    """A regular file with what `source` holds: stdin, named pipes and commands are spooled to a temporary file."""
    if is_pipe(source) or isinstance(source, Excerpt):
        with audio_file(source, allow_pipes) as path, _renamed(path, source):
            yield path
    elif source == STREAM or _is_fifo(source):
        with tempfile.NamedTemporaryFile(prefix="audiocodec-") as spool:
            if source == STREAM:
                shutil.copyfileobj(sys.stdin.buffer, spool)
            else:
                with open(source, "rb") as stream:
                    shutil.copyfileobj(stream, spool)
            spool.flush()
            with _renamed(spool.name, "<stdin>" if source == STREAM else source):
                yield spool.name
    else:
        yield source


def _single(inputs: Sequence[str]) -> str:
    if len(inputs) > 1:
        raise UsageError(f"-o names one output but there are {len(inputs)} inputs; use -d for a folder of outputs")
    if os.path.isdir(inputs[0]) or inputs[0].endswith(".scp"):
        raise UsageError(f"{inputs[0]} stands for several inputs; use -d for a folder of outputs")
    return inputs[0]


def _checked_out(out: str) -> str:
    if out == STREAM:
        if sys.stdout.isatty():
            raise UsageError("will not write binary data to a terminal; redirect stdout or name a file with -o")
    elif os.path.isdir(out):
        raise UsageError(f"{out} is a folder; use -d for a folder of outputs")
    elif not os.path.isdir(os.path.dirname(out) or "."):
        raise UsageError(f"{out}: the folder {os.path.dirname(out)} does not exist")
    return out


def _expand(name: str, folder: str | None, extensions: Sequence[str], suffix: str, allow_pipes: bool) -> list[Job]:
    if name == STREAM:
        if folder is not None:
            raise UsageError("stdin has no name to give its output in a folder; use -o")
        return [Job(name, _checked_out(STREAM))]
    if os.path.isfile(os.path.join(name, LIST)):  # a data folder: what its list names is what counts
        name = os.path.join(name, LIST)
    if os.path.isdir(name):
        if folder is None:
            raise UsageError(f"{name} is a folder: say with -d where the outputs go")
        found = find_files(name, extensions)
        if not found:
            raise AudioError(f"{name}: holds no {named(extensions)} files")
        return [Job(os.path.join(name, path), _in_folder(folder, os.path.splitext(path)[0] + suffix)) for path in found]
    if name.endswith(".scp"):
        if folder is None:
            raise UsageError(f"{name} is a list: say with -d where the outputs go")
        return [Job(path, _in_folder(folder, key + suffix)) for key, path in read_scp(name, allow_pipes)]
    if not os.path.exists(name):
        raise AudioError(f"{name}: No such file or directory")
    if folder is not None:
        return [Job(name, _in_folder(folder, Path(name).stem + suffix))]
    return [Job(name, str(Path(name).with_suffix(suffix)))]


def _in_folder(folder: str, name: str) -> str:
    target = os.path.join(folder, name)
    if not os.path.abspath(target).startswith(os.path.join(os.path.abspath(folder), "")):
        raise ManifestError(f"{name}: leads out of the folder {folder}")
    return target


def _by_target(jobs: Sequence[Job]) -> tuple[list[Job], list[tuple[str, str]]]:
    """Jobs that have their output for themselves, and the others as failures: none of them may win."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(STREAM if job.target == STREAM else os.path.abspath(job.target), []).append(job)
    alone = [group[0] for group in groups.values() if len(group) == 1]
    clashing = [
        (job.source, f"{' and '.join(other.source for other in group)} would all become {job.target}")
        for group in groups.values()
        if len(group) > 1
        for job in group
    ]
    return alone, clashing


def refuse_overwritten_inputs(jobs: Sequence[Job]) -> None:
    """Raise UsageError when an output is one of the inputs, which --force would destroy."""
    sources = {os.path.realpath(job.source) for job in jobs if job.source != STREAM}
    for job in jobs:
        if job.target != STREAM and os.path.realpath(job.target) in sources:
            raise UsageError(f"{job.target} is an input as well as an output")


def _is_fifo(source: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(source).st_mode)
    except OSError:
        return False


@contextmanager
def _renamed(path: str, name: str) -> Iterator[None]:
    """Errors about the temporary file speak of what the user named."""
    try:
        yield
    except AudioCodecError as error:
        raise type(error)(str(error).replace(path, name)) from None
