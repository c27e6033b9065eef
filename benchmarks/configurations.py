"""What configurations cost: bits, frames, codes, weights, arithmetic, CPU time and latency, with random weights on one thread.

The last column is what a language model of their tokens needs (`audiocodec lm` at its default size, random weights, continuing
a second of random codes of one channel).

All channels are counted. Arithmetic is that of convolutions and matrix products in encoder and decoder, a multiply-add as two;
the search of the codebooks is in the CPU time alone. The audio is noise at the level of speech.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from audiocodec.build import build_codec
from audiocodec.codec.torch import Codec
from audiocodec.config.load import load_config
from audiocodec.config.schema import Config
from audiocodec.lm.generation import Sampler, continue_codes
from audiocodec.lm.network import LMConfig, TokenLM
from benchmarks.cells import Cell, arguments, publish, report, run_cells

LM_SECONDS = 2.0  # to generate
START_FRAMES = 300  # of noise that scale and codebooks start with: more than latents have dimensions, at any frame rate
HEADER = (
    "configuration",
    "Hz",
    "channels",
    "frames/s",
    "codes/s",
    "kbps",
    "encoder, M",
    "decoder, M",
    "encode, GFLOP/s",
    "decode, GFLOP/s",
    "encode, CPU RTF",
    "decode, CPU RTF",
    "latency, ms",
    "language model, CPU RTF",
)
NOTES = [
    "Random weights; per second of audio, all channels together. M: million weights. Latency: of a stream, algorithmic."
]


def main() -> None:
    """Measure each configuration in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.configurations", description=__doc__)
    parser.add_argument("configs", nargs="*", metavar="CONFIG", help="a configuration in the package, or a YAML file")
    parser.add_argument("--seconds", type=float, default=10.0, help="of audio (default: %(default)s)")
    args = arguments(parser, 3, measure)
    cells = [{"config": name, "seconds": args.seconds, "threads": 1} for name in args.configs]
    rows = [
        _row(str(cell["config"]), found)
        for cell, found in zip(cells, run_cells("benchmarks.configurations", cells, args.rounds))
    ]
    publish(report("Configurations", NOTES, HEADER, rows), args.output)


def measure(cell: Cell) -> Mapping[str, float]:
    """One configuration."""
    torch.set_num_threads(1)
    config = load_config(cell["config"])
    codec, seconds = _started(config), cell["seconds"]
    samples = round(seconds * config.sample_rate)
    wav = _noise(config, samples)
    codes = np.concatenate(list(codec.encode_blocks([wav])), 1)
    frames = torch.from_numpy(wav)[None, None, : samples // config.hop_length * config.hop_length]
    with torch.inference_mode():
        latents = codec.encoder(frames)
        work = {
            "encode": (_flops(lambda: codec.encoder(frames)), _cpu(lambda: list(codec.encode_blocks([wav])))),
            "decode": (_flops(lambda: codec.decoder(latents)), _cpu(lambda: list(codec.decode_blocks(codes, samples)))),
        }
    found = {"encoder": _weights(codec.encoder), "decoder": _weights(codec.decoder)}
    for name, (flops, cpu) in work.items():
        found[f"{name}_gflop"] = config.channels * flops / 1e9 / seconds
        found[f"{name}_rtf"] = config.channels * cpu / seconds
    latency = 1000 * codec.latency_samples / config.sample_rate
    return found | {"latency_ms": latency, "lm_rtf": _language_model(codec.codebook_sizes, config.frame_rate)}


def _started(config: Config) -> Codec:
    torch.manual_seed(1)
    codec = build_codec(config)
    with torch.no_grad():
        raw = codec.encoder(torch.from_numpy(_noise(config, START_FRAMES * config.hop_length))[None, None])
        codec.scale.calibrate([raw])
        codec.quantizer.initialize(codec.scale.running(raw)[0].T)
    return codec.freeze()


def _language_model(sizes: tuple[int, ...], frame_rate: float) -> float:
    """CPU seconds for the codes of a second of audio."""
    torch.manual_seed(0)
    random, frames = np.random.default_rng(0), round(LM_SECONDS * frame_rate)
    tables = [random.standard_normal((size, LMConfig.vector_dim)).astype(np.float32) for size in sizes]
    model = TokenLM(LMConfig("0" * 16, sizes), tables).eval()
    prompt = np.stack([random.integers(0, size, round(frame_rate)) for size in sizes])
    return _cpu(lambda: list(continue_codes(model, prompt, frames, Sampler(1.0, 1.0, 0)))) * frame_rate / frames


def _noise(config: Config, samples: int) -> np.ndarray:
    level = np.float32(10 ** (config.data.level_db / 20))
    return level * np.random.default_rng(1).standard_normal(samples, dtype=np.float32)


def _weights(part: nn.Module) -> float:
    return sum(parameter.numel() for parameter in part.parameters()) / 1e6


def _flops(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def _cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _row(name: str, found: Mapping[str, float]) -> list[str]:
    config = load_config(name)
    codes = config.frame_rate * config.quantizer.num_codebooks * config.channels
    facts = [f"{config.sample_rate:,}", f"{config.channels}", f"{config.frame_rate:g}", f"{codes:g}"]
    return [
        name,
        *facts,
        f"{config.bitrate_bps / 1000:g}",
        *(f"{found[key]:.1f}" for key in ("encoder", "decoder")),
        *(f"{found[key]:.2f}" for key in ("encode_gflop", "decode_gflop")),
        *(f"{found[key]:.3f}" for key in ("encode_rtf", "decode_rtf")),
        f"{found['latency_ms']:.0f}",
        f"{found['lm_rtf']:.2f}",
    ]


if __name__ == "__main__":
    main()
