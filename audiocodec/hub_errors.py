"""Errors of huggingface_hub as one of ours, with what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from audiocodec.errors import HubError
from audiocodec.installing import advice

UPLOAD = "upload"  # in messages, instead of the name of a file
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@contextmanager
def translated(repository: str, what: str) -> Iterator[None]:
    """Errors of the library as one of ours, which says what to do.

    Args:
        repository: `org/name`, with its revision.
        what: file, or `UPLOAD`.
    """
    needed(repository, what)
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)  # a line for every attempt, before the error that says it
    try:
        yield
    except Exception as error:
        reason = _reason(error, repository, what)
        if reason is None:
            raise
        raise HubError(f"{repository}: {reason}") from error
    finally:
        logger.setLevel(level)


def needed(repository: str, what: str) -> None:
    """Raise HubError where the library is not installed."""
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        why = "uploading needs" if what == UPLOAD else "no such file or model here; to look for it on the hub, install"
        raise HubError(f"{repository}: {why} huggingface_hub: {advice('hub')}") from None


def _reason(error: Exception, repository: str, what: str) -> str | None:
    """What an error of the library means and what to do; None: it is no error of a hub or of the way there."""
    from huggingface_hub import constants, errors

    status = next((s for e in _chain(error) if (s := getattr(getattr(e, "response", None), "status_code", None))), None)
    if isinstance(error, errors.GatedRepoError):
        return f"its owner must let you in: ask on its page, then {LOG_IN}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {repository.partition('@')[2] or 'main'!r}"
    if isinstance(error, errors.RepositoryNotFoundError) or (status == 404 and what == UPLOAD):
        return f"no such repository on {constants.ENDPOINT}, or a private one: check the name, or {LOG_IN}"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"has no {what}: no model that `audiocodec push` wrote"
    if status in (401, 403):
        return f"the hub refuses ({status}): {LOG_IN}, with a token for {'writing' if what == UPLOAD else 'reading'}"
    if isinstance(error, errors.OfflineModeIsEnabled) or (
        isinstance(error, errors.LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE
    ):
        return f"{what} is not in the cache ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE forbids to fetch it"
    if isinstance(error, errors.HFValidationError):
        return "is no name of a repository"
    if any(isinstance(e, (OSError, ValueError)) or type(e).__module__.startswith("httpx") for e in _chain(error)):
        cause = list(_chain(error))[-1]
        said = f"{type(cause).__name__}: {(str(cause).strip().splitlines() or ['no answer'])[0]}; try again later"
        if what == UPLOAD:
            return f"could not be uploaded to {constants.ENDPOINT}, no file has changed there (a new repository may be empty now): {said}"
        return f"{what} could not be had from {constants.ENDPOINT}, nothing was kept: {said}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it came from."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__
