"""From folders of evaluations to the finished page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.errors import AudioCodecError
from audiocodec.evaluation.rows import write_atomically
from audiocodec.report.differences import base_of
from audiocodec.report.listening.choice import choose, why_none
from audiocodec.report.listening.clips import make_example, report_id
from audiocodec.report.listening.ratings import check_ratings, read_ratings
from audiocodec.report.page import Content, render
from audiocodec.report.systems import read_systems


@dataclass(frozen=True)
class Options:
    """What to show.

    Attributes:
        names: of the systems; empty: after their folders.
        examples: how many utterances to listen to, chosen by their scores.
        utterances: instead, exactly these ids.
        ratings: files that the listening tests of the same page gave.
        against: label of the system that the others are compared with; None: the first codec.
        title: of the page.
        allow_pipes: run commands in place of audio files.
    """

    names: Sequence[str] = ()
    examples: int = 6
    utterances: Sequence[str] = ()
    ratings: Sequence[str] = ()
    against: str | None = None
    title: str = "Codec evaluation"
    allow_pipes: bool = False


def write_report(
    eval_dirs: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str], options: Options
) -> Content:
    """Write the page; it appears only when it is complete.

    Args:
        eval_dirs: folders in which `evaluate` has finished, one per system.
        path: the HTML file; an existing one is replaced.
        options: what to show.

    Returns:
        What is in the page.

    Raises:
        ReportError: no system is called as `against`, or systems have different references for an utterance.
        AudioCodecError: a folder holds no finished evaluation, audio or ratings cannot be read, or ratings are of
            another page.
    """
    sessions = read_ratings(options.ratings)
    systems = read_systems(eval_dirs, options.names)
    base = base_of(systems, options.against)
    chosen = [(key, "chosen by hand") for key in options.utterances] or choose(systems, options.examples)
    examples = [make_example(systems, key, why, options.allow_pipes) for key, why in chosen]
    labels = [system.label for system in systems]
    identity = report_id(labels, examples)
    check_ratings(sessions, identity, labels, [example.id for example in examples])
    silence = "" if examples else f"No audio: {why_none(systems) if options.examples else 'none was asked for'}."
    content = Content(options.title, identity, systems, examples, sessions, base, silence)
    text = render(content).encode(errors="backslashreplace").decode()  # names of files need not be text
    try:
        write_atomically(Path(path), text)
    except OSError as error:
        raise AudioCodecError(f"{path}: cannot write: {error.strerror or error}") from None
    return content
