"""Work spread over processes, one item at a time each, where a process that dies costs one item and no more.

`concurrent.futures` gives up the whole pool when a process dies, and scoring runs C code that can. Processes are
spawned, not forked: a fork of a process in which torch has started threads can hang. What costs much to make, such as
a loaded model, an object that is called can make once for each process, when it is first called.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

_PATIENCE = 10.0  # seconds for a process to remove its temporary files when it is told to end
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Lost:
    """What an item became whose process died or whose function raised."""

    reason: str


class _Ended(BaseException):
    """The parent ends this process."""


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    index: int


def cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of(jobs: int) -> int:
    """Threads for each of so many processes that share the processors."""
    return max(1, cpus() // jobs)


def in_order(results: Generator[tuple[int, Any], None, None]) -> Generator[Any, None, None]:
    """The results of `run_all` in the order of the items, each as soon as those before it are there."""
    early: dict[int, Any] = {}
    following = 0
    with contextlib.closing(results):
        for index, result in results:
            early[index] = result
            while following in early:
                yield early.pop(following)
                following += 1


def run_all(
    function: Callable[[Any], Any], items: Sequence[Any], jobs: int, threads: int = 1
) -> Generator[tuple[int, Any], None, None]:
    """Call `function` on every item in up to `jobs` processes.

    Args:
        function: a module-level function or an object that can be called; it and the items are pickled.
        items: what to call it with.
        jobs: processes, 1 or more.
        threads: that each process may use for numbers.

    Returns:
        Iterator of (index of the item, its result or `Lost`), in the order they are done.
    """
    context = multiprocessing.get_context("spawn")
    todo = iter(range(len(items)))
    workers: list[_Worker] = []
    try:
        for index in itertools.islice(todo, jobs):
            workers.append(_start(context, (function, threads), items[index], index))
        while workers:
            ready = wait([worker.connection for worker in workers])
            for worker in [worker for worker in workers if worker.connection in ready]:
                done, result = worker.index, _receive(worker)
                following = next(todo, None)
                if following is None or not worker.process.is_alive():
                    workers.remove(worker)
                    _stop(worker)
                    if following is not None:
                        workers.append(_start(context, (function, threads), items[following], following))
                else:
                    worker.index = following
                    _send(worker.connection, items[following])
                yield done, result
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            _stop(worker)


def _start(context: SpawnContext, work: tuple[Callable[[Any], Any], int], item: Any, index: int) -> _Worker:
    function, threads = work
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, threads), daemon=True)
    process.start()
    theirs.close()
    _send(ours, function)
    _send(ours, item)
    return _Worker(process, ours, index)


def _send(connection: Connection, item: Any) -> None:
    try:
        connection.send(item)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it died: `_receive` finds out and says so


def _receive(worker: _Worker) -> Any:
    try:
        return worker.connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        code = worker.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        return Lost(f"the process working on it died ({how})")


def _stop(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.join(_PATIENCE)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.process.close()


def _serve(connection: Connection, threads: int) -> None:
    """The life of a worker. Nothing that brings threads may be imported before the limits are set."""
    for name in {"SIGINT", "SIGHUP"} & set(
        signal.Signals.__members__
    ):  # they reach the parent too, which ends its workers
        signal.signal(
            signal.Signals[name], _leave_to_parent
        )  # not SIG_IGN, which the commands of a wav.scp would inherit
    signal.signal(signal.SIGTERM, _unwind)
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    try:
        function = connection.recv()
        while True:
            item = connection.recv()
            try:
                result = function(item)
            except Exception as error:  # noqa: BLE001 - one item's fault must not cost the others
                result = Lost(f"{type(error).__name__}: {error}")
            connection.send(result)
    except (EOFError, BrokenPipeError, _Ended):
        return


def _leave_to_parent(*_: object) -> None:
    pass  # Ctrl-C reaches the parent too, which ends its workers


def _unwind(*_: object) -> None:
    raise _Ended  # not the default's sudden end: temporary files go
