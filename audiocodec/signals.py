"""Signals that ask a process to stop: Ctrl-C, SIGTERM, and the hang-up of its terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from types import FrameType

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def status(number: int) -> int:
    """The exit status of a process that a signal ended in order."""
    return 128 + number


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call `handler` for signals that ask to stop; one that is ignored, as under nohup, stays so. Main thread only."""
    if threading.current_thread() is not threading.main_thread():  # only it can have handlers
        yield
        return

    def call(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT:
            leave_terminal()
        handler(number, frame)

    numbers = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    old = {number: signal.signal(number, call) for number in numbers}
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)


def leave_terminal() -> None:
    """Let messages go nowhere if the terminal they went to is gone: to write there is an error."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
