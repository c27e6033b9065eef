"""What a run writes to go on from: checkpoints, and lean states."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from audiocodec.config.schema import Config
from audiocodec.data.dataset import SegmentDataset
from audiocodec.errors import CheckpointError, NotFinite
from audiocodec.training.checkpoints import lean, state
from audiocodec.training.latents import calibrate
from audiocodec.training.schedule import Deadline
from audiocodec.training.setup import Parts

log = logging.getLogger("audiocodec.train")


class Keeper:
    """Writes the states of one run, and notes for the deadline how long that takes."""

    def __init__(self, folder: Path, config: Config, dataset: SegmentDataset, parts: Parts, deadline: Deadline) -> None:
        """Nothing is written yet; what a killed run had half written goes.

        Args:
            folder: of the experiment; `checkpoints/` and `lean/` are made in it.
            config: of the run.
            dataset: whose latents set the average's scale.
            parts: what is saved.
            deadline: of the run.
        """
        self.checkpoints, self.lean = folder / "checkpoints", folder / "lean"
        self.config, self.dataset, self.parts, self.deadline = config, dataset, parts, deadline
        self._written = monotonic()  # the last lean state, or the beginning
        if parts.accelerator.is_main_process:
            state.tidy(self.checkpoints)

    def need_space(self) -> None:
        """See whether the disk has room for what the run will write, before it begins.

        Raises:
            CheckpointError: not even for one checkpoint.
        """
        size, free = self._checkpoint_bytes(), shutil.disk_usage(self.checkpoints.parent).free
        wanted = size * max(
            1, self.config.train.keep_checkpoints + 1 - state.count(self.checkpoints)
        )  # one more, a while
        if free < size:
            raise CheckpointError(f"{self.checkpoints}: a checkpoint takes {_gb(size)}, {_gb(free)} are free")
        if free < wanted:
            log.warning("%s: checkpoints will take %s more, %s are free", self.checkpoints, _gb(wanted), _gb(free))

    def _checkpoint_bytes(self) -> int:
        """Of a checkpoint when all that is trained has been: weights, average and exported average, and two moments."""
        sizes: dict[str, int] = {}
        for name, module in self.parts.modules.items():
            sizes[name] = sum(tensor.nbytes for tensor in module.state_dict().values())
        return 5 * sizes["codec"] + 3 * sizes.get("discriminators", 0)

    @property
    def newest(self) -> Path | None:
        """The newest checkpoint."""
        return state.latest(self.checkpoints)

    def save(self, values: Mapping[str, Any]) -> bool:
        """Write a checkpoint, where that of the step is not there yet, and drop the oldest; other processes wait.

        Args:
            values: of the state, JSON-able; `step` names the checkpoint.

        Returns:
            False, on every process: something in it is not finite, and nothing was written.

        Raises:
            CheckpointError: it cannot be written.
        """
        unsound = False
        folder, begun = self.checkpoints / f"step_{values['step']:08d}", monotonic()
        if self.parts.accelerator.is_main_process and not folder.exists():
            unsound = not self._save(folder, values)
            self.deadline.saves["checkpoint"] = monotonic() - begun
        self.parts.accelerator.wait_for_everyone()
        return not self.parts.agree(unsound, 0.0)[0]

    def _save(self, folder: Path, values: Mapping[str, Any]) -> bool:
        """Whether all was finite and is written."""
        average = self.parts.ema.average
        calibrate(average, self.dataset, self.config)
        try:
            state.save(folder, self.config, average, self.parts.modules, self.parts.optimizers, values)
        except NotFinite as error:
            log.warning("step %d: no checkpoint: %s", values["step"], error)
            return False
        state.prune(self.checkpoints, self.config.train.keep_checkpoints)
        return True

    def save_lean(self, values: Mapping[str, Any], *, last: bool = False) -> None:
        """Replace the lean state if `train.lean_minutes` have gone by since the last one, or this is the `last`.

        Args:
            values: of the state; `step` and `quantizer_started` go into the model file.
            last: the run ends.

        Raises:
            CheckpointError: it cannot be written, or, of the last one, something is not finite: the old one is as it was.
        """
        interval, begun = 60 * self.config.train.lean_minutes, monotonic()
        if (
            not interval
            or not self.parts.accelerator.is_main_process
            or (begun - self._written < interval and not last)
        ):
            return
        discriminators = self.parts.raw_discriminators if self.parts.discriminators is not None else None
        calibrate(self.parts.ema.average, self.dataset, self.config)
        notes = {name: values[name] for name in ("step", "quantizer_started")}
        try:
            lean.save(self.lean, self.config, self.parts.ema.average, discriminators, notes)
        except NotFinite as error:
            if last:
                raise
            log.warning("step %d: no lean state: %s", values["step"], error)
        self._written = monotonic()
        self.deadline.saves["lean"] = self._written - begun

    def restore(self, folder: Path) -> dict[str, Any]:
        """Read a checkpoint into the parts; returns its values.

        Raises:
            CheckpointError: it does not fit.
        """
        begun = monotonic()
        values = state.load(folder, self.config, self.parts.modules, self.parts.optimizers)
        self.deadline.saves.setdefault("checkpoint", monotonic() - begun)  # the best guess until one is written
        return values


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
