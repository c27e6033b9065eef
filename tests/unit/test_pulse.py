"""A log shows life: after the first step, then at times that grow."""

from __future__ import annotations

import pytest

from audiocodec.training.monitor import pulse


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(pulse, "monotonic", lambda: now)
    watched = pulse.Pulse()
    said = []
    for second in range(120):
        now = 1000.0 + second
        if second == 60:
            watched.said()  # a regular line
        if watched.due():
            said.append(second)
    assert said == [0, 10, 25, 48, 94]
