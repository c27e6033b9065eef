"""Kaldi-style data folders: `wav.scp`, `utt2spk`, `utt2num_samples`.

One line per utterance, `id value`, sorted by bytes (LC_ALL=C). A path may hold spaces; relative ones are relative to
the working directory, as in Kaldi. `id command |` runs a shell command and is refused unless pipes are allowed.
`utt2num_samples` counts at the rate of the file. Ark offsets and `segments` are left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.audio import io
from audiocodec.errors import AudioError, ManifestError

AUDIO_EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3")
FILES = ("wav.scp", "utt2spk", "utt2num_samples")
_SHOWN = 10  # problems named in one error message

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Utterance:
    """One line of a data folder; `path` may be a command ending in `|`, `num_samples` is at the file's own rate."""

    id: str
    path: str
    speaker: str
    num_samples: int


@dataclass(frozen=True)
class Problem:
    """Something wrong with a data folder or an audio file: where, and what."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True)
class TooShort(Problem):
    """A recording left out because it is shorter than was asked for."""


def is_pipe(path: str) -> bool:
    """Whether a `wav.scp` value is a command whose output is the audio."""
    return path.endswith("|")


def read_scp(path: AnyPath, allow_pipes: bool = False) -> list[tuple[str, str]]:
    """Read a `wav.scp` alone.

    Returns:
        (id, path) in file order.

    Raises:
        ManifestError: unreadable, empty, malformed lines, duplicate ids, or pipes that are not allowed.
    """
    problems: list[Problem] = []
    pairs = _read_table(Path(path), problems)
    problems += _pipe_problems(Path(path), pairs, allow_pipes)
    if not problems and not pairs:
        problems.append(Problem(str(path), "has no utterances"))
    _raise(problems)
    return pairs


def list_scp(path: AnyPath, allow_pipes: bool = False) -> dict[str, list[str]]:
    """Read a `wav.scp` in which ids may be repeated: id -> its paths, in file order.

    Raises:
        ManifestError: as for `read_scp`, but for duplicate ids and where there is nothing.
    """
    problems: list[Problem] = []
    lines = _read_lines(Path(path), problems)
    problems += _pipe_problems(Path(path), [(key, value) for _, key, value in lines], allow_pipes)
    _raise(problems)
    found: dict[str, list[str]] = {}
    for _, key, value in lines:
        found.setdefault(key, []).append(value)
    return found


def read_folder(path: AnyPath, allow_pipes: bool = False) -> list[Utterance]:
    """Read a data folder; looks at its three tables, not at the audio.

    Returns:
        The utterances, in the order of `wav.scp`.

    Raises:
        ManifestError: naming every file and line that is wrong (the first ten).
    """
    utterances, problems = _read_tables(Path(path), allow_pipes)
    _raise(problems)
    return utterances


def write_folder(utterances: Iterable[Utterance], out_dir: AnyPath) -> bool:
    """Write the three tables, sorted by id; a table that would not change is not touched.

    Returns:
        Whether anything changed.

    Raises:
        ManifestError: an id or path that a line cannot hold, or equal ids.
    """
    rows = sorted(utterances, key=lambda u: os.fsencode(u.id))
    out = Path(out_dir)
    _raise(_unwritable(rows, out))
    out.mkdir(parents=True, exist_ok=True)
    values = ([u.path for u in rows], [u.speaker for u in rows], [str(u.num_samples) for u in rows])
    changed = [
        _replace_if_different(out / name, "".join(f"{u.id} {v}\n" for u, v in zip(rows, column)))
        for name, column in zip(FILES, values)
    ]
    return any(changed)


def make_folder(
    audio_root: AnyPath,
    out_dir: AnyPath,
    extensions: Sequence[str] = AUDIO_EXTENSIONS,
    speaker_level: int = 1,
    min_seconds: float = 0.0,
) -> tuple[list[Utterance], list[Problem]]:
    """Make a data folder from a tree of audio files.

    Args:
        audio_root: folder searched recursively; hidden files are left out.
        out_dir: data folder to write; a second run changes nothing.
        extensions: which names count as audio (the content decides how they are read).
        speaker_level: which folder below `audio_root` names the speaker (1 = the first); 0 or too deep: the utterance.
        min_seconds: shorter files are left out and listed.

    Returns:
        (utterances written, files left out with the reason).

    Raises:
        ManifestError: no readable audio at all, or names a table cannot hold.
    """
    root = Path(audio_root)
    files = find_files(root, extensions)
    utterances: list[Utterance] = []
    left_out: list[Problem] = []
    for name, utterance_id in _unique_ids(files).items():
        path = os.path.abspath(root / name)
        try:
            found = io.info(path)
        except AudioError as error:
            left_out.append(Problem(path, str(error).removeprefix(f"{path}: ")))
            continue
        if found.num_samples < min_seconds * found.sample_rate:
            left_out.append(TooShort(path, f"shorter than {min_seconds} s"))
            continue
        folders = name.split("/")[:-1]
        known = 1 <= speaker_level <= len(folders)
        speaker = _plain(folders[speaker_level - 1]) if known else utterance_id
        utterances.append(Utterance(utterance_id, path, speaker, found.num_samples))
    if not utterances:
        reason = (
            f"none of its {len(files)} audio files is usable" if files else f"holds no {', '.join(extensions)} files"
        )
        _raise([Problem(str(root), reason), *left_out])
    write_folder(utterances, out_dir)
    return sorted(utterances, key=lambda u: os.fsencode(u.id)), left_out


def find_files(root: AnyPath, extensions: Sequence[str]) -> list[str]:
    """Files below `root` by extension (any case), as relative paths with `/`, sorted by bytes; links are followed.

    Named pipes and devices are left out: whoever opened them would wait for ever. Links to nothing are listed.

    Raises:
        ManifestError: `root` is not a folder.
    """
    if not os.path.isdir(root):
        raise ManifestError(f"{root}: {'not a folder' if os.path.exists(root) else 'no such folder'}")
    found, seen = [], set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(folder, root)
        for name in names:
            path = os.path.join(folder, name)
            if os.path.exists(path) and not os.path.isfile(path):
                continue
            if os.path.splitext(name)[1].lower() in extensions and not name.startswith("."):
                found.append(name if inside == "." else f"{inside}/{name}".replace(os.sep, "/"))
    return sorted(found, key=os.fsencode)


def split(
    utterances: Sequence[Utterance], dev: float = 0.05, test: float = 0.05, by_speaker: bool = False
) -> dict[str, list[Utterance]]:
    """Divide utterances into train, dev and test by a hash of their id (or speaker).

    The same id falls on the same side in every run and, but for very small sets, whatever else is added: with three
    or more keys every part whose share is above 0 gets at least one.

    Args:
        dev, test: shares, 0 to 1.
        by_speaker: keep all of a speaker's utterances together.
    """
    keys = {u.speaker if by_speaker else u.id for u in utterances}
    ranked = sorted((_hash(key), key) for key in keys)
    room = len(ranked) >= 3
    num_test = max(sum(h < test for h, _ in ranked), int(room and test > 0))
    num_dev = max(sum(h < test + dev for h, _ in ranked) - num_test, int(room and dev > 0))
    names = ["test"] * num_test + ["dev"] * num_dev + ["train"] * len(ranked)
    side = {key: name for (_, key), name in zip(ranked, names)}
    parts: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for u in utterances:
        parts[side[u.speaker if by_speaker else u.id]].append(u)
    return parts


def validate(folder: AnyPath, deep: bool = False, allow_pipes: bool = False) -> list[Problem]:
    """Everything wrong with a data folder; empty when it is sound.

    Args:
        deep: decode every file to its end instead of reading headers only; finds cut files and NaN. Pipes are run
            only then.
    """
    base = Path(folder)
    utterances, problems = _read_tables(base, allow_pipes)
    for name in FILES:
        ids = [key for key, _ in _read_table(base / name, [])]
        for before, after in itertools.pairwise(ids):
            if os.fsencode(before) > os.fsencode(after):
                problems.append(Problem(str(base / name), f"not sorted (LC_ALL=C): {after} comes after {before}"))
                break
    for u in utterances:
        if not is_pipe(u.path) or (deep and allow_pipes):
            problems += _audio_problems(u, deep, allow_pipes)
    return problems


@contextlib.contextmanager
def audio_file(path: str, allow_pipes: bool = False) -> Iterator[str]:
    """The file behind a `wav.scp` value; a command's output is kept in a temporary file while the context is open.

    Raises:
        AudioError: the command failed.
        ManifestError: it is a command and pipes are not allowed.
    """
    if not is_pipe(path):
        yield path
        return
    if not allow_pipes:
        raise ManifestError(f"{path}: is a command; commands run only with --allow-pipes")
    with tempfile.NamedTemporaryFile(prefix="audiocodec-pipe-") as spool:
        done = subprocess.run(
            path[:-1], shell=True, check=False, stdin=subprocess.DEVNULL, stdout=spool, stderr=subprocess.PIPE
        )
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise AudioError(
                f"{path}: the command ended with status {done.returncode}{''.join(f' ({x})' for x in last)}"
            )
        yield spool.name


def _read_table(path: Path, problems: list[Problem]) -> list[tuple[str, str]]:
    """Pairs of one table; malformed lines and repeated ids are reported and left out."""
    pairs: dict[str, str] = {}
    for number, key, value in _read_lines(path, problems):
        if key in pairs:
            problems.append(Problem(f"{path}:{number}", f"duplicate id {key}"))
        else:
            pairs[key] = value
    return list(pairs.items())


def _read_lines(path: Path, problems: list[Problem]) -> list[tuple[int, str, str]]:
    """(line number, id, value) of one table; malformed lines are reported and left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        problems.append(Problem(str(path), error.strerror or str(error)))
        return []
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        key, _, value = line.strip().replace("\t", " ", 1).partition(" ")
        if value.strip():
            lines.append((number, key, value.strip()))
        else:
            problems.append(Problem(f"{path}:{number}", f"expected 'id value', got {line.strip()!r}"))
    return lines


def _read_tables(folder: Path, allow_pipes: bool) -> tuple[list[Utterance], list[Problem]]:
    if not folder.is_dir():
        return [], [Problem(str(folder), "no such folder")]
    problems: list[Problem] = []
    paths, speakers, lengths = (dict(_read_table(folder / name, problems)) for name in FILES)
    if not paths and not problems:
        return [], [Problem(str(folder / "wav.scp"), "has no utterances")]
    problems += _pipe_problems(folder / "wav.scp", paths.items(), allow_pipes)
    for name, table in (("utt2spk", speakers), ("utt2num_samples", lengths)):
        if (folder / name).is_file():
            problems += [Problem(str(folder / name), f"no entry for {key}") for key in paths if key not in table]
            problems += [Problem(str(folder / name), f"{key} is not in wav.scp") for key in table if key not in paths]
    utterances = []
    for key, path in paths.items():
        length = lengths.get(key, "0")
        if not length.isdecimal() or (key in lengths and int(length) == 0):
            problems.append(
                Problem(str(folder / "utt2num_samples"), f"{key}: expected a positive number, got {length!r}")
            )
            length = "0"
        utterances.append(Utterance(key, path, speakers.get(key, key), int(length)))
    return utterances, problems


def _pipe_problems(table: Path, pairs: Iterable[tuple[str, str]], allow_pipes: bool) -> list[Problem]:
    refused = "" if allow_pipes else "commands run only with --allow-pipes"
    return [
        Problem(str(table), f"{key} is a command ({path}); {refused}")
        for key, path in pairs
        if is_pipe(path) and refused
    ]


def _audio_problems(utterance: Utterance, deep: bool, allow_pipes: bool) -> list[Problem]:
    try:
        with audio_file(utterance.path, allow_pipes) as path:
            found = io.level(path).num_samples if deep else io.info(path).num_samples
    except (AudioError, ManifestError) as error:
        return [Problem(utterance.id, str(error))]
    if utterance.num_samples and found != utterance.num_samples:
        message = f"{utterance.path}: has {found} samples, utt2num_samples says {utterance.num_samples}"
        return [Problem(utterance.id, message)]
    return []


def _unwritable(rows: Sequence[Utterance], out: Path) -> list[Problem]:
    problems = [Problem(str(out), f"duplicate id {a.id}") for a, b in itertools.pairwise(rows) if a.id == b.id]
    for u in rows:
        if u.id.split() != [u.id] or u.speaker.split() != [u.speaker]:
            problems.append(Problem(str(out), f"an id cannot be empty or hold white space: {u.id!r}, {u.speaker!r}"))
        if u.path != u.path.strip() or "\n" in u.path:
            problems.append(Problem(u.path, "a name with a line break or white space at its ends does not fit wav.scp"))
    return problems


def _unique_ids(names: Sequence[str]) -> dict[str, str]:
    """Relative path -> id: the path with `/` as `-`; where two would be equal both get a hash of their path."""
    plain = {name: _plain(os.path.splitext(name)[0].replace("/", "-")) for name in names}
    count: dict[str, int] = {}
    for key in plain.values():
        count[key] = count.get(key, 0) + 1
    return {
        name: key if count[key] == 1 else f"{key}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
        for name, key in plain.items()
    }


def _plain(text: str) -> str:
    """Letters and digits of any script and `._-` stay, everything else becomes `_`."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in text)


def _hash(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(os.fsencode(key)).digest()[:6], "big") / (1 << 48)


def _replace_if_different(path: Path, text: str) -> bool:
    data = text.encode("utf-8", errors="surrogateescape")
    if path.is_file() and path.read_bytes() == data:
        return False
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _raise(problems: Sequence[Problem]) -> None:
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise ManifestError("\n".join([str(p) for p in problems[:_SHOWN]] + more))
