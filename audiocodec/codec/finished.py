"""Is an output finished? What a resumed run may keep of token files and decoded audio.

Other outputs have signs of their own: a coded file of a baseline does not say what made it, so a line of `sizes.jsonl` does
(`evaluation/systems/reconstruct.py`); a shard of a data set carries its plan in its footer (`tokenize/marks.py`); an evaluation
has `summary.json` last of all.
"""

from __future__ import annotations

import os

from audiocodec.audio import io
from audiocodec.data.pipes import files_behind
from audiocodec.errors import AudioError, TokenFileError
from audiocodec.tokens.token_file import TokenFile


def valid_tokens(path: str) -> TokenFile | None:
    """The token file at `path`; None if there is none, or it is damaged."""
    try:
        return TokenFile.read(path) if os.path.isfile(path) else None
    except TokenFileError:
        return None


def finished_audio(
    path: str | os.PathLike[str], source: str, expected: io.AudioInfo, subtype: str | None = None
) -> bool:
    """Whether the audio at `path` is there, readable, of the length expected and not older than its token file.

    Args:
        path: of the audio.
        source: its token file.
        expected: of the audio.
        subtype: of its samples, as libsndfile calls it; None: any.
    """
    try:
        with io.AudioFile(path) as file:
            with file.opened() as found:
                is_other = subtype is not None and found.subtype != subtype
            return not is_other and io.info(file) == expected and not is_stale(path, source)
    except AudioError:
        return False


def is_stale(output: str | os.PathLike[str], source: str) -> bool:
    """Whether an output is older than the files it was made from; a source that is no file tells nothing."""
    files = [path for path in files_behind(source) if os.path.isfile(path)]
    return any(os.stat(output).st_mtime_ns < os.stat(path).st_mtime_ns for path in files)
