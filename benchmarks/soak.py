"""Streaming for long: random chunk sizes, output compared with the offline codec's, memory watched.

The audio is noise whose level wanders from full speech level to near silence, of a fixed seed; it is made twice, for the
stream and for the offline codec, and never held whole. Exit status 1 when anything differs or memory has grown.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

import audiocodec
from audiocodec.build import build_codec
from audiocodec.codec.torch import Codec
from audiocodec.config.load import load_config
from benchmarks.cells import memory_mb

LARGEST_CHUNK = 4000  # samples; the mean is half of that
WARM = 0.1  # share of the stream after which memory must not grow
ALLOWED_ERROR = 1e-4  # of a sample: torch takes its kernels by the size of a piece
ALLOWED_MB = 8.0  # of growth: the allocator's, and the codes that are kept to compare


def main() -> None:
    """Stream, compare, report as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0, help="of audio (%(default)s)")
    parser.add_argument("--model", help="model file or folder (default: the one in the package)")
    parser.add_argument("--config", type=Path, help="in place of a model: random weights of this configuration")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    codec = random_codec(args.config) if args.config else audiocodec.load(args.model)
    found = soak(codec, round(args.seconds * codec.sample_rate))
    print(json.dumps(found))
    sys.exit(
        0
        if found["equal_codes"] and found["largest_difference"] <= ALLOWED_ERROR and found["grown_mb"] <= ALLOWED_MB
        else 1
    )


def random_codec(path: Path) -> Codec:
    """A codec of a configuration with random weights, whose scale and codebook are fitted to noise."""
    torch.manual_seed(0)
    codec = build_codec(load_config(path))
    with torch.no_grad():
        for name, parameter in codec.encoder.named_parameters():
            if name.endswith("bias"):  # random ones would drown the input
                parameter.zero_()
        latents = codec.encoder(0.06 * torch.randn(1, 1, 20 * codec.sample_rate // codec.hop_length * codec.hop_length))
        codec.scale.calibrate([latents])
        codec.eval().quantizer.initialize(codec.scale(latents).transpose(1, 2).flatten(0, 1))
    return codec.freeze()


def soak(codec: Codec, samples: int) -> dict[str, Any]:
    """Stream so many samples through encoder and decoder and compare with the offline codec.

    Returns:
        `equal_codes`, `largest_difference` of a sample, `grown_mb` of memory after the first tenth, `seconds`, `chunks`,
        `frames`, `near_ties`, `real_time_factor` of the stream.
    """
    with tempfile.TemporaryFile() as sound:
        return _soak(codec, samples, sound)


def _soak(codec: Codec, samples: int, sound: IO[bytes]) -> dict[str, Any]:
    started, memory = time.process_time(), [0.0]
    # One array for all: thousands of small ones, kept, would tear up the heap and be measured as the codec's memory.
    codes = np.zeros((codec.num_codebooks, -(-samples // codec.hop_length)), np.int32)
    received = chunks = frames = 0
    sizes = np.random.default_rng(2)
    with codec.stream_encoder() as encoder, codec.stream_decoder() as decoder:
        for block in _audio(samples, codec.sample_rate):
            for piece in np.split(block, np.cumsum(sizes.integers(0, LARGEST_CHUNK, 2 * len(block) // LARGEST_CHUNK))):
                found = encoder.push(piece)
                codes[:, frames : frames + found.shape[1]] = found
                sound.write(decoder.push(found).tobytes())
                frames += found.shape[1]
                chunks += 1
            received += len(block)
            if received <= WARM * samples:
                memory = [memory_mb("VmRSS")]
            memory.append(memory_mb("VmRSS"))
        codes[:, frames:] = found = encoder.finish()
        sound.write(decoder.push(found).tobytes())
        sound.write(decoder.finish().tobytes())
    work = time.process_time() - started
    seen, settled = codec.near_ties.frames, codec.near_ties.settled
    offline = np.concatenate(list(codec.encode_blocks(_audio(samples, codec.sample_rate))), 1)
    sound.seek(0)
    largest = 0.0
    for wav in codec.decode_blocks(codes, codes.shape[1] * codec.hop_length):
        streamed = np.frombuffer(sound.read(wav.nbytes), np.float32)
        largest = max(largest, float(np.abs(streamed - wav).max(initial=0)))
    return {
        "seconds": samples / codec.sample_rate,
        "chunks": chunks,
        "frames": seen,
        "near_ties": settled,
        "equal_codes": bool(np.array_equal(codes, offline)),
        "largest_difference": largest,
        "grown_mb": round(max(memory) - memory[0], 1),
        "real_time_factor": round(work * codec.sample_rate / samples, 4),
    }


def _audio(samples: int, sample_rate: int) -> Iterator[np.ndarray]:
    """Seconds of noise, -24 to -84 dB full scale."""
    rng = np.random.default_rng(1)
    for start in range(0, samples, sample_rate):
        level = 10 ** -(1.2 + 3 * rng.random() ** 2)
        yield (level * rng.standard_normal(min(sample_rate, samples - start))).astype(np.float32)


if __name__ == "__main__":
    main()
