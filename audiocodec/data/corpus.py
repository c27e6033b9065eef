"""A tree of audio files as a data folder, and its parts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from audiocodec.data.manifest import LIST, AnyPath, Utterance, read_scp, write_folder
from audiocodec.data.pipes import info
from audiocodec.data.tables import Problem, read_table, refuse
from audiocodec.errors import AudioError, ManifestError

# What counts as audio in a folder. Each of these files is read, or named as one that cannot be read.
_READ = ".wav .flac .ogg .opus .mp3 .aiff .aif .aifc .au .snd .caf .w64 .rf64 .bwf .wave .oga .mp1 .mp2 .sph .nist"
_WITH_FFMPEG = (
    ".m4a .m4b .mp4 .mov .3gp .webm .mka .mkv .wma .asf .aac .amr .gsm .ac3 .eac3 .ape .wv .tta .mpc .ra .rm .avi .spx"
)
_NOT_READ = ".voc .dts .mpg .mpeg .raw .pcm .vox .sf .paf"
AUDIO_EXTENSIONS = (*_READ.split(), *_WITH_FFMPEG.split(), *_NOT_READ.split())
_SHOWN = 5


@dataclass(frozen=True)
class TooShort(Problem):
    """A recording left out because it is shorter than was asked for."""


def make_folder(
    audio_root: AnyPath,
    out_dir: AnyPath,
    extensions: Sequence[str] = AUDIO_EXTENSIONS,
    speaker_level: int = 1,
    min_seconds: float = 0.0,
    allow_pipes: bool = False,
) -> tuple[list[Utterance], list[Problem]]:
    """Make a data folder from a tree of audio files, or from a list of them.

    Args:
        audio_root: folder searched recursively, hidden files left out; or a `wav.scp`, or a folder that has one.
        out_dir: data folder to write; a second run changes nothing.
        extensions: which names count as audio (the content decides how they are read).
        speaker_level: which folder below `audio_root` names the speaker (1 = the first); 0 or too deep: the utterance.
        min_seconds: shorter files are left out and listed.
        allow_pipes: run commands in `wav.scp`.

    Returns:
        (utterances written, files left out with the reason).

    Raises:
        ManifestError: no readable audio at all, or names a table cannot hold.
    """
    root = Path(audio_root)
    scp = root / LIST if (root / LIST).is_file() else root
    listed = _listed(scp, allow_pipes) if scp.suffix == ".scp" else _found(root, extensions, speaker_level)
    utterances: list[Utterance] = []
    left_out: list[Problem] = []
    for u in listed:
        try:
            found = info(u.path, allow_pipes)
        except (AudioError, ManifestError) as error:
            left_out.append(Problem(u.path, str(error).removeprefix(f"{u.path}: ")))
            continue
        if found.num_samples < min_seconds * found.sample_rate:
            left_out.append(TooShort(u.path, f"shorter than {min_seconds} s"))
        else:
            utterances.append(replace(u, num_samples=found.num_samples))
    if not utterances:
        reason = f"none of its {len(listed)} audio files is usable" if listed else f"holds no {named(extensions)} files"
        refuse([Problem(str(root), reason), *left_out])
    write_folder(utterances, out_dir)
    return sorted(utterances, key=lambda u: os.fsencode(u.id)), left_out


def _found(root: Path, extensions: Sequence[str], speaker_level: int) -> list[Utterance]:
    """The files of a tree; their lengths are not known yet."""
    utterances = []
    for name, utterance_id in unique_ids(find_files(root, extensions)).items():
        folders = name.split("/")[:-1]
        known = 1 <= speaker_level <= len(folders)
        speaker = _plain(folders[speaker_level - 1]) if known else utterance_id
        utterances.append(Utterance(utterance_id, os.path.abspath(root / name), speaker, 0))
    return utterances


def _listed(scp: Path, allow_pipes: bool) -> list[Utterance]:
    """The lines of a `wav.scp`, or of the `segments` beside it; speakers are those of the `utt2spk` beside it."""
    problems: list[Problem] = []
    beside = scp.parent / "utt2spk"
    speakers = dict(read_table(beside, problems)) if beside.is_file() else {}
    refuse(problems)
    return [Utterance(key, path, speakers.get(key, key), 0) for key, path in read_scp(scp, allow_pipes)]


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


def named(extensions: Sequence[str]) -> str:
    """Extensions of files in words, the first few of them."""
    return ", ".join([*extensions[:_SHOWN], *(["... (audio)"] if len(extensions) > _SHOWN else [])])


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


def unique_ids(names: Sequence[str]) -> dict[str, str]:
    """Relative path -> utterance id: the path with `/` as `-`; where two would be equal both get a hash of their path."""
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
