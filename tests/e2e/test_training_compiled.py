"""A compiled run: the same training, the same checkpoints, and an error where nothing can be compiled.

All but two of these tests compile to the operations that there are (`aot_eager`): graphs, gradients and names are those of
a real compiler, which takes minutes for them on a CPU.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from support.training_run import config, stopping_at, tensors, trainer
from torch import nn
from torch._dynamo.utils import counters

from audiocodec.build import build_codec
from audiocodec.errors import TrainingError
from audiocodec.training import compilation

pytestmark = [
    pytest.mark.usefixtures("fresh_process"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),  # torch looks at it while it traces
]
BOTH = "discriminator.kinds=[ms_stft,mpd] discriminator.mpd_periods=[2] discriminator.mpd_channels=2 "
RUN = "train.warmup_autoencoder_steps=2 train.log_interval=1 loss.balancer=true "
COMPILED = "train.compile=true"
CAN_COMPILE = shutil.which("g++") and (Path(sysconfig.get_path("include")) / "Python.h").exists()


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile without a compiler; count from nothing."""
    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_a_compiled_run_is_the_run_it_compiles(tmp_path: Path, data: Path) -> None:
    """Through the start of the quantizer at step 2 and of the discriminators at step 1, with every loss balanced."""
    assert trainer(config(BOTH + RUN + COMPILED), tmp_path / "compiled", data).run() == 4
    found = dict(counters["stats"])
    assert trainer(config(BOTH + RUN), tmp_path / "plain", data).run() == 4
    compiled, plain = tensors(tmp_path / "compiled", 4), tensors(tmp_path / "plain", 4)
    assert compiled.keys() == plain.keys() and not any("_orig_mod" in name for name in compiled)
    start = tensors(tmp_path / "plain", 0)
    for part in ("codec/", "ema/", "discriminators/"):  # Adam turns rounding into movement where a gradient is none
        names = [name for name in plain if name.startswith(part) and plain[name].dtype.kind == "f"]
        apart, moved = (sum(float(np.sum((other[n] - plain[n]) ** 2)) for n in names) for other in (compiled, start))
        assert apart < 1e-4 * moved
    # One graph each of encoder, decoder and the doubling that is tried first; of each discriminator two: real without
    # gradient to the waveform, fake with. None is split, none comes again for the quantizer.
    assert found["unique_graphs"] == 3 + 2 * 2
    assert not counters["graph_break"]


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_a_compiled_run_resumes(tmp_path: Path, data: Path) -> None:
    """All that a big GPU wants at once."""
    made = config(RUN + COMPILED + " train.precision=bf16 data.on_device=true data.augment.noise=0.5")
    whole = trainer(made, tmp_path / "whole", data)
    assert whole.run() == 4 and whole.guard.skipped == 0
    torch._dynamo.reset()
    assert trainer(made, tmp_path / "parts", data, kind=stopping_at(2)).run() == 2
    assert trainer(made, tmp_path / "parts", data, resume=True).run() == 4
    one, two = tensors(tmp_path / "whole", 4), tensors(tmp_path / "parts", 4)
    assert one.keys() == two.keys()
    assert [name for name in one if not np.array_equal(one[name], two[name])] == []


def test_a_machine_that_cannot_compile_says_so(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler\nfound")

    monkeypatch.setattr(compilation, "BACKEND", broken)
    torch._dynamo.reset()
    with pytest.raises(
        TrainingError, match=r"train\.compile: torch\.compile fails on cpu; it needs a C\+\+ .* no compiler found"
    ):
        trainer(config(RUN + COMPILED), tmp_path, data)


class Judge(nn.Linear):
    """In its backward pass a kept value is read for the last time where one of its size is written."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x).sigmoid().exp()
        return super().forward(y).tanh().sum()


@pytest.mark.slow
@pytest.mark.skipif(not CAN_COMPILE, reason="needs g++ and Python's headers")
@pytest.mark.filterwarnings("ignore::Warning:torch")  # deprecations of its own
def test_what_another_run_compiled_is_no_trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step goes back through a discriminator twice; a backward pass compiled for once may write over what the next one
    needs."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # where a run finds what those before it compiled
    torch.manual_seed(0)
    judge = Judge(8, 8).requires_grad_(False)
    wav = torch.randn(16, 8, requires_grad=True)
    (expected,) = torch.autograd.grad(judge(wav), [wav])
    with torch._inductor.config.patch(fx_graph_cache=True):
        for backward_passes in (1, 2):
            torch._dynamo.reset()
            if backward_passes == 1:  # of another run
                judge.compile(dynamic=False, backend=compilation.BACKEND)
            else:
                compilation.compile_modules(build_codec(config(COMPILED)), nn.ModuleDict({"judge": judge}))
            loss = judge(wav)
            for _ in range(backward_passes):
                (gradient,) = torch.autograd.grad(loss, [wav], retain_graph=backward_passes > 1)
                torch.testing.assert_close(gradient, expected)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not CAN_COMPILE, reason="needs g++ and Python's headers")
@pytest.mark.filterwarnings("ignore::Warning:torch")  # deprecations of its own; and complex numbers are not compiled
def test_the_real_compiler(tmp_path: Path, data: Path) -> None:
    torch._dynamo.reset()
    small = "discriminator.kinds=[] train.steps=2 model.encoder.strides=[20] model.encoder.residual_layers=0 "
    assert trainer(config(small + COMPILED), tmp_path / "compiled", data).run() == 2
    assert trainer(config(small), tmp_path / "plain", data).run() == 2
    compiled, plain = tensors(tmp_path / "compiled", 2), tensors(tmp_path / "plain", 2)
    assert compiled.keys() == plain.keys()
    name = "optimizers/codec.decoder.embed.conv.weight.exp_avg"  # an average of gradients
    np.testing.assert_allclose(compiled[name], plain[name], rtol=1e-2, atol=1e-3 * np.abs(plain[name]).max())
