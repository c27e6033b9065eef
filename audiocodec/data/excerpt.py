"""A part of a recording, which stands in the place of a path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audiocodec.errors import AudioError

if TYPE_CHECKING:
    from typing_extensions import Self

OVERSHOOT_SECONDS = 0.5  # a part may end so much behind its recording, as in Kaldi


class Excerpt(str):
    """Part of a recording; the text is for messages, no path.

    Attributes:
        recording: path or command.
        recording_id: of it in `wav.scp`.
        start: seconds into it.
        end: seconds into it; None: to its end.
        listed: the table that names the part.
    """

    recording: str
    recording_id: str
    start: float
    end: float | None
    listed: str

    def __new__(cls, recording: str, recording_id: str, start: float, end: float | None, listed: str = "") -> Self:
        """Join the parts for messages."""
        made = super().__new__(cls, f"{recording}[{start}:{'' if end is None else end}]")
        made.recording, made.recording_id, made.listed = recording, recording_id, listed
        made.start, made.end = start, end
        return made

    def __getnewargs__(self) -> tuple[str, str, float, float | None, str]:  # type: ignore[override]
        """For pickle."""
        return self.recording, self.recording_id, self.start, self.end, self.listed

    @property
    def seconds(self) -> float | None:
        """Length; None: to the end."""
        return None if self.end is None else self.end - self.start


def samples_of(start: float, seconds: float | None, sample_rate: int, num_samples: int) -> tuple[int, int]:
    """Where a part of a recording lies.

    Args:
        start: seconds into the recording.
        seconds: length; None: to its end.
        sample_rate: Hz.
        num_samples: of the recording.

    Returns:
        (first sample, how many).

    Raises:
        AudioError: nothing of it is in the recording, or more than half a second is not.
    """
    first = round(start * sample_rate)
    wanted = num_samples - first if seconds is None else round(seconds * sample_rate)
    count = min(wanted, num_samples - first)
    has = f"the recording has {num_samples / sample_rate:.3f} s"
    if count < 1:
        raise AudioError(f"the segment at {start:g} s is empty; {has}")
    if wanted - count > OVERSHOOT_SECONDS * sample_rate:
        raise AudioError(f"the segment at {start:g} s ends at {start + (seconds or 0):g} s; {has}")
    return first, count
