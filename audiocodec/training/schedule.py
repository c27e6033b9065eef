"""Where a run is on its way, what follows from it (learning rates, phases), and when it has to stop.

Every key that counts steps towards the end of a run is read at a place from 0 to `train.steps`. Without `train.minutes`
that is the number of updates so far. With it, it is the share of the minutes that is used, times `train.steps`: warm-ups,
phases and intervals become shares of the budget, and a run ends annealed however many updates it had time for. Time is
the monotonic clock's (a wall clock that is set changes nothing), or with `train.clock: cpu` the CPU time of the process,
which compares runs fairly on a machine that others use.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from time import monotonic, process_time

from audiocodec.config.schema import Config

SAVE_MARGIN = 1.5  # a save takes no longer than the last of its kind, times this


class Schedule:
    """Places, and what is on at them.

    Attributes:
        seconds: of `train.minutes` that are used; part of the training state; 0 where steps count.
    """

    def __init__(self, config: Config) -> None:
        """At the beginning.

        Args:
            config: the run.
        """
        self.config = config
        self.budget = 60 * config.train.minutes
        self.seconds = 0.0
        self._zero = self._now()

    def restore(self, step: int, seconds: float) -> None:
        """Go on where a state was saved; a run that steps have driven so far has used as large a share of its minutes."""
        share = min(1.0, step / self.config.train.steps)
        self.seconds = (seconds or share * self.budget) if self.budget else 0.0

    def start(self) -> None:
        """Let the clock run on from `seconds`."""
        self._zero = self._now() - self.seconds

    def clock(self) -> float:
        """Seconds that are used by now on this process; several agree on one reading and set `seconds`."""
        return self._now() - self._zero if self.budget else 0.0

    def _now(self) -> float:
        return process_time() if self.config.train.clock == "cpu" else monotonic()

    def place(self, step: int) -> float:
        """0 to `train.steps`: where a run is that has taken `step` updates and used `seconds`."""
        if not self.budget:
            return step
        return min(1.0, self.seconds / self.budget) * self.config.train.steps

    def over(self, step: int) -> bool:
        """Whether all steps are taken, or the minutes used."""
        return self.place(step) >= self.config.train.steps

    def seconds_left(self, step: int, rate: float) -> float:
        """Until the end, at `rate` steps a second."""
        return self.budget - self.seconds if self.budget else (self.config.train.steps - step) / rate

    def quantizes(self, place: float) -> bool:
        """Whether the warm-up of the autoencoder is over."""
        return place >= self.config.train.warmup_autoencoder_steps

    def trains_discriminators(self, place: float) -> bool:
        """Whether the discriminators are trained."""
        return place >= self.config.discriminator.start_step

    def is_adversarial(self, place: float) -> bool:
        """Whether the codec is trained against them."""
        return place >= self.config.discriminator.start_step + self.config.discriminator.alone_steps

    def rates(self, place: float) -> dict[str, float]:
        """Learning rates by optimizer; that of the discriminators begins where they do."""
        t = self.config.train
        return {
            "codec": learning_rate(self.config, t.learning_rate, place),
            "discriminators": learning_rate(
                self.config, t.discriminator_learning_rate, place, self.config.discriminator.start_step
            ),
        }


def due(interval: int, before: float, now: float) -> bool:
    """Whether a multiple of `interval` lies in (`before`, `now`]."""
    return now // interval > before // interval


def learning_rate(config: Config, base: float, place: float, first: int = 0) -> float:
    """Linear warm-up from `first` on, then cosine decay to `lr_final_ratio`: of the place alone, nothing to resume."""
    t = config.train
    if place < first:
        return 0.0
    if place - first < t.lr_warmup_steps:
        return base * min(1.0, (place - first + 1) / t.lr_warmup_steps)
    progress = min(1.0, (place - first - t.lr_warmup_steps) / max(1, t.steps - first - t.lr_warmup_steps))
    return base * (t.lr_final_ratio + (1 - t.lr_final_ratio) * (1 + math.cos(progress * math.pi)) / 2)


class Allowance:
    """Keeps what is done now and then, and how long that takes nobody knows before, to a share of the time.

    Attributes:
        seconds: that it took the last time; 0 before the first.
    """

    def __init__(self, share: float) -> None:
        """Nothing is spent.

        Args:
            share: of the time, above 0; 1: all of it.
        """
        self.share, self.seconds, self._ended = share, 0.0, -math.inf

    def allows(self) -> bool:
        """Whether enough time has gone by since the last time."""
        return monotonic() - self._ended >= self.seconds * (1 / self.share - 1)

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """Take the time of what is done inside."""
        begun = monotonic()
        yield
        self._ended = monotonic()
        self.seconds = self._ended - begun


class Deadline:
    """A moment by which the final save has to be done."""

    def __init__(self, at: float = math.inf) -> None:
        """Nothing is known of saves yet.

        Args:
            at: on the monotonic clock.
        """
        self.at = at
        self.saves: dict[str, float] = {}  # seconds of the last save, by its kind
        self.step_seconds = 0.0  # of the last step

    def left(self) -> float:
        """Seconds that training may still take."""
        return self.at - monotonic() - SAVE_MARGIN * sum(self.saves.values())

    def near(self) -> bool:
        """Whether another step and the saves might not be done in time."""
        return self.left() < self.step_seconds
