"""How often a step waits for the device: what a GPU would have to finish before the next operation can be asked for."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training_run import config, trainer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from audiocodec.quantization import search

PACKAGE = str(Path(__file__).parents[2] / "audiocodec")
# Numbers that go to the host, and shapes that depend on values: on a GPU each waits for all that was asked for before.
WAITING = {"_local_scalar_dense", "bincount", "nonzero", "masked_select", "equal", "_unique2", "unique_consecutive"}
INDEXING = {"index", "index_put", "index_put_"}


class Waits(TorchDispatchMode):
    """Notes where in the package each wait is."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.places: list[str] = []

    def note(self) -> None:
        frames = [f for f in traceback.extract_stack() if f.filename.startswith(PACKAGE)]
        self.places.append(f"{Path(frames[-1].filename).stem}.{frames[-1].name}")

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.__name__.partition(".")[0]
        masks = [i for i in args[1] if isinstance(i, Tensor) and i.dtype == torch.bool] if name in INDEXING else []
        if name in WAITING or masks:
            self.note()
        return func(*args, **(kwargs or {}))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Also of ways that leave a tensor without an operation where it is on the CPU already."""
    found = Waits()

    def noting(real: Callable[..., Any]) -> Callable[..., Any]:
        def noted(tensor: Tensor, *rest: Any) -> Any:
            found.note()
            return real(tensor, *rest)

        return noted

    for name in ("cpu", "tolist", "numpy"):
        monkeypatch.setattr(Tensor, name, noting(getattr(Tensor, name)))
    monkeypatch.setattr(search, "_frames_at_once", lambda table: 1000)  # the search of a GPU
    return found


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize(
    "overrides",
    [
        "",
        "quantizer.num_codebooks=2 quantizer.dropout=0.5 loss.loudness=1 discriminator.kinds=[ms_stft,mpd]",
        "quantizer.kind=vq_ema quantizer.replace_below=0.5",
        "quantizer.kind=vq_fc quantizer.low_dim=2 train.gradient_accumulation=2",
        "train.precision=bf16 data.on_device=true quantizer.gradient=rotation",
        "model.decoder.kind=voiced data.on_device=true",
        "loss.balancer=true data.augment.room=0.5 data.augment.talker=0.5 data.augment.clipping=0.5",
    ],
)
def test_a_step_waits_once(overrides: str, tmp_path: Path, data: Path, waits: Waits) -> None:
    run = trainer(config(f"discriminator.start_step=0 {overrides}"), tmp_path, data)
    run.feeder = run._feeder()
    for _ in range(3):  # quantization is switched on, optimizers make their state
        run._train_step()
    waits.places.clear()
    with waits:
        values = run._train_step()
        run.observer.add_step(values, 1.0)
    assert run.step == 4 and {"loss/codebook", "loss/adversarial", "loss/discriminator"} <= values.keys()
    drawn_on_the_cpu = "augmentation.__call__"
    assert [place for place in waits.places if place != drawn_on_the_cpu] == ["setup.finite"]


def test_waits_are_seen(waits: Waits) -> None:
    x = torch.arange(4.0)
    waits.note = lambda: waits.places.append("here")  # type: ignore[method-assign]
    with waits:
        float(x[0]), bool(x.any()), x[x > 1], x.long().bincount(), x.nonzero(), x.tolist(), x.cpu()
        x + 1, x[torch.tensor([0, 1])], torch.where(x > 1, x, 0)
    assert len(waits.places) == 7
