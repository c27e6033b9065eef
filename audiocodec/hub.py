"""Model repositories on a hub, by `org/name[@revision][#fingerprint]`: their names, what is fetched of them, and uploads.

The library huggingface_hub does the work, with its cache, its variables (HF_HOME, HF_HUB_OFFLINE, HF_TOKEN, HF_ENDPOINT)
and its log-in; it is imported when a repository is named, not before. What is fetched is JSON and safetensors: no code of
a repository is ever run. A repository is one that `publishing` wrote: its `config.json` names the weights with their
SHA-256, and a file that has another is removed from the cache and refused.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from audiocodec.errors import FingerprintMismatch, HubError
from audiocodec.files import read_text, sha256
from audiocodec.hub_errors import UPLOAD, translated
from audiocodec.records import from_json

MODEL_TYPE = "audiocodec"  # in config.json: a repository of ours
CONFIG_FILE, MODEL_FILE, PRIOR_FILE = "config.json", "model.safetensors", "prior.safetensors"
DISCRIMINATORS_FILE = "discriminators.safetensors"
MAX_CONFIG = 1 << 20  # bytes
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_NAME = re.compile(rf"({_WORD}/{_WORD})(?:@([^@#\s]+))?(?:#([0-9a-f]{{16}}))?")


@dataclass(frozen=True)
class Repository:
    """A model repository.

    Attributes:
        name: `org/name`.
        revision: branch, tag or commit; None: the main branch.
        fingerprint: that its model must have, 16 hexadecimal digits; None: any.
    """

    name: str
    revision: str | None = None
    fingerprint: str | None = None

    def __str__(self) -> str:
        """As it is written."""
        return self.name + (f"@{self.revision}" if self.revision else "")


def parse(text: str) -> Repository | None:
    """What `org/name[@revision][#fingerprint]` names; None: it is no such text, or a path.

    A path is what exists, ends in `.safetensors`, or lies in a folder that exists: `exp/first` is not looked for on a hub
    where there is a folder `exp`.
    """
    match = _NAME.fullmatch(text)
    if match is None or match[1].endswith(".safetensors"):
        return None
    with contextlib.suppress(OSError):
        if Path(text).exists() or Path(match[1].partition("/")[0]).is_dir():
            return None
    return Repository(*match.groups())


def checked(text: str) -> Repository:
    """The repository to upload to that `org/name[@branch]` names, whatever paths there are.

    Raises:
        HubError: it names none, or a fingerprint, too.
    """
    match = _NAME.fullmatch(text)
    if match is None or match[3]:
        raise HubError(f"{text!r} names no repository; write org/name, letters, digits and ._- on both sides")
    return Repository(*match.groups())


def fetch(repository: Repository, beside: Sequence[str] = ()) -> Path:
    """The model file of a repository, from the cache where it is there, else from the hub.

    Args:
        repository: what to fetch.
        beside: more files to fetch where the repository has them; a prior always comes along.

    Returns:
        The model file in the cache; what came along lies beside it.

    Raises:
        HubError: not reachable, not allowed, not there, no model of this package, or other bytes than it says.
        FingerprintMismatch: another model than the fingerprint demands.
    """
    config_path = _download(repository, CONFIG_FILE, repository.revision)
    said = _config(repository, config_path)
    stated = str(said.get("fingerprint"))
    if repository.fingerprint not in (None, stated):
        raise FingerprintMismatch(
            f"{repository}: holds model {stated}, not {repository.fingerprint}, which was asked for; name a revision "
            "that holds it (org/name@revision), or leave the fingerprint out"
        )
    commit = config_path.parent.name  # all files of one state
    files = said["files"]
    for name in (MODEL_FILE, PRIOR_FILE, *beside):
        if name in files or name == MODEL_FILE:
            path = _download(repository, name, commit)
            _check(repository, path, files.get(name))
    found = config_path.parent / MODEL_FILE
    held = _metadata(repository, found).get("fingerprint")
    if held != stated:
        _remove(found)
        raise HubError(
            f"{repository}: {MODEL_FILE} is not the model that {CONFIG_FILE} describes ({held or 'none of audiocodec'}, "
            f"need {stated}); ask its owner to push it again"
        )
    return found


def cached(name: str) -> Iterator[Path]:
    """Files of that name beside the configuration of a model of ours, in the cache: nothing is fetched."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return
    for path in sorted(Path(constants.HF_HUB_CACHE).glob(f"models--*/snapshots/*/{name}")):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if from_json(read_text(path.parent / CONFIG_FILE, MAX_CONFIG)).get("model_type") == MODEL_TYPE:
                yield path


def upload(folder: Path, repository: Repository, message: str, private: bool = False) -> str:
    """Upload a folder as one commit; the repository is made where there is none.

    Args:
        folder: of files.
        repository: where to; a revision is a branch that must be there.
        message: of the commit.
        private: a new repository is for its owner only.

    Returns:
        Address of the commit.

    Raises:
        HubError: not reachable or not allowed; then no file has changed there.
    """
    with translated(str(repository), UPLOAD):
        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(repository.name, private=private or None, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository.name, folder_path=folder, revision=repository.revision, commit_message=message
        )
    return str(done.commit_url)


def _download(repository: Repository, name: str, revision: str | None) -> Path:
    with translated(str(repository), name):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(repository.name, name, revision=revision))


def _config(repository: Repository, path: Path) -> dict[str, Any]:
    """What `config.json` says.

    Raises:
        HubError: nothing of this package.
    """
    try:
        said = from_json(read_text(path, MAX_CONFIG))
    except (OSError, ValueError) as error:
        raise HubError(f"{repository}: cannot read {CONFIG_FILE}: {error}") from None
    kind = said.get("model_type") if isinstance(said, dict) else None
    if kind != MODEL_TYPE or not isinstance(said.get("files"), dict):
        raise HubError(
            f"{repository}: holds no model of audiocodec (model_type {kind!r} in {CONFIG_FILE}, need {MODEL_TYPE!r} "
            "and the files that `audiocodec push` writes)"
        )
    return dict(said)


def _check(repository: Repository, path: Path, stated: Any) -> None:
    """Refuse a file that is not the one that was pushed, and remove it from the cache."""
    found = sha256(path)
    if found != stated:
        _remove(path)
        raise HubError(
            f"{repository}: {path.name} has SHA-256 {found[:16]}..., {CONFIG_FILE} says {str(stated)[:16]}...: damaged, or "
            "replaced by hand. It was removed from the cache: try again, or ask the owner to push again"
        )


def _remove(path: Path) -> None:
    """Remove a file from the cache: the link and what it leads to."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _metadata(repository: Repository, path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "numpy") as file:
            return dict(file.metadata() or {})
    except (OSError, ValueError, SafetensorError) as error:
        raise HubError(f"{repository}: {MODEL_FILE} cannot be read: {error}") from None
