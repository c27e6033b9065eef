"""Lean states: a model file and its discriminators in float16, together whenever the process is killed."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from audiocodec import model_file, model_places
from audiocodec.build import build_codec, build_discriminators
from audiocodec.config.load import config_from_text
from audiocodec.config.schema import Config
from audiocodec.errors import CheckpointError
from audiocodec.training.checkpoints import lean
from audiocodec.training.checkpoints.initial import take_discriminators
from audiocodec.training.checkpoints.lean import discriminators_beside
from audiocodec.training.losses import DiscriminatorBundle

TINY = """\
sample_rate: 8000
model:
  encoder: {strides: [4, 5], base_channels: 2}
  decoder: {dim: 8, layers: 1}
quantizer: {codebook_size: 16, codebook_dim: 4}
discriminator: {channels: 2, stft_windows: [128]}
"""


def config() -> Config:
    return config_from_text(TINY, "tiny")


def discriminators(value: float) -> DiscriminatorBundle:
    """Discriminators of which every weight is `value`."""
    bundle = DiscriminatorBundle(build_discriminators(config()))
    with torch.no_grad():
        for parameter in bundle.parameters():
            parameter.fill_(value)
    return bundle


def write(folder: Path, number: int) -> None:
    """The lean state of step `number`: its discriminators are full of that number."""
    notes = {"step": number, "quantizer_started": True}
    lean.save(folder, config(), build_codec(config()), discriminators(number), notes)


def pair(folder: Path) -> tuple[int, int]:
    """The numbers of model and discriminators."""
    model = model_places.resolve(folder)
    model_file.load(model)  # whole
    found = discriminators_beside(model)
    assert found is not None
    bias = next(tensor for name, tensor in load_file(found).items() if name.endswith(".bias"))
    return model_file.describe(model).notes["step"], int(bias[0])


def test_it_is_an_ordinary_model_and_half_as_large(tmp_path: Path) -> None:
    codec = build_codec(config())
    lean.save(tmp_path / "lean", config(), codec, discriminators(0.1), {"step": 3, "quantizer_started": True})
    model_file.save(codec, config(), tmp_path / "whole.safetensors")
    model = model_places.resolve(tmp_path / "lean")
    ours, whole = model_file.load(model).state_dict(), model_file.load(tmp_path / "whole.safetensors").state_dict()
    assert ours.keys() == whole.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(ours[name], tensor.half().float(), rtol=0, atol=0)
    assert {tensor.dtype for tensor in load_file(tmp_path / "lean" / lean.DISCRIMINATORS_FILE).values()} == {
        torch.float16
    }
    values = sum(tensor.numel() for tensor in whole.values())
    assert 2 * values < model.stat().st_size < 2 * values + 8000  # and a header
    assert sorted(path.name for path in (tmp_path / "lean").iterdir()) == [
        "discriminators.safetensors",
        "model.safetensors",
    ]


def test_discriminators_of_a_lean_state_are_taken(tmp_path: Path) -> None:
    source = DiscriminatorBundle(build_discriminators(config()))
    lean.save(tmp_path, config(), build_codec(config()), source, {"step": 3, "quantizer_started": True})
    target = DiscriminatorBundle(build_discriminators(config()))
    wav = 0.1 * torch.randn(2, 1, 800)
    before, wanted = ([s.detach() for judged, _ in b(wav, wav) for s, _ in judged] for b in (target, source))
    taken = take_discriminators(target, model_places.resolve(tmp_path))
    assert taken is not None and taken.loaded and not taken.fresh + taken.resized + taken.unused
    found = [s.detach() for judged, _ in target(wav, wav) for s, _ in judged]
    for a, b, c in zip(found, wanted, before, strict=True):
        assert float((a - b).norm()) < 0.01 * float((c - b).norm())


def test_a_run_without_discriminators_has_a_model_alone(tmp_path: Path) -> None:
    lean.save(tmp_path, config(), build_codec(config()), None, {"step": 1, "quantizer_started": True})
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert discriminators_beside(model_places.resolve(tmp_path)) is None


def test_halves_of_two_states_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", 1)
    write(tmp_path / "b", 2)
    shutil.copy(tmp_path / "b" / lean.DISCRIMINATORS_FILE, tmp_path / "a")
    with pytest.raises(
        CheckpointError, match=r"a/discriminators.safetensors: was written with another model file than"
    ):
        discriminators_beside(tmp_path / "a" / "model.safetensors")
    (tmp_path / "a" / lean.DISCRIMINATORS_FILE).write_bytes(b"x" * 100)
    with pytest.raises(CheckpointError, match="cannot read the weights"):
        discriminators_beside(tmp_path / "a" / "model.safetensors")


@pytest.mark.parametrize("full", [OSError(errno.ENOSPC, "No space left"), SafetensorError("No space left")])
def test_a_full_disk_leaves_the_last_pair(full: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 1)

    real = model_file.write_tensors

    def discriminators(path: Path, state: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        if lean.BELONGS_TO not in metadata:
            return real(path, state, metadata)
        path.write_bytes(b"half")
        raise full

    def write_bytes(self: Path, data: bytes) -> None:
        with open(self, "wb") as file:
            file.write(data[:9])
        raise full

    failing = {"pathlib.Path.write_bytes": write_bytes, "audiocodec.model_file.write_tensors": discriminators}
    for name, function in failing.items():
        with monkeypatch.context() as patch:
            patch.setattr(name, function)
            with pytest.raises(CheckpointError, match=r"cannot write.*No space left"):
                write(tmp_path, 2)
        assert pair(tmp_path) == (1, 1) and len(list(tmp_path.iterdir())) == 2


# A child of this process writes states; it is killed, and what it left is looked at. One thread: a fork has no other.
KILLED = """\
import itertools, os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_lean import pair, write

folder = Path(sys.argv[1])
write(folder, 1)

def changed():
    return (folder / "model.safetensors").stat().st_mtime_ns

def child(work):
    number = os.fork()
    if number == 0:
        work()
        os._exit(0)
    return number

def at_every_move():
    # Killed before and after each move of a file into its place: four moves of one state.
    for before in (True, False):
        for call in range(4):
            last = pair(folder)[0]
            def work():
                real, seen = os.replace, []
                def replace(*names):
                    if before and len(seen) == call:
                        os.kill(os.getpid(), signal.SIGKILL)
                    real(*names)
                    if len(seen) == call:
                        os.kill(os.getpid(), signal.SIGKILL)
                    seen.append(names)
                os.replace = replace
                write(folder, last + 1)
            _, status = os.waitpid(child(work), 0)
            assert os.WTERMSIG(status) == signal.SIGKILL
            yield last

def at_any_time():
    random.seed(0)
    for _ in range(25):
        last = pair(folder)[0]
        def work():
            for number in range(last + 1, 10**6):
                write(folder, number)
        number = child(work)
        for _ in range(random.randint(1, 2)):  # states later, and a moment
            seen = changed()
            while changed() == seen:
                time.sleep(0.001)
        time.sleep(random.uniform(0, 0.05))
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
        yield last

written = set()
for last in itertools.chain(at_every_move(), at_any_time()):
    model, discriminators = pair(folder)
    assert model == discriminators, (model, discriminators)
    assert model >= last
    written.add(model)
write(folder, 9999)
print(len(written), *sorted(path.name for path in folder.iterdir()))
"""


@pytest.mark.slow
def test_a_kill_at_any_second_leaves_a_pair(tmp_path: Path) -> None:
    script = KILLED.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    different, *names = done.stdout.split()
    assert int(different) > 25  # every child of the second kind had written some
    assert names == ["discriminators.safetensors", "model.safetensors"]
