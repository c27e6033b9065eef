"""A folder of audio files, searched recursively, local or by fsspec."""

from __future__ import annotations

import os
from collections.abc import Iterator

from audiocodec.data.corpus import AUDIO_EXTENSIONS, named
from audiocodec.errors import CorpusError
from audiocodec.tokenize import storage
from audiocodec.tokenize.sources.base import Entry, Listing


def source(root: str) -> Listing:
    """The audio files below a folder.

    An id is the relative path without extension; in a folder in which two would be equal, file names keep theirs.

    Raises:
        CorpusError: on listing: there is no audio.
    """
    return Listing("folder", lambda: _entries(storage.absolute(root)))


def _entries(root: str) -> Iterator[Entry]:
    empty = True
    try:
        for inside, _, files in storage.walk(root):
            audio = [(name, stamp) for name, stamp in files if os.path.splitext(name)[1].lower() in AUDIO_EXTENSIONS]
            stems = [os.path.splitext(name)[0] for name, _ in audio]
            names = stems if len(set(stems)) == len(stems) else [name for name, _ in audio]
            prefix = f"{inside}/" if inside else ""
            for key, (name, stamp) in zip(names, audio):
                empty = False
                yield Entry(prefix + key, storage.join(root, prefix + name), stamp=stamp)
    except OSError as error:
        raise CorpusError(f"{root}: cannot be listed: {error.strerror or error}") from None
    if empty:
        raise CorpusError(
            f"{root}: holds no {named(AUDIO_EXTENSIONS)} files; name tars or Parquet files themselves, as {root}/*.tar"
        )
