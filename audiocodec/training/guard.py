"""What to do when a step is not finite: skip it, then cut the learning rate, then go back, then stop."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from audiocodec.errors import TrainingError

MAX_ROLLBACKS = 3


class Action(Enum):
    """The trainer's orders for one step."""

    STEP = "step"  # finite: update the weights
    SKIP = "skip"  # drop the gradients
    CUT = "cut"  # drop them and halve the learning rate
    ROLLBACK = "rollback"  # return to the last good checkpoint with half the learning rate


@dataclass
class Guard:
    """Counts consecutive bad steps; its fields are part of the training state."""

    cut_after: int
    rollback_after: int
    bad_in_a_row: int = 0
    skipped: int = 0
    rollbacks: int = 0
    rate_scale: float = 1.0

    def observe(self, finite: bool) -> Action:
        """Decide on a step.

        Args:
            finite: whether every loss and gradient norm of the step was finite, on every process.

        Raises:
            TrainingError: it went wrong again after `MAX_ROLLBACKS` returns.
        """
        if finite:
            self.bad_in_a_row = 0
            return Action.STEP
        self.bad_in_a_row += 1
        self.skipped += 1
        if self.bad_in_a_row >= self.rollback_after:
            self.roll_back("losses or gradients")
            return Action.ROLLBACK
        if self.bad_in_a_row == self.cut_after:
            self.rate_scale /= 2
            return Action.CUT
        return Action.SKIP

    def roll_back(self, what: str) -> None:
        """Count a return to the last good checkpoint, because `what` was not finite.

        Raises:
            TrainingError: it went wrong again after `MAX_ROLLBACKS` returns.
        """
        self.bad_in_a_row = 0
        self.rollbacks += 1
        if self.rollbacks > MAX_ROLLBACKS:
            raise TrainingError(f"{what} were not finite again after {MAX_ROLLBACKS} rollbacks")
        self.rate_scale /= 2
