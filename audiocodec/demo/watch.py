"""How work for a page ends when nobody waits for it any more."""

from __future__ import annotations

from collections.abc import Callable

Watch = Callable[[], None]  # called now and then by what takes long; raises `Gone`


class Gone(Exception):
    """Nobody waits: the page was closed or wants something else, or the server is being stopped."""
