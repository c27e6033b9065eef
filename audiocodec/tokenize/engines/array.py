"""Fixed shares of the shards: one task of an array, one rank of several. Nothing is started, nothing is talked about."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from audiocodec.errors import CorpusError
from audiocodec.tokenize.worker import Done, Job, Worker


def slurm_share(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """(which, of how many) of a task of a Slurm array.

    Raises:
        CorpusError: this is no task of an array.
    """
    if "SLURM_ARRAY_TASK_ID" not in environment:
        raise CorpusError("--engine slurm: there is no SLURM_ARRAY_TASK_ID; submit with sbatch --array=0-N")
    task, first, last, step = (
        int(environment.get(f"SLURM_ARRAY_TASK_{name}", default))
        for name, default in (("ID", "0"), ("MIN", "0"), ("MAX", environment["SLURM_ARRAY_TASK_ID"]), ("STEP", "1"))
    )
    return (task - first) // step, (last - first) // step + 1


def rank_share(environment: Mapping[str, str] = os.environ) -> tuple[int, int, int]:
    """(rank, number of ranks, rank on this machine) under `torchrun` or `accelerate launch`.

    Raises:
        CorpusError: neither has started this process.
    """
    if not {"RANK", "WORLD_SIZE"} <= set(environment):
        raise CorpusError(
            "--engine torchrun: RANK and WORLD_SIZE are not set; start with torchrun or accelerate launch"
        )
    return int(environment["RANK"]), int(environment["WORLD_SIZE"]), int(environment.get("LOCAL_RANK", "0"))


def run(job: Job, shards: Sequence[int], report: Callable[[Done], None]) -> None:
    """Do shards in this process, one after the other.

    Raises:
        CorpusError, OSError: see `worker.Worker`.
    """
    if not shards:
        return
    worker = Worker(job)
    for shard in shards:
        report(worker.run(shard))
