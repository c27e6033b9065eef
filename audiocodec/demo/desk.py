"""The work behind the page: takes recordings, codes one at a time, and forgets all but the newest few."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audiocodec.demo import shown
from audiocodec.demo.recording import Recording, read
from audiocodec.demo.versions import ModelVersion, Version
from audiocodec.demo.watch import Gone, Watch
from audiocodec.errors import AudioError

KEPT = 3  # recordings in memory, for pages that are open at the same time
_LOOK_SECONDS = 0.2  # between two looks whether somebody still waits


class Desk:
    """Recordings by their names, and the versions of them.

    Attributes:
        versions: by their keys.
        stopping: set once no more is done.
    """

    def __init__(self, versions: Mapping[str, Version]) -> None:
        """Begin without recordings."""
        self.versions = versions
        self._recordings: dict[str, Recording] = {}
        self._turn = threading.Lock()
        self.stopping = threading.Event()

    def take(self, path: Path, watch: Watch) -> dict[str, Any]:
        """Read a file; what the page shows of it, and `id`, by which versions of it are asked for.

        Args:
            path: of the file.
            watch: called now and then; what it raises ends the work.

        Raises:
            AudioError: it cannot be used.
            Gone: nobody waits.
        """
        with self._one_at_a_time(watch):
            recording = read(path)
            found = {"id": secrets.token_urlsafe(16), **shown.recording(recording)}
            self._recordings[found["id"]] = recording
            for old in list(self._recordings)[:-KEPT]:
                del self._recordings[old]
        return found

    def find(self, name: str, key: str) -> tuple[Recording, Version]:
        """A recording and a version by their names.

        Raises:
            KeyError: there is no such recording any more, or no such version.
        """
        return self._recordings[name], self.versions[key]

    def code(self, recording: Recording, version: Version, watch: Watch) -> dict[str, Any]:
        """One version of a recording; `watch` as of `take`.

        Raises:
            AudioCodecError: it cannot be coded.
            Gone: nobody waits.
        """
        with self._one_at_a_time(watch) as watched:
            return shown.coded(version.code(recording, watched), recording)

    def compress(self, recording: Recording, version: Version, watch: Watch) -> dict[str, Any]:
        """Bytes and kbps of its token file compressed by a prior; empty without one. See `code`."""
        if not isinstance(version, ModelVersion) or version.prior is None:
            return {}
        with self._one_at_a_time(watch) as watched:
            size = version.compressed_bytes(recording, watched)
        return {} if size is None else {"bytes": size, "kbps": shown.rate(size, recording)}

    def stop(self, seconds: float) -> None:
        """Have the work end, and wait for it so long at most."""
        self.stopping.set()
        self._turn.acquire(timeout=seconds)

    @contextlib.contextmanager
    def _one_at_a_time(self, watch: Watch) -> Iterator[Watch]:
        """Wait for one's turn; gives what is to be called during the work."""

        def watched() -> None:
            if self.stopping.is_set():
                raise Gone
            watch()

        while not self._turn.acquire(timeout=_LOOK_SECONDS):
            watched()
        try:
            watched()
            yield watched
        except MemoryError:
            raise AudioError("there is not enough memory for it") from None
        finally:
            self._turn.release()
