"""From folders of evaluations to the finished page: `audiocodec.report`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from audiocodec.errors import AudioCodecError, UsageError
from audiocodec.files import write_text
from audiocodec.reporting.differences import base_of
from audiocodec.reporting.inputs import against_of, evaluations
from audiocodec.reporting.listening.choice import choose, why_none
from audiocodec.reporting.listening.clips import make_example, report_id
from audiocodec.reporting.listening.ratings import check_ratings, read_ratings
from audiocodec.reporting.page import Content, render
from audiocodec.reporting.systems import read_systems
from audiocodec.reporting.versa import read_versa


def report(
    eval_dirs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] = (),
    examples: int = 6,
    utterances: Sequence[str] = (),
    ratings: Sequence[str | os.PathLike[str]] = (),
    versa: Sequence[str] = (),
    against: str | None = None,
    title: str = "Codec evaluation",
    force: bool = False,
    allow_pipes: bool = False,
) -> Content:
    """Write one HTML page about evaluations; it appears only when it is complete.

    Args:
        eval_dirs: folders in which `evaluate` has finished, one per system; the folder that `compare` wrote, or all that
            lies in it; `summary.json` files.
        path: the HTML file.
        names: of the systems, in the order of the folders; empty: after their models, else after their folders.
        examples: how many utterances to listen to, chosen by their scores.
        utterances: instead, exactly these ids.
        ratings: files that the listening tests of the same page gave.
        versa: files of scores that VERSA wrote, each as `LABEL=FILE`; of a single system `FILE` will do.
        against: label of the system that the others are compared with; None: the one that was given to `compare`, else
            the first codec.
        title: of the page.
        force: overwrite an existing file.
        allow_pipes: run commands in place of audio files.

    Returns:
        What is in the page.

    Raises:
        UsageError: a path that is not there or may not be overwritten, or another number of names.
        ReportError: no system is called as `against`.
        AudioCodecError: a folder holds no finished evaluation, systems have different references for an utterance, audio,
            ratings or VERSA's scores cannot be read, ratings are of another page, or VERSA's scores of other utterances.

    Example:
        >>> content = audiocodec.report("compared", "report.html", title="Our codecs")
        >>> [system.label for system in content.systems]
        ['speech_24k', 'reference']
    """
    folders = evaluations([eval_dirs] if isinstance(eval_dirs, str | os.PathLike) else list(eval_dirs))
    _check_paths(folders, os.fspath(path), names, ratings, force)
    sessions = read_ratings(ratings)
    systems = read_systems(folders, names)
    versa_scores = read_versa(versa, systems)
    base = base_of(systems, against, against_of(folders))
    chosen = [(key, "chosen by hand") for key in utterances] or choose(systems, examples)
    heard = [make_example(systems, key, why, allow_pipes) for key, why in chosen]
    labels = [system.label for system in systems]
    identity = report_id(labels, heard)
    check_ratings(sessions, identity, labels, [example.id for example in heard])
    silence = "" if heard else f"No audio: {why_none(systems) if examples else 'none was asked for'}."
    content = Content(title, identity, systems, heard, sessions, base, silence, versa_scores)
    text = render(content).encode(errors="backslashreplace").decode()  # names of files need not be text
    try:
        write_text(Path(path), text)
    except OSError as error:
        raise AudioCodecError(f"{path}: cannot write: {error.strerror or error}") from None
    return content


def _check_paths(
    eval_dirs: Sequence[str | os.PathLike[str]],
    target: str,
    names: Sequence[str],
    ratings: Sequence[str | os.PathLike[str]],
    force: bool,
) -> None:
    """Everything that can be refused before any work."""
    for path in (*eval_dirs, *ratings):
        if not os.path.exists(path):
            raise UsageError(f"{path}: No such file or directory")
    if names and len(names) != len(eval_dirs):
        raise UsageError(f"{len(names)} names for {len(eval_dirs)} evaluations; give one for each")
    if os.path.isdir(target):
        raise UsageError(f"{target} is a folder; say -o {os.path.join(target, 'report.html')}")
    if os.path.exists(target) and not force:
        raise UsageError(f"{target} already exists; --force overwrites")
    if not os.path.isdir(os.path.dirname(target) or "."):
        raise UsageError(f"{os.path.dirname(target)}: No such directory")
