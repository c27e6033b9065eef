"""One shard from its inputs to its file. Whoever runs it, and how often: the file appears whole, once, and is the same."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audiocodec.codec.interface import BlockCodec
from audiocodec.errors import CorpusError
from audiocodec.files import replacing
from audiocodec.loading import Model
from audiocodec.machine import keep_freed
from audiocodec.tokenize import inputs, marks
from audiocodec.tokenize.coding import Coded, encode_all
from audiocodec.tokenize.decoding import Decoder
from audiocodec.tokenize.plan import read
from audiocodec.tokenize.rows import row_of
from audiocodec.tokenize.utterance import Failure, Utterance
from audiocodec.tokenize.writers.parquet import ParquetRows
from audiocodec.tokenize.writers.webdataset import WebdatasetRows

GPU_BATCH_SECONDS = 240.0


@dataclass(frozen=True)
class Job:
    """What a worker needs to know; travels to other processes and machines.

    Attributes:
        folder: of the plan and the tokens, seen by all.
        model: a name that `model_places.resolve` knows on every machine; None: the default.
        runtime: `torch` or `onnx`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads of the networks; None: the runtime's choice.
        decoders: threads that decode audio.
        batch_seconds: of audio encoded at once; None: 240 on a GPU, else one utterance at a time.
        allow_pipes: run commands of `wav.scp`.
    """

    folder: str
    model: str | None
    runtime: str
    device: str = "auto"
    threads: int | None = None
    decoders: int = 2
    batch_seconds: float | None = None
    allow_pipes: bool = False


@dataclass(frozen=True)
class Done:
    """A shard is finished: how many rows and failures, seconds of audio; `there`: it was before."""

    shard: int
    rows: int
    failures: int
    seconds: float
    there: bool = False


class Worker:
    """Holds the model and does shards."""

    def __init__(self, job: Job) -> None:
        """Load plan and model.

        Raises:
            CorpusError: no plan, or another model than the plan's.
            UsageError, CheckpointError: the device or the model is not there.
        """
        self._folder = Path(job.folder)
        self.plan = read(self._folder)
        self._codec = _load(job)
        if self._codec.fingerprint.hex() != self.plan.model.fingerprint:
            raise CorpusError(
                f"{job.folder}: planned for model {self.plan.model.fingerprint}, this is {self._codec.fingerprint.hex()}"
            )
        self._batch = job.batch_seconds
        if self._batch is None:
            on_gpu = str(getattr(self._codec, "device", "cpu")).startswith("cuda")
            self._batch = GPU_BATCH_SECONDS if on_gpu else 0.0
        self._job, self._hash = job, self.plan.hash

    def run(self, number: int) -> Done:
        """Do a shard; one whose file is there is left as it is.

        Raises:
            CorpusError: no such shard, or its source has changed.
            OSError: its file cannot be written.
        """
        self.plan.check_shard(number)
        target = self._folder / self.plan.name_of(number)
        if target.exists():
            return self._done(marks.read(target), there=True)
        results = self.encode(inputs.read(self.plan, self._folder, number))
        try:
            with contextlib.closing(results), replacing(target) as temporary:
                if self.plan.writer == "parquet":
                    mark = self._parquet(number, results, temporary)
                else:
                    mark = self._tar(number, results, temporary, target)
                _sync(temporary)
        except FileNotFoundError:
            if not target.exists():  # else another worker finished it, and the data set was tidied up
                raise
            mark = marks.read(target)
        return self._done(mark)

    def encode(self, items: Iterable[Utterance | Failure]) -> Generator[Coded | Failure, None, None]:
        """Codes of utterances, in their order; see `coding.encode_all`."""
        codec = self._codec
        decoder = Decoder(codec.sample_rate, codec.level_db, self._job.decoders, self._job.allow_pipes)
        try:
            used = len(self.plan.model.codebook_sizes)
            yield from encode_all(codec, decoder, items, used, self._batch or 0.0)
        finally:
            decoder.close()

    def _parquet(self, number: int, results: Iterator[Coded | Failure], temporary: Path) -> marks.Mark:
        metadata = {"plan": self._hash, "licence": self.plan.licence}
        with ParquetRows(temporary, self.plan.model, self.plan.columns, metadata) as rows:
            mark = self._write(number, results, rows)
            rows.finish(mark.to_text())
        return mark

    def _tar(self, number: int, results: Iterator[Coded | Failure], temporary: Path, target: Path) -> marks.Mark:
        with WebdatasetRows(temporary, self.plan.model, f"{number:05d}-") as rows:
            mark = self._write(number, results, rows)
        with replacing(marks.path_beside(target)) as beside:  # before the tar: that is what marks the shard as finished
            beside.write_text(mark.to_text() + "\n", encoding="utf-8")
            _sync(beside)
        return mark

    def _write(self, number: int, results: Iterator[Coded | Failure], rows: ParquetRows | WebdatasetRows) -> marks.Mark:
        failures: list[Failure] = []
        count = frames = samples = 0
        for result in results:
            if isinstance(result, Failure):
                failures.append(result)
                continue
            rows.write(row_of(result, self.plan.model, self.plan.columns))
            count, frames, samples = count + 1, frames + result.codes.shape[1], samples + result.num_samples
        return marks.Mark(self._hash, number, self.plan.model.fingerprint, count, frames, samples, tuple(failures))

    def _done(self, mark: marks.Mark, there: bool = False) -> Done:
        seconds = mark.samples / self.plan.model.sample_rate
        return Done(mark.shard, mark.rows, len(mark.failures), seconds, there)


def _load(job: Job) -> BlockCodec:
    """The codec of a job.

    Raises:
        UsageError, CheckpointError: see `loading.load`.
    """
    model = Model(job.model, runtime=job.runtime, device=job.device, threads=job.threads)
    if model.runtime == "torch":
        keep_freed()
    return model.coder


def _sync(path: Path) -> None:
    """A name must not outlive its content where the power fails."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
