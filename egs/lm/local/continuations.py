"""Continue the beginnings of utterances: audio beside the truth, and what no reference is needed for."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soxr

from audiocodec import model_file
from audiocodec.audio import f0, io
from audiocodec.data.manifest import list_scp
from audiocodec.errors import AudioCodecError
from audiocodec.files import write_text
from audiocodec.lm import files
from audiocodec.lm.continuation import continue_file
from audiocodec.metrics import voice_activity
from audiocodec.prior.data import read_codes

GRAM = 4  # frames that count as a repetition when they were there before


def main() -> None:
    """Continue, and write `continuations.json` last of all."""
    args = _arguments()
    done = args.output_dir / "continuations.json"
    if done.is_file():
        return
    codec, model = model_file.load(args.model), files.load(args.lm)
    seen = _grams(
        codes[0] for codes in read_codes(args.tokens, codec.fingerprint.hex(), len(model.config.codebook_sizes))
    )
    rows = []
    for name, paths in sorted(list_scp(args.data / "wav.scp").items()):
        if len(rows) == args.prompts:
            break
        truth, target = args.truth / f"{name}.wav", args.output_dir / "wav" / f"{name}.wav"
        if not _truth(paths[0], truth, args.prompt_seconds + args.seconds):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        settings = {"seconds": args.seconds, "prompt_seconds": args.prompt_seconds, "seed": len(rows)}
        try:
            report = continue_file(model, codec, str(truth), str(target), **settings)
        except AudioCodecError as error:
            raise SystemExit(f"{name}: {error}") from None
        codes = np.array(report["codes"])[0]
        grams = [tuple(codes[t : t + GRAM]) for t in range(len(codes) - GRAM + 1)]
        row = {
            "id": name,
            "repeated": 1 - len(set(grams)) / max(1, len(grams)),
            "copied": float(np.mean([gram in seen for gram in grams])) if grams else 0.0,
        }
        for suffix, path in (("", target), ("_truth", truth)):
            row[f"speech{suffix}"] = _speech_share(path, args.prompt_seconds)
            row[f"f0{suffix}"], row[f"f0_spread{suffix}"] = _pitch(path, args.prompt_seconds)
        rows.append(row)
    if not rows:
        raise SystemExit(f"{args.data}: no utterance has {args.prompt_seconds + args.seconds} s")
    write_text(done, json.dumps(rows, indent=1) + "\n")


def _truth(source: str, target: Path, seconds: float) -> bool:
    """Write the first seconds of an utterance; False if it is shorter."""
    if target.is_file():
        return True
    channels, rate = io.read(source)
    wav = channels.mean(0)
    if len(wav) < seconds * rate:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    io.write(target, soxr.resample(wav, rate, 24_000)[: round(seconds * 24_000)].astype(np.float32), 24_000)
    return True


def _grams(utterances: Iterable[np.ndarray]) -> set[tuple[int, ...]]:
    return {tuple(codes[t : t + GRAM]) for codes in utterances for t in range(len(codes) - GRAM + 1)}


def _pitch(path: Path, after: float) -> tuple[float | None, float | None]:
    """Median F0 in Hz after so many seconds and its standard deviation in semitones; None where nothing is voiced."""
    channels, rate = io.read(path)
    hertz, voiced = f0.track(channels.mean(0)[round(after * rate) :].astype(np.float32), rate)
    if not voiced.any():
        return None, None
    return float(np.median(hertz[voiced])), float(np.std(12 * np.log2(hertz[voiced])))


def _speech_share(path: Path, after: float) -> float:
    """Share of the audio after so many seconds that a voice detector takes for speech; it has heard what is before."""
    channels, rate = io.read(path)
    steps = voice_activity.speech_probabilities(soxr.resample(channels.mean(0), rate, voice_activity.RATE))
    return voice_activity.share_of_speech(steps[round(after * voice_activity.RATE / voice_activity.STEP) :])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("lm", "data", "tokens", "truth"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("-d", "--output-dir", type=Path, required=True)
    parser.add_argument("--prompts", type=int, required=True)
    for name in ("prompt-seconds", "seconds"):
        parser.add_argument(f"--{name}", type=float, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
