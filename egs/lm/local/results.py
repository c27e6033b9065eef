"""The table of the study: reconstruction, stability, predictability, continuation."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from audiocodec.evaluation.summary_file import read_summary
from audiocodec.files import write_text
from audiocodec.markdown import table

HEAD = [
    "tokens of",
    "bits per s, raw",
    "PESQ",
    "STOI",
    "mel distance, dB",
    "changed by a quarter hop, %",
    "changed by noise at 30 dB, %",
    "bits per s, language model",
    "share of raw",
    "DNSMOS",
    "speaker similarity",
    "F0, Hz",
    "F0 spread, semitones",
    "speech, %",
    "repeated, %",
    "copied, %",
]
NOTES = """\
Reconstruction: scores of decoded test utterances. Changed: codes that differ when the audio is shifted by a quarter of a hop, or
gets white noise (stability). Bits per second of audio under the language model, teacher forced, on test speakers: the only
number of predictability that compares codecs. Continuation: prompt and continuation against the recording itself; DNSMOS and
speaker similarity of both together; median F0 and its standard deviation within a continuation ({f0} Hz and {f0_spread}
semitones in the recordings' own); share of the continuation that a voice detector takes for speech ({speech} % of the
recordings' own); 4-grams of codes that repeat within a continuation; 4-grams that occur in training."""


def main() -> None:
    """Write `RESULTS.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exp", type=Path, required=True)
    parser.add_argument("--command", required=True)
    parser.add_argument("names", nargs="+")
    args = parser.parse_args()
    continued = {name: _read(args.exp / name / "continued/continuations.json") for name in args.names}
    rows = [_row(args.exp, name, found) for name, found in continued.items()]
    first = continued[args.names[0]]
    truth = {key: _over(first, f"{key}_truth", form) for key, form in (("f0", ".0f"), ("f0_spread", ".1f"))}
    truth["speech"] = _share(first, "speech_truth")
    text = ["# Language models on tokens of several quantizers", "", "```", args.command.strip(), "```", ""]
    counts = f"{len(first)} continuations each.{_unvoiced(continued)}"
    text += [NOTES.format(**truth), "", counts, "", table(HEAD, rows)]
    write_text(args.exp / "RESULTS.md", "\n".join(text) + "\n")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _row(exp: Path, name: str, continued: list[dict[str, Any]]) -> list[str]:
    folder = exp / name
    score, probe = (_read(folder / path) for path in ("score.json", "probe.json"))
    coded, heard = (read_summary(path).measures for path in (folder / "reconstruction", exp / "page" / name))
    frame_rate = score["bits_per_second"] / sum(score["by_codebook"])
    raw = score["raw_bits_per_token"] * len(score["by_codebook"]) * frame_rate
    return [
        name,
        f"{raw:.0f}",
        *(_mean(coded, measure, form) for measure, form in (("pesq", ".3f"), ("stoi", ".3f"), ("mel_distance", ".2f"))),
        *(_changed(probe, change) for change in ("shift 0.25 hop", "noise at 30 dB")),
        f"{score['bits_per_second']:.0f}",
        f"{score['bits_per_second'] / raw:.3f}",
        *(_mean(heard, measure, ".2f") for measure in ("dnsmos_ovrl", "speaker_similarity")),
        _over(continued, "f0", ".0f"),
        _over(continued, "f0_spread", ".1f"),
        *(_share(continued, key) for key in ("speech", "repeated", "copied")),
    ]


def _over(rows: list[dict[str, Any]], key: str, form: str) -> str:
    """Mean over the continuations that have a value; "-" where none has."""
    values = [row[key] for row in rows if row[key] is not None]
    return format(fmean(values), form) if values else "-"


def _share(rows: list[dict[str, Any]], key: str) -> str:
    """Mean share in percent."""
    return _over([{key: None if row[key] is None else 100 * row[key]} for row in rows], key, ".0f")


def _unvoiced(continued: dict[str, list[dict[str, Any]]]) -> str:
    """How many have no F0, which is in no mean then; nothing where all have one."""
    counts = {name: sum(row["f0"] is None for row in rows) for name, rows in continued.items()}
    first = next(iter(continued.values()))
    counts["the recordings"] = sum(row["f0_truth"] is None for row in first)
    found = [f"{count} of {name}" for name, count in counts.items() if count]
    return f" Without a voiced frame, and in no mean of F0: {', '.join(found)}." if found else ""


def _mean(measures: Any, name: str, form: str) -> str:
    found = measures.get(name)
    return "-" if found is None or found.mean is None else format(found.mean, form)


def _changed(probe: dict[str, Any], change: str) -> str:
    row = next(row for row in probe["stability"] if row["name"] == change)
    return f"{100 * fmean(row['changed']):.1f}"


if __name__ == "__main__":
    main()
