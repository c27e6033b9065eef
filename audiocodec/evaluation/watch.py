"""What a caller may want to see while an evaluation runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary_file import Summary

Advance = Callable[[], None]  # called once for every file done


class Watch:
    """Sees nothing; the command line's prints."""

    def say(self, text: str) -> None:
        """A line of information: the model that is loaded, utterances that no group has."""

    def bar(self, total: int, what: str) -> AbstractContextManager[Advance]:
        """A context that lasts as long as `total` files are worked on, and what to call for every one that is done."""
        return nullcontext(lambda: None)

    def scored(self, system: str, rows: Sequence[Row], summary: Summary) -> None:
        """A system is finished; `system` is its label, or empty where there is only one."""
