"""The exception tree: every failure a user can cause or meet has a class here.

A message says where, what is wrong, what was found against what was expected, and what to do.
The command line turns any `AudioCodecError` into one line on stderr and a non-zero exit status.
"""


class AudioCodecError(Exception):
    """Base of all errors this package raises on purpose.

    Example:
        >>> try:
        ...     audiocodec.load("none")
        ... except audiocodec.AudioCodecError as error:
        ...     print(type(error).__name__, str(error)[:20])
        CheckpointError none: no such model;
    """


class UsageError(AudioCodecError):
    """Arguments that contradict each other or the files there are; exit status 2 on the command line."""


class ConfigError(AudioCodecError):
    """A configuration that cannot be read or does not make sense."""


class AudioError(AudioCodecError):
    """Audio that cannot be read, written or encoded."""


class ManifestError(AudioCodecError):
    """A Kaldi-style data folder that is incomplete or inconsistent."""


class TokenFileError(AudioCodecError):
    """A token file that cannot be read or written."""


class NotATokenFile(TokenFileError):
    """The first bytes are not those of a token file."""


class UnsupportedVersion(TokenFileError):
    """A token file of a layout this version does not know."""


class PriorError(TokenFileError):
    """A prior that cannot be read, or of another codec; or a compressed token file whose prior is not at hand."""


class TruncatedFile(TokenFileError):
    """A token file that ends before its header says it does."""


class CorruptFile(TokenFileError):
    """A token file whose fields or checksum contradict each other."""


class CheckpointError(AudioCodecError):
    """Weights that cannot be read or do not fit the model they are loaded into."""


class NotFinite(CheckpointError):
    """Weights that are NaN or infinite."""


class FingerprintMismatch(CheckpointError):
    """Tokens of one codec given to another, or another model than the one that was asked for."""


class HubError(CheckpointError):
    """A repository on a hub that cannot be read or written, or holds no model of this package."""


class MetricUndefined(AudioCodecError):
    """A metric that has no value for this pair of signals; never replaced by a number.

    Attributes:
        reason: why, in words that many pairs share, so that they can be counted.
        detail: what only this pair has: how late, how long.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        """Make the message `reason: detail`, or `reason` alone."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


class TrainingError(AudioCodecError):
    """Training that cannot start or cannot go on."""


class LanguageModelError(AudioCodecError):
    """A language model that cannot be read, or cannot do what is asked: another codec, no room for the prompt."""


class ReportError(AudioCodecError):
    """Evaluations that cannot be compared, or stand on one page, as asked."""


class CorpusError(AudioCodecError):
    """A corpus that cannot be tokenized as asked, or its tokens: plan, shards, source, missing package."""
