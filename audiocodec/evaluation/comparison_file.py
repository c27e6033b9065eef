"""What `compare` writes beside the folders of the systems: the page, and what a report wants to know of the comparison."""

from __future__ import annotations

import json
import os
from pathlib import Path

from audiocodec.errors import AudioCodecError
from audiocodec.files import write_text

RESULTS, COMPARISON = "RESULTS.md", "comparison.json"


def write_against(folder: Path, against: str | None) -> None:
    """Remember which system the others are compared with; None: none was named."""
    write_text(folder / COMPARISON, json.dumps({"against": against}) + "\n")


def read_against(folder: str | os.PathLike[str]) -> str | None:
    """The system that a comparison in a folder names; None where it names none, or there is no comparison.

    Raises:
        AudioCodecError: the file is damaged.
    """
    path = Path(folder) / COMPARISON
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AudioCodecError(f"{path}: cannot be read: {error}") from None
    against = said.get("against") if isinstance(said, dict) else 0
    if against is not None and not isinstance(against, str):
        raise AudioCodecError(f"{path}: `against` must be a text, got {against!r}; run the comparison again")
    return against
