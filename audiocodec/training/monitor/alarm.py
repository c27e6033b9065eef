"""The collapse alarm: a codebook of which hardly anything has been used for a while."""

from __future__ import annotations

from collections.abc import Mapping

from audiocodec.config.schema import Config


class CollapseAlarm:
    """Watches, per stage, how many codes a batch uses and in how many directions they spread.

    A stage is low when a batch has fewer different codes than `train.alarm_usage` of what it could have, or when the
    codes' effective dimension is below `train.alarm_dimension` of the latents' width. The alarm sounds at every line of
    the log once a stage has been low for `train.alarm_steps` steps on end. A resumed run counts from nothing.
    """

    def __init__(self, config: Config) -> None:
        """Read the thresholds.

        Args:
            config: the run.
        """
        size, frames = config.quantizer.codebook_size, config.train.batch_size * _frames(config)
        self.steps = config.train.alarm_steps
        self.least = {
            "different_per_frame": config.train.alarm_usage * min(1.0, size / frames),
            "effective_dimension_codes": config.train.alarm_dimension * config.quantizer.codebook_dim,
        }
        self.low_for: dict[str, int] = {}  # steps on end, by name of the value

    def observe(self, summary: Mapping[str, float], steps: int) -> list[str]:
        """Take note of a line of the log.

        Args:
            summary: of `CodebookStatistics.summary`; other entries are left alone.
            steps: that it is about.

        Returns:
            What to say, one line for each value that has been low for long enough.
        """
        low = {name: least for name in summary if (least := self._least(name)) is not None and summary[name] < least}
        self.low_for = {name: self.low_for.get(name, 0) + steps for name in low}
        return [
            f"COLLAPSE: {name} is {summary[name]:.4f}, below {least:.4f} for {self.low_for[name]} steps"
            for name, least in low.items()
            if self.low_for[name] >= self.steps
        ]

    def _least(self, name: str) -> float | None:
        return self.least.get(name.rpartition("/")[2]) if name.startswith("codebook/") else None


def _frames(config: Config) -> int:
    """Frames of a segment."""
    return config.segment_samples // config.hop_length
