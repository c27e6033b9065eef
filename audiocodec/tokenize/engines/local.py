"""Processes of this machine, each with the model loaded once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Hashable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from audiocodec.errors import AudioCodecError
from audiocodec.tokenize.engines.scheduling import Died, Event, Pool, Ready, Stopped
from audiocodec.tokenize.worker import Job, Worker


class LocalPool(Pool):
    """Workers as processes; a process that dies is told by its pipe."""

    def __init__(self, job: Job) -> None:
        """Take what the workers need to know."""
        self._job = job
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, tuple[Any, Connection]] = {}
        self._started = 0

    def start(self) -> None:
        """Start one more process."""
        mine, its = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(its, self._job), daemon=True)
        process.start()
        its.close()
        self._workers[self._started] = process, mine
        self._started += 1

    def submit(self, worker: Hashable, shard: int) -> None:
        """Give a process a shard; one that has died meanwhile is noticed by `wait`."""
        with contextlib.suppress(OSError):
            self._workers[self._number(worker)][1].send(shard)

    def wait(self) -> tuple[Hashable, Event]:
        """The next message, or the end of a process."""
        pipes = {pipe: number for number, (_, pipe) in self._workers.items()}
        number = pipes[next(pipe for pipe in wait(list(pipes)) if isinstance(pipe, Connection))]
        process, pipe = self._workers[number]
        try:
            event: Event = pipe.recv()
        except (EOFError, OSError):
            process.join()
            del self._workers[number]
            return number, Died(_cause(process))
        return number, event

    def close(self) -> None:
        """Kill what still runs: half-written files are temporary."""
        for process, pipe in self._workers.values():
            pipe.close()
            process.terminate()
        for process, _ in self._workers.values():
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
        self._workers = {}

    @staticmethod
    def _number(worker: Hashable) -> int:
        assert isinstance(worker, int)
        return worker


def _cause(process: BaseProcess) -> str:
    code = process.exitcode or 0
    return f"killed by signal {-code}" if code < 0 else f"ended with status {code}"


def _serve(pipe: Connection, job: Job) -> None:
    """A worker process: shards come in, results go out, until the driver is gone."""
    for number in {"SIGINT", "SIGHUP"} & set(
        signal.Signals.__members__
    ):  # they reach the driver, which ends its workers
        signal.signal(signal.Signals[number], signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, daemon=True).start()
    try:
        worker = Worker(job)
        pipe.send(Ready())
        while True:
            pipe.send(worker.run(pipe.recv()))
    except (EOFError, BrokenPipeError):
        return
    except (AudioCodecError, OSError, MemoryError) as error:
        pipe.send(Stopped(str(error) or type(error).__name__))


def _end_with_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        wait([driver.sentinel])
        os._exit(1)
