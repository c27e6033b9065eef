"""Words that a recogniser heard, and how many of them differ: what every word error rate has in common."""

from __future__ import annotations

import re
from collections.abc import Sequence

from audiocodec.errors import MetricUndefined


def words_of(text: str) -> list[str]:
    """The words of a transcript in lower case: letters and digits of any script, and apostrophes between them."""
    return re.findall(r"\w+(?:'\w+)*", text.lower())


def count_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Fewest words to exchange, leave out or add (Levenshtein, package `jiwer`) that turn `said` into `heard`."""
    if not said or not heard:
        return len(said) + len(heard)
    from jiwer import process_words

    found = process_words(" ".join(said), " ".join(heard))
    return int(found.substitutions + found.deletions + found.insertions)


def error_rate(said: str, heard: str) -> float:
    """Errors per word of the transcript `said`, 0 upwards.

    Raises:
        MetricUndefined: it has no word.
    """
    reference, estimate = words_of(said), words_of(heard)
    if not reference:
        raise MetricUndefined("no word in the reference transcript")
    return count_errors(reference, estimate) / len(reference)
