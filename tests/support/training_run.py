"""A training run small enough for tests: half a second of work, every part of the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from safetensors.numpy import load_file

from audiocodec.config.load import config_from_text
from audiocodec.config.schema import Config
from audiocodec.data.corpus import make_folder
from audiocodec.data.dataset import SegmentDataset
from audiocodec.data.manifest import read_folder
from audiocodec.data.pitch import tracks
from audiocodec.training.trainer import Trainer

RATE = 8000
UTTERANCES = 5
CONFIG = """\
name: tiny
sample_rate: 8000
model:
  encoder: {strides: [4, 5], base_channels: 2}
  decoder: {dim: 8, layers: 1}
quantizer: {codebook_size: 16, codebook_dim: 4}
loss: {mel_windows: [256], mel_bands: [20], stft_windows: [128]}
discriminator: {channels: 2, stft_windows: [128], start_step: 1}
data: {segment_seconds: 0.1}
train:
  steps: 4
  warmup_autoencoder_steps: 1
  batch_size: 2
  lr_warmup_steps: 2
  checkpoint_interval: 100
  valid_interval: 100
  valid_utterances: 1
  log_interval: 100
"""


def make_data(folder: Path) -> Path:
    """A data folder of short voiced-like sounds: 24 to 28 segments of 0.1 s."""
    rng = np.random.default_rng(0)
    (folder / "audio").mkdir(parents=True)
    for i in range(UTTERANCES):
        t = np.arange(4000 + 200 * i) / RATE
        wav = sum(np.sin(2 * np.pi * (110 + 30 * i) * k * t + k) / k for k in range(1, 8))
        wav = 0.1 * wav + 0.005 * rng.standard_normal(len(t))
        soundfile.write(folder / "audio" / f"u{i}.wav", wav, RATE)
    make_folder(str(folder / "audio"), folder / "data", speaker_level=0)
    return folder / "data"


def config(overrides: str = "") -> Config:
    """The tiny configuration with `a.b=c` overrides, separated by spaces."""
    path = Path("tiny.yaml")
    made = config_from_text(CONFIG, str(path))
    if not overrides:
        return made
    from tempfile import TemporaryDirectory

    from audiocodec.config.load import load_config

    with TemporaryDirectory() as folder:
        (Path(folder) / path).write_text(CONFIG)
        return load_config(Path(folder) / path, overrides.split())


def trainer(
    made: Config,
    folder: Path,
    data: Path,
    *,
    resume: bool = False,
    init_from: str | None = None,
    kind: type[Trainer] = Trainer,
) -> Trainer:
    """A trainer on the CPU, as `audiocodec train` makes it."""
    utterances = read_folder(str(data))
    dataset = SegmentDataset(utterances, made.sample_rate, made.segment_samples, made.seed)
    kept = tracks(data, dataset.utterances()) if made.model.decoder.kind == "voiced" else []
    return kind(made, folder, dataset, utterances, tracks=kept, device="cpu", resume=resume, init_from=init_from)


def stopping_at(step: int) -> type[Trainer]:
    """A trainer that is asked to stop once it has reached `step`, as a signal would."""

    class Stopping(Trainer):
        def _train_step(self) -> dict[str, object]:  # type: ignore[override]
            values = super()._train_step()
            self.stop_requested = self.step >= step
            return values  # type: ignore[return-value]

    return Stopping


def tensors(folder: Path, step: int) -> dict[str, np.ndarray]:
    """Every tensor of a checkpoint, by file and name."""
    files = sorted((folder / "checkpoints" / f"step_{step:08d}").glob("*.safetensors"))
    assert files, f"no checkpoint of step {step} in {folder}"
    return {f"{path.stem}/{name}": tensor for path in files for name, tensor in load_file(path).items()}


def without_checksums(checkpoint: Path) -> Path:
    """A checkpoint as versions wrote it that had no checksums; its files may then be changed."""
    path = checkpoint / "state.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in said.items() if name not in ("files", "sha256")}))
    return checkpoint


def on_two_processes(command: list[str]) -> None:
    """The command line in two processes that train together, on one thread each."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words += ["-m", "audiocodec", *command]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
