"""What a signal that asks to stop does to a command."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from types import FrameType

from audiocodec import signals

_AGAIN_SECONDS = 0.05


def interrupt(number: int, frame: FrameType | None) -> None:
    """Unwind the stack, so that temporary files go; not within an import, where C++ libraries abort at any exception.

    Raises:
        KeyboardInterrupt: for Ctrl-C.
        SystemExit: for the others, with `signals.status`.
    """
    if _imports(frame):
        again = threading.Timer(_AGAIN_SECONDS, _send, [number])
        again.daemon = True
        again.start()
    elif number == signal.SIGINT:
        raise KeyboardInterrupt
    else:
        raise SystemExit(signals.status(number))


def _send(number: int) -> None:
    if sys.platform == "win32":
        _thread.interrupt_main(number)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, number)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
