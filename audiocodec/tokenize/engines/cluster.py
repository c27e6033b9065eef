"""Ray: actors on a cluster, each with the model loaded once. Only numbers of shards and counts travel.

The pool has a fixed size; an actor that dies, alone or with its node, is replaced as soon as the cluster has room.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from audiocodec.errors import AudioCodecError
from audiocodec.tokenize.engines.scheduling import Died, Event, Pool, Ready, Stopped
from audiocodec.tokenize.library import ray
from audiocodec.tokenize.worker import Done, Job, Worker


@dataclass(frozen=True)
class Resources:
    """What an actor takes.

    Attributes:
        cpus, gpus: of a node; parts of one are possible.
        address: of a cluster; None: a cluster of this process alone, whatever else runs on the machine.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None


class RayPool(Pool):
    """Workers as actors."""

    def __init__(self, job: Job, resources: Resources) -> None:
        """Join the cluster that was named, or start one of our own.

        Raises:
            CorpusError: ray is not installed.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anyone unless the user wants it
        self._ray = ray()
        self._job = job
        self._own = not self._ray.is_initialized()
        if self._own:
            address = resources.address or "local"  # without one, ray would join what an earlier program left behind
            self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        self._actor = self._ray.remote(
            num_cpus=resources.cpus, num_gpus=resources.gpus, max_restarts=0, max_task_retries=0
        )(_Actor)
        self._actors: dict[int, Any] = {}
        self._pending: dict[Any, int] = {}
        self._started = 0

    def start(self) -> None:
        """Ask for one more actor; it may have to wait for room."""
        actor = self._actor.remote(self._job)
        self._actors[self._started] = actor
        self._pending[actor.ready.remote()] = self._started
        self._started += 1

    def submit(self, worker: Hashable, shard: int) -> None:
        """Give an actor a shard."""
        assert isinstance(worker, int)
        self._pending[self._actors[worker].run.remote(shard)] = worker

    def wait(self) -> tuple[Hashable, Event]:
        """The next result, or the death of an actor."""
        (reference,), _ = self._ray.wait(list(self._pending), num_returns=1)
        number = self._pending.pop(reference)
        try:
            event: Event = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # the code raised: another try would, too
            return number, Stopped(str(error.cause) if error.cause is not None else str(error))
        except self._ray.exceptions.RayError as error:
            self._ray.kill(self._actors.pop(number))
            return number, Died(" ".join(str(error).split())[:200])
        return number, event

    def close(self) -> None:
        """End the actors, and the cluster if it is our own."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors, self._pending = {}, {}
        if self._own:
            self._ray.shutdown()


class _Actor:
    """A worker on a node; its errors travel as events, because their classes may hold what cannot travel."""

    def __init__(self, job: Job) -> None:
        self._job, self._worker, self._error = job, None, ""
        try:
            self._worker = Worker(job)
        except (AudioCodecError, OSError) as error:
            self._error = str(error)

    def ready(self) -> Ready | Stopped:
        return Stopped(self._error) if self._worker is None else Ready()

    def run(self, shard: int) -> Done | Stopped:
        assert self._worker is not None
        try:
            return self._worker.run(shard)
        except (AudioCodecError, OSError, MemoryError) as error:
            return Stopped(str(error) or type(error).__name__)
