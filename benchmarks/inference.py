"""Real-time factor and peak memory of encoding and decoding, beside EnCodec where it is installed.

Both go the way their users go: our codec in blocks (what `audiocodec encode` and `decode` do), EnCodec with its own
`encode` and `decode` of the whole signal. The audio is noise and the codes to decode are random: neither codec's work
depends on the values.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiocodec.errors import AudioCodecError
from benchmarks.cells import Cell, add_arguments, memory_mb, publish, report, run_cells, timed

SECONDS = (1.0, 10.0, 60.0, 600.0)
PEER_MAX_SECONDS = 60.0  # EnCodec holds the whole signal's activations
PEER_KBPS = 6.0
LEVEL = 10 ** (-24 / 20)
HEADER = ("codec", "direction", "audio s", "threads", "CPU s per s", "wall s per s", "loaded MB", "peak MB")


def main() -> None:
    """Measure all cells, or the one that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--model", help="model file or folder (default: the one in the package)")
    parser.add_argument("--seconds", type=float, nargs="+", default=SECONDS, help="lengths of audio (%(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (%(default)s)")
    parser.add_argument("--no-peer", action="store_true", help="leave EnCodec out even where it is installed")
    add_arguments(parser, rounds=3)
    args = parser.parse_args()
    if args.cell:
        print(json.dumps(measure(json.loads(args.cell))))
        return
    peer = not args.no_peer and find_spec("encodec") is not None
    try:
        notes = _notes(args.model, peer)
    except AudioCodecError as error:
        parser.error(str(error))
    cells = list(_cells(args.model, args.seconds, args.threads, peer))
    results = run_cells("benchmarks.inference", cells, args.rounds)
    publish(report("Speed and memory of inference", notes, HEADER, _rows(cells, results)), args.output)


def measure(cell: Cell) -> dict[str, float]:
    """One cell in this process.

    Args:
        cell: `codec` (audiocodec | encodec), `direction` (encode | decode), `seconds`, `threads`, `model`.

    Returns:
        `cpu` and `wall` seconds per second of audio, `loaded` and `peak` memory in MB.
    """
    torch.set_num_threads(cell["threads"])
    prepare = _prepare_ours if cell["codec"] == "audiocodec" else _prepare_encodec
    make_work = prepare(cell["direction"], cell["model"])
    make_work(min(1.0, cell["seconds"]))()  # the first call allocates and plans
    loaded = memory_mb("VmHWM")
    cpu, wall = timed(make_work(cell["seconds"]))
    return {
        "cpu": cpu / cell["seconds"],
        "wall": wall / cell["seconds"],
        "loaded": loaded,
        "peak": memory_mb("VmHWM"),
    }


def _prepare_ours(direction: str, model: str | None) -> Callable[[float], Callable[[], object]]:
    """Load the codec; returns what makes a piece of work of so many seconds."""
    import audiocodec

    codec = audiocodec.load(model)
    rng = np.random.default_rng(1)
    block = LEVEL * rng.standard_normal(codec.sample_rate, dtype=np.float32)

    def blocks(samples: int) -> Iterator[np.ndarray]:
        for start in range(0, samples, len(block)):
            yield block[: samples - start]

    def encode(seconds: float) -> Callable[[], object]:
        samples = round(seconds * codec.sample_rate)
        return lambda: [codes.shape for codes in codec.encode_blocks(blocks(samples))]

    def decode(seconds: float) -> Callable[[], object]:
        samples = round(seconds * codec.sample_rate)
        frames = -(-samples // codec.hop_length)
        codes = rng.integers(0, codec.codebook_sizes[0], (codec.num_codebooks, frames), dtype=np.int32)
        return lambda: [len(wav) for wav in codec.decode_blocks(codes, samples)]

    return encode if direction == "encode" else decode


def _prepare_encodec(direction: str, _: str | None) -> Callable[[float], Callable[[], object]]:
    """The same of EnCodec's 24 kHz model with random weights."""
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    model.set_target_bandwidth(PEER_KBPS)
    codebooks = round(1000 * PEER_KBPS / (model.frame_rate * model.bits_per_codebook))

    def encode(seconds: float) -> Callable[[], object]:
        wav = LEVEL * torch.randn(1, 1, round(seconds * model.sample_rate))
        return torch.inference_mode()(lambda: model.encode(wav))

    def decode(seconds: float) -> Callable[[], object]:
        codes = torch.randint(0, 2**model.bits_per_codebook, (1, codebooks, round(seconds * model.frame_rate)))
        return torch.inference_mode()(lambda: model.decode([(codes, None)]))

    return encode if direction == "encode" else decode


def _cells(model: str | None, lengths: list[float], threads: list[int], peer: bool) -> Iterator[dict[str, Any]]:
    """All cells, the two codecs next to each other."""
    for direction in ("encode", "decode"):
        for seconds in lengths:
            for count in threads:
                for codec in ("audiocodec", "encodec"):
                    if codec == "audiocodec" or (peer and seconds <= PEER_MAX_SECONDS):
                        yield {
                            "codec": codec,
                            "direction": direction,
                            "seconds": seconds,
                            "threads": count,
                            "model": str(Path(model).resolve()) if model and Path(model).exists() else model,
                        }


def _rows(cells: list[dict[str, Any]], results: list[dict[str, float]]) -> list[list[str]]:
    return [
        [
            c["codec"],
            c["direction"],
            f"{c['seconds']:g}",
            str(c["threads"]),
            f"{r['cpu']:.4f}",
            f"{r['wall']:.4f}",
            f"{r['loaded']:.0f}",
            f"{r['peak']:.0f}",
        ]
        for c, r in zip(cells, results)
    ]


def _notes(model: str | None, peer: bool) -> list[str]:
    from audiocodec.checkpoint import describe

    described = describe(model)
    memory = "Memory is the resident set of the process: after loading and a first second, and its peak."
    notes = [
        f"Model {described['fingerprint']}, {described['parameters']:,} parameters.",
        f"Seconds are per second of audio: CPU over all threads, and wall. {memory}",
    ]
    if peer:
        notes.append(
            f"EnCodec: 24 kHz, {PEER_KBPS:g} kbps, random weights, as its package runs it, up to {PEER_MAX_SECONDS:g} s."
        )
    return notes


if __name__ == "__main__":
    main()
