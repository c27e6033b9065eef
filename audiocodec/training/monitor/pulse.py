"""When the log says that a run is alive between its regular lines."""

from __future__ import annotations

from time import monotonic

FIRST_SECONDS = 10.0
GROWTH = 1.5


class Pulse:
    """Due after the first step, then when nothing was said for 10 s, and each time for half as long again."""

    def __init__(self) -> None:
        """Nothing has been said."""
        self._gap, self._said = 0.0, monotonic()

    def due(self) -> bool:
        """Whether something is to be said now, which is then taken for said."""
        if monotonic() - self._said < self._gap:
            return False
        self._gap = max(FIRST_SECONDS, GROWTH * self._gap)
        self.said()
        return True

    def said(self) -> None:
        """Take note of a regular line."""
        self._said = monotonic()
