"""The page's players: for each utterance, controls, and the pictures of what every system did to it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from audiocodec.evaluation.catalogue import CODING, Measure
from audiocodec.reporting.cells import swatch
from audiocodec.reporting.listening.clips import MAX_SECONDS, Clip, Example, flac
from audiocodec.reporting.plots.spectrogram import (
    ERROR_DB,
    RANGE_DB,
    error_picture,
    level_picture,
    power,
    scale_picture,
)
from audiocodec.reporting.systems import System

MAX_SCORES = 3  # shown beside a picture


def players(systems: Sequence[System], examples: Sequence[Example], measures: Sequence[Measure]) -> str:
    """HTML of all players, with a legend of the colours.

    Args:
        systems: all of the report.
        examples: what can be listened to.
        measures: the first few are shown beside the pictures.
    """
    shown = [measure for measure in measures if measure not in CODING][:MAX_SCORES]
    return _legend() + "".join(_player(number, example, systems, shown) for number, example in enumerate(examples))


def audio_data(systems: Sequence[System], examples: Sequence[Example]) -> list[dict[str, Any]]:
    """The audio of all examples, ready for JSON; systems by their place in the table."""
    return [
        {
            "id": example.id,
            "reference": _audio(example.reference, example),
            "anchor": _audio(example.anchor, example),
            "systems": [_audio(example.systems.get(system.label), example) for system in systems],
        }
        for example in examples
    ]


def _audio(clip: Clip | None, example: Example) -> dict[str, Any] | None:
    return None if clip is None else {"gain": round(clip.gain, 6), "flac": flac(clip.wav, example.sample_rate)}


def _player(number: int, example: Example, systems: Sequence[System], measures: Sequence[Measure]) -> str:
    heard = min(example.seconds, MAX_SECONDS)
    length = f"{example.seconds:.1f} s" + (f", first {heard:.0f} s here" if example.seconds > heard else "")
    there = [(place, system) for place, system in enumerate(systems) if system.label in example.systems]
    choices = [("reference", "Reference", "")] + [(str(p), s.label, swatch(p)) for p, s in there]
    radios = "".join(_radio(number, value, label, spot) for value, label, spot in choices)
    pictures = _pictures(example, there, measures)
    return (
        f'<article class="player" data-example="{number}" aria-labelledby="example-{number}">'
        f'<h3 id="example-{number}">{escape(example.id)} <small>{escape(example.why)}; {length}</small></h3>'
        f'<div class="controls" hidden><button type="button" class="play">Play</button>'
        f'<input type="range" class="seek" min="0" max="{heard:.3f}" step="0.01" value="0" aria-label="Position">'
        f'<output class="time">0.0 s</output>'
        f'<label class="check"><input type="checkbox" class="loop"> Loop</label></div>'
        f'<fieldset class="heard" hidden><legend>Heard</legend>{radios}</fieldset>'
        f"<details{' open' if number == 0 else ''}><summary>Spectrograms</summary>"
        f'<div class="pictures">{pictures}</div></details></article>'
    )


def _radio(number: int, value: str, label: str, spot: str) -> str:
    checked = " checked" if value == "reference" else ""
    return (
        f'<label class="choice"><input type="radio" name="heard-{number}" value="{value}"{checked}>'
        f"<span>{spot}{escape(label)}</span></label>"
    )


def _pictures(example: Example, systems: Sequence[tuple[int, System]], measures: Sequence[Measure]) -> str:
    original = power(example.reference.heard, example.sample_rate)
    loudest = max(float(original.max()), 1e-12)
    half = f"0 to {example.sample_rate / 2000:g} kHz"
    parts = [_picture("reference", "Reference", half, level_picture(original, loudest), "")]
    for place, system in systems:
        estimate = power(example.systems[system.label].heard, example.sample_rate)
        scores = _scores(system, example.id, measures)
        name = f"{swatch(place)}{escape(system.label)}"
        parts.append(_picture(str(place), name, scores, level_picture(estimate, loudest), "spectrogram"))
        parts.append(_picture(str(place), name, "error", error_picture(original, estimate), "error"))
    return "".join(parts)


def _picture(value: str, name: str, note: str, source: str, kind: str) -> str:
    what = "Error spectrogram" if kind == "error" else "Spectrogram"
    return (
        f'<figure class="picture {kind}" data-of="{value}"><figcaption><b>{name}</b> {note}</figcaption>'
        f'<div class="screen"><img src="{source}" alt="{what}"><span class="head" hidden></span></div></figure>'
    )


def _scores(system: System, utterance: str, measures: Sequence[Measure]) -> str:
    values = system.rows[utterance].values if utterance in system.rows else {}
    parts = [f"{m.heading} {values[m.name]:.{m.decimals}f}" for m in measures if m.name in values]
    return escape(" \u00b7 ".join(parts))


def _legend() -> str:
    level = f'<img src="{scale_picture(True)}" alt=""> {-RANGE_DB:g} to 0 dB; 0 dB is the loudest spot of the reference'
    error = (
        f'<img src="{scale_picture(False)}" alt=""> error: {-ERROR_DB:g} dB (energy lost) to +{ERROR_DB:g} dB (added)'
    )
    return f'<p class="scales"><span>{level}</span><span>{error}</span></p>'
