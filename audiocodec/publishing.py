"""A model as a folder that `audiocodec.load` and transformers read, and the same folder in a repository on a hub.

The folder holds `config.json` (for transformers, with our configuration in it and the SHA-256 of the weights),
`model.safetensors`, `README.md` with front matter, `preprocessor_config.json`, and a file of Python that only imports our
classes; beside them, where there are such, the prior, and the discriminators for fine-tuning.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocodec import hub, model_file, model_places
from audiocodec.errors import CheckpointError, PriorError, UsageError
from audiocodec.files import replacing, sha256, write_text
from audiocodec.hub import CONFIG_FILE, DISCRIMINATORS_FILE, MODEL_FILE, MODEL_TYPE, PRIOR_FILE
from audiocodec.hub_errors import UPLOAD, needed
from audiocodec.model_header import FileHeader
from audiocodec.reporting import hub_page
from audiocodec.terminal import printable
from audiocodec.tokens.prior import Prior

if TYPE_CHECKING:
    from audiocodec.codec.torch import Codec

log = logging.getLogger("audiocodec.publishing")
EXTRACTOR_FILE, CODE_FILE = "preprocessor_config.json", "modeling_audiocodec.py"
CARD_FILE = "CARD.md"
CODE = '''"""The classes of this repository for transformers: those of the installed package, `pip install "audiocodec[torch]"`."""

from audiocodec.integrations.transformers import AudioCodecConfig, AudioCodecFeatureExtractor, AudioCodecModel

__all__ = ["AudioCodecConfig", "AudioCodecFeatureExtractor", "AudioCodecModel"]
'''


def save_pretrained(
    codec: Codec,
    folder: str | Path,
    *,
    license: str = "unknown",
    tags: Sequence[str] = (),
    card: str | Path | None = None,
) -> Path:
    """Write a codec as a folder for `audiocodec.load`, for transformers, and for a hub.

    Weights that 16 bits hold exactly are written in 16 bits; the fingerprint stays. Where the training data lay is not
    written.

    Args:
        codec: on torch; it is not changed.
        folder: made where it is not there; files of the same names are replaced, each whole or not at all, `config.json`
            last.
        license: identifier as hubs have it, such as `apache-2.0`.
        tags: more than those that every codec gets.
        card: Markdown file for README.md, whose pictures come along if they lie beside it, and are named in a warning if
            not; None: a short one is written.

    Returns:
        The folder.

    Raises:
        CheckpointError: it cannot be written, holds a prior or discriminators that were there before, or weights are not
            finite.
        UsageError: a codec that is not on torch; a card that cannot be read; a licence or tag that cannot be one.
    """
    _check(codec, license, tags, card)
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{target}: cannot be made: {error.strerror or error}") from error
    for name in (PRIOR_FILE, DISCRIMINATORS_FILE):
        if (target / name).exists():
            raise CheckpointError(f"{target}: holds {name} of a model that was there before; name a new folder")
    _write_weights(codec, target / MODEL_FILE)
    _finish(target, license, tags, card)
    return target


def push(
    model: Codec | str | Path,
    repository: str,
    *,
    license: str = "unknown",
    tags: Sequence[str] = (),
    card: str | Path | None = None,
    private: bool = False,
    message: str | None = None,
) -> str:
    """Upload a model to a repository on a hub, as one commit.

    Args:
        model: a codec, or what `audiocodec.load` takes; of a file or an experiment the prior and the discriminators beside
            it go along.
        repository: `org/name`, made where there is none; `org/name@branch` for a branch that is there.
        license, tags: see `save_pretrained`.
        card: Markdown file for README.md; None: `CARD.md` beside the model where there is one, else a short one.
        private: a new repository is for its owner only.
        message: of the commit.

    Returns:
        Address of the commit.

    Raises:
        CheckpointError: no such model, or a damaged one.
        HubError: the hub cannot be reached or refuses; no file has changed there then.
        UsageError: see `save_pretrained`.
    """
    place = hub.checked(repository)
    _check(model, license, tags, card)
    needed(str(place), UPLOAD)
    with tempfile.TemporaryDirectory(prefix="audiocodec-push-") as temporary:
        folder = Path(temporary)
        if isinstance(model, (str, Path)):
            card = _write_model(model, folder, card)
        else:
            _write_weights(model, folder / MODEL_FILE)
        _finish(folder, license, tags, card)
        fingerprint = model_file.describe(folder / MODEL_FILE).fingerprint
        return hub.upload(folder, place, message or f"audiocodec model {fingerprint}", private)


def _check(model: Codec | str | Path, license: str, tags: Sequence[str], card: str | Path | None) -> None:
    """Refuse what cannot be written, before anything is."""
    from audiocodec.codec.torch import Codec

    if not isinstance(model, (str, Path, Codec)):
        raise UsageError(f'a codec on torch is needed, got {type(model).__name__}; load it with runtime="torch"')
    hub_page.check_words(license, tags)
    if card is not None:
        _text(card)


def _write_model(model: str | Path, folder: Path, card: str | Path | None) -> str | Path | None:
    """Weights of a model on disk, with the prior and the discriminators beside it; the card that is given or there."""
    from audiocodec.training.checkpoints.lean import discriminators_beside

    path = model_places.resolve(model, beside=(DISCRIMINATORS_FILE,))
    _write_weights(model_file.load(path), folder / MODEL_FILE)
    if (prior := path.parent / PRIOR_FILE).is_file():
        _check_prior(prior, model_file.describe(folder / MODEL_FILE).fingerprint)
        _copy(prior, folder / PRIOR_FILE)
    if (discriminators := discriminators_beside(path)) is not None:
        tensors = model_file.read_tensors(discriminators)
        model_file.write_atomically(folder / DISCRIMINATORS_FILE, lambda to: model_file.write_tensors(to, tensors))
    beside = [place / CARD_FILE for place in (Path(model), path.parent)]
    return card or next((found for found in beside if found.is_file()), None)


def _check_prior(path: Path, fingerprint: str) -> None:
    try:
        made_for = Prior.load(path).config.codec
    except PriorError as error:
        raise CheckpointError(str(error)) from None
    if made_for != fingerprint:
        raise CheckpointError(
            f"{path}: is for model {made_for}, this is {fingerprint}; remove it, or put the right one there"
        )


def _write_weights(codec: Codec, path: Path) -> None:
    half = all(bool((t.half().to(t) == t).all()) for t in codec.state_dict().values() if t.is_floating_point())
    model_file.save(codec, model_file.public(codec.config), path, half=half, notes=dict(codec.notes))
    if half and codec.near_ties.error.seen:  # rounding has changed nothing
        model_file.state_latent_error(path, codec.near_ties.error)


def _finish(folder: Path, license: str, tags: Sequence[str], card: str | Path | None) -> None:
    """What goes beside the weights, `config.json` last."""
    header = model_file.describe(folder / MODEL_FILE)
    text = None if card is None else _text(card)
    for name, may_come in hub_page.pictures(text or "").items():
        if may_come and (picture := Path(card or "").parent / name).is_file():
            _copy(picture, folder / name)
        else:
            why = "no such file is beside it" if may_come else "only .png, .svg and .jpg files beside it come along"
            log.warning("%s", printable(f"{card}: shows {name}, which is left out: {why}"))
    write_text(folder / "README.md", hub_page.page(header, text, license, tags))
    write_text(folder / EXTRACTOR_FILE, _json(_extractor(header)))
    write_text(folder / CODE_FILE, CODE)
    names = [name for name in (MODEL_FILE, PRIOR_FILE, DISCRIMINATORS_FILE) if (folder / name).is_file()]
    write_text(folder / CONFIG_FILE, _json(_config(header, {name: sha256(folder / name) for name in names})))


def _config(header: FileHeader, files: Mapping[str, str]) -> dict[str, Any]:
    config = header.config
    return {
        "architectures": ["AudioCodecModel"],
        "auto_map": {
            "AutoConfig": f"{Path(CODE_FILE).stem}.AudioCodecConfig",
            "AutoModel": f"{Path(CODE_FILE).stem}.AudioCodecModel",
            "AutoModelForAudioTokenization": f"{Path(CODE_FILE).stem}.AudioCodecModel",
        },
        "model_type": MODEL_TYPE,
        "dtype": "float32",
        "sampling_rate": config.sample_rate,
        "hop_length": config.hop_length,
        "num_quantizers": config.quantizer.num_codebooks,
        "codebook_size": config.quantizer.codebook_size,
        "fingerprint": header.fingerprint,
        "latent_error": json.loads(header.latent_error_text),
        "notes": dict(header.notes),
        "files": dict(files),
        "codec": json.loads(header.config_text),
    }


def _extractor(header: FileHeader) -> dict[str, Any]:
    return {
        "feature_extractor_type": "AudioCodecFeatureExtractor",
        "auto_map": {"AutoFeatureExtractor": f"{Path(CODE_FILE).stem}.AudioCodecFeatureExtractor"},
        "feature_size": 1,
        "sampling_rate": header.config.sample_rate,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
