"""The error for a command that was not written as it should be."""

from __future__ import annotations

from audiocodec.errors import AudioCodecError


class UsageError(AudioCodecError):
    """Arguments that contradict each other or the files there are; exit status 2."""
