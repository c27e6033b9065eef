"""Steps of the trainer itself, in this process: a script, so that the audiocodec of any checkout can be measured by it.

    PYTHONPATH=CHECKOUT python benchmarks/trainer_step.py CELL

`CELL` is JSON: `checkout`, `config` (YAML), `set` (overrides), `steps` (timed, after two others), `keep` (freed memory).
What it prints is JSON, too: `cpu` and `wall` seconds of a step, and `peak` memory of the process in MB. Audio is noise,
read from files; every phase of the run has begun, and the codebook is as it was drawn.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

FIRST_STEPS = 2  # kernels and the optimizers' state are made in them
SECONDS, FILES, RMS = 4, 24, 0.05


def main() -> None:
    """Measure one cell."""
    cell = json.loads(sys.argv[1])
    import audiocodec

    if not Path(audiocodec.__file__).is_relative_to(cell["checkout"]):
        raise SystemExit(f"{audiocodec.__file__} is not of {cell['checkout']}")
    torch.set_num_threads(1)
    if cell["keep"]:
        from audiocodec.machine import keep_freed

        keep_freed()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(_measure(cell, Path(folder))))


def _measure(cell: dict[str, Any], folder: Path) -> dict[str, float]:
    from audiocodec.config.load import load_config
    from audiocodec.data.dataset import SegmentDataset
    from audiocodec.data.manifest import read_folder
    from audiocodec.training.trainer import Trainer

    config = load_config(cell["config"], cell["set"])
    data = _data(folder / "data", config.sample_rate)
    dataset = SegmentDataset(read_folder(str(data)), config.sample_rate, config.segment_samples, config.seed)
    dataset.preload()
    trainer = Trainer(config, folder / "exp", dataset, device="cpu")
    trainer.quantizer_started = True
    trainer.step = config.train.steps - FIRST_STEPS - cell["steps"]
    trainer.feeder = trainer._feeder()
    for _ in range(FIRST_STEPS):
        trainer._train_step()
    cpu, wall, first = time.process_time(), time.perf_counter(), trainer.step
    for _ in range(cell["steps"]):
        trainer._train_step()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    trainer.feeder.close()
    if trainer.step - first != cell["steps"]:
        raise SystemExit("some of the steps were skipped as not finite")
    return {"cpu": cpu / cell["steps"], "wall": wall / cell["steps"], "peak": _peak_mb()}


def _data(folder: Path, sample_rate: int) -> Path:
    """A data folder of noise."""
    random = np.random.default_rng(0)
    folder.mkdir()
    tables: dict[str, list[str]] = {"wav.scp": [], "utt2spk": [], "utt2num_samples": []}
    for number in range(FILES):
        name, path = f"u{number:02}", folder / f"u{number:02}.wav"
        soundfile.write(path, random.normal(0, RMS, SECONDS * sample_rate), sample_rate)
        for table, value in zip(tables, (path, f"s{number:02}", SECONDS * sample_rate)):
            tables[table].append(f"{name} {value}\n")
    for table, lines in tables.items():
        (folder / table).write_text("".join(lines))
    return folder


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit("/proc/self/status has no VmHWM: this benchmark needs Linux")


if __name__ == "__main__":
    main()
