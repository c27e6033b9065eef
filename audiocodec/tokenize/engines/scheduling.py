"""Shards to workers that may die: the loop that every pool shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from audiocodec.errors import CorpusError
from audiocodec.tokenize.worker import Done

ATTEMPTS = 3  # deaths of workers after which a shard, or a pool whose workers never get ready, is given up


@dataclass(frozen=True)
class Ready:
    """A worker has loaded its model."""


@dataclass(frozen=True)
class Died:
    """A worker is gone: killed, out of memory, its machine lost."""

    cause: str


@dataclass(frozen=True)
class Stopped:
    """A worker cannot go on, and no other could: a full disk, a wrong model."""

    cause: str


Event = Ready | Done | Died | Stopped


@dataclass(frozen=True)
class Lost:
    """A shard that took down every worker that tried it."""

    shard: int
    cause: str


class Pool(ABC):
    """Workers somewhere; what they do to shards is `worker.Worker`'s."""

    @abstractmethod
    def start(self) -> None:
        """Start one more worker."""

    @abstractmethod
    def submit(self, worker: Hashable, shard: int) -> None:
        """Give a worker that is ready a shard."""

    @abstractmethod
    def wait(self) -> tuple[Hashable, Event]:
        """The next thing that happens to a worker."""

    @abstractmethod
    def close(self) -> None:
        """End all workers, at once."""


def run(pool: Pool, shards: Sequence[int], workers: int, report: Callable[[Done], None]) -> list[Lost]:
    """Do shards by a pool.

    Args:
        pool: closed at the end, whatever happens.
        shards: to do.
        workers: how many there are to be.
        report: called for each finished shard.

    Returns:
        The shards that were given up.

    Raises:
        CorpusError: what no other worker would survive either.
    """
    try:
        return _run(pool, shards, workers, report)
    finally:
        pool.close()


def _run(pool: Pool, shards: Sequence[int], workers: int, report: Callable[[Done], None]) -> list[Lost]:
    waiting, running, lost = deque(shards), dict[Hashable, int](), list[Lost]()
    idle = list[Hashable]()  # ready, and kept for shards whose worker dies: a new one may find no room
    deaths: Counter[int] = Counter()
    early = 0
    for _ in range(min(workers, len(shards))):
        pool.start()
    while waiting or running:
        worker, event = pool.wait()
        shard = running.pop(worker, None)
        if isinstance(event, Stopped):
            raise CorpusError(f"{event.cause}; the same command resumes")
        if isinstance(event, Died):
            idle = [one for one in idle if one != worker]
            early = early + 1 if shard is None else 0
            if early == ATTEMPTS:
                raise CorpusError(f"{ATTEMPTS} workers in a row died before they were ready: {event.cause}")
            if shard is not None:
                deaths[shard] += 1
                if deaths[shard] < ATTEMPTS:
                    waiting.append(shard)
                else:
                    lost.append(Lost(shard, event.cause))
            if waiting and not idle:
                pool.start()
        else:
            idle.append(worker)
        if isinstance(event, Done):
            report(event)
        while waiting and idle:
            running[idle[0]] = waiting.popleft()
            pool.submit(idle[0], running[idle.pop(0)])
    return lost
