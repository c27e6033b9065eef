"""`data.py OUT CORPUS SHARDS HELD_OUT [CONDITION ...]`: data folders OUT/{train,valid,dev} and OUT/dev_<condition>."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tables import Clip, read_corpus

from audiocodec.audio import io
from audiocodec.data.manifest import Utterance, write_folder
from audiocodec.data.tables import Problem, refuse
from audiocodec.errors import AudioCodecError, AudioError, ManifestError

AUDIO = Path("audio")  # what stage 0 unpacked, and the conditions


def hold_out(utterances: Sequence[Utterance], count: int) -> tuple[list[Utterance], list[Utterance]]:
    """Divide utterances so that no speaker is on both sides.

    Speakers are taken in the order of a hash of their clips' ids, each with all clips, unless that would be too many: one with
    hundreds stays in train.

    Returns:
        (train, the held-out ones: `count`, or fewer where no speakers add up to that).

    Raises:
        ManifestError: nothing would be left on one side.
    """
    speakers: dict[str, list[Utterance]] = {}
    for u in sorted(utterances, key=lambda u: hashlib.sha256(os.fsencode(u.id)).digest()):
        speakers.setdefault(u.speaker, []).append(u)
    held: list[Utterance] = []
    for clips in speakers.values():
        if len(held) + len(clips) <= count:
            held += clips
    chosen = {u.speaker for u in held}
    kept = [u for u in utterances if u.speaker not in chosen]
    if not held or not kept:
        side = "train" if held else "valid"
        raise ManifestError(
            f"nothing is left for {side}: {len(utterances)} clips, --held-out {count}; choose another number"
        )
    return kept, held


def as_utterances(clips: Sequence[Clip], folder: Path) -> list[Utterance]:
    """Look at the audio of clips, which lies in `folder`/<shard>.

    Raises:
        ManifestError: naming what cannot be read.
    """
    found: list[Utterance] = []
    problems: list[object] = []
    for clip in clips:
        path = os.path.abspath(folder / clip.shard / clip.path)
        try:
            found.append(Utterance(clip.id, path, clip.speaker, io.info(path).num_samples))
        except AudioError as error:
            problems.append(Problem(clip.where, str(error)))
    refuse(problems)
    return found


def main(arguments: list[str]) -> int:
    """Make the folders; the exit status."""
    out, corpus, shards, held_out, *conditions = arguments
    if not held_out.isdecimal() or int(held_out) == 0:
        print(f"--held-out is a number from 1 on, got {held_out!r}", file=sys.stderr)
        return 2
    try:
        train_clips, dev_clips = read_corpus(Path(corpus), shards)
        train, valid = hold_out(as_utterances(train_clips, AUDIO / "train"), int(held_out))
        if len(valid) < int(held_out):
            print(f"held out {len(valid)} clips, not {held_out}: no speaker is divided", file=sys.stderr)
        dev = as_utterances(dev_clips, Path(corpus) / "dev")
        for name, part in (("train", train), ("valid", valid), ("dev", dev)):
            write_folder(part, Path(out) / name)
        if conditions:
            import conditions as changes  # torch is not there for everyone who only wants folders

            for condition in conditions:
                write_folder(changes.make(condition, dev, AUDIO / f"dev_{condition}"), Path(out) / f"dev_{condition}")
    except AudioCodecError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
