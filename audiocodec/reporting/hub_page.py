"""README.md of a model on a hub: front matter that hubs read, the card, and how the model is used."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from audiocodec.errors import UsageError
from audiocodec.evaluation.catalogue import METRICS
from audiocodec.markdown import table
from audiocodec.model_header import FileHeader
from audiocodec.reporting.card import facts

TAGS = "audio", "speech", "neural-audio-codec", "audio-tokenizer"
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PICTURE = re.compile(r"!\[[^\]\n]*\]\((?![a-z]+:|#)([^)\s]+)[^)\n]*\)")
_BESIDE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(?:png|svg|jpg)")
_LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\((?![a-z]+:|#)[^)\n]*\)")  # to a file that no repository has
_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def page(header: FileHeader, card: str | None, license: str, tags: Sequence[str]) -> str:
    """The page.

    Args:
        header: of the model.
        card: Markdown of a model card; None: a table of what the header says.
        license: identifier, such as `apache-2.0`.
        tags: added to those of every codec.
    """
    text = _LINK.sub(r"\1", _FRONT.sub("", card)) if card is not None else _short(header)
    named = {"license": license, "library_name": "audiocodec", "pipeline_tag": "audio-to-audio"}
    lists = {
        "tags": ["audiocodec", *TAGS, header.config.quantizer.kind, *tags],
        "metrics": [m.name for metric in METRICS for m in metric.measures if f"| {m.heading} " in text],
    }
    front = [f"{key}: {json.dumps(value)}" for key, value in {**named, **lists}.items() if value]
    return "\n".join(["---", *front, "---", "", text.strip(), "", _use(header)])


def check_words(license: str, tags: Sequence[str]) -> None:
    """Refuse what cannot be a licence or a tag.

    Raises:
        UsageError: naming it.
    """
    for text in (license, *tags):
        if not _IDENTIFIER.fullmatch(text):
            raise UsageError(f"{text!r} is no licence or tag: letters, digits and ._-")


def pictures(card: str) -> dict[str, bool]:
    """Files that a card shows, by the names that it has for them, and whether they can come along: those beside it can."""
    return {name: _BESIDE.fullmatch(name) is not None for name in _PICTURE.findall(card)}


def _short(header: FileHeader) -> str:
    warning = f"Warning: {header.warning}.\n\n" if header.warning else ""
    return f"# {header.config.name}\n\n{warning}{table(['', ''], facts(header))}"


def _use(header: FileHeader) -> str:
    return f"""## Use

`pip install "audiocodec[torch,hub]"`, then, with the name of this repository for `ORG/NAME`:

```python
import audiocodec

codec = audiocodec.load("ORG/NAME#{header.fingerprint}")  # with the fingerprint: this model or none
codes = codec.encode(wav, sample_rate)  # [B, K, T]
wav = codec.decode(codes)  # [B, 1, S] at {header.config.sample_rate} Hz
```

or with transformers:

```python
import audiocodec.integrations.transformers  # registers the classes; no remote code is run
from transformers import AutoFeatureExtractor, AutoModel

extractor, model = AutoFeatureExtractor.from_pretrained("ORG/NAME"), AutoModel.from_pretrained("ORG/NAME")
inputs = extractor(wav, sampling_rate={header.config.sample_rate}, return_tensors="pt")
codes = model.encode(**inputs).audio_codes  # [B, K, T]
```
"""
