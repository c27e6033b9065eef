"""`audiocodec stream`: PCM on stdin, codes or PCM on stdout, while it comes in."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from audiocodec.cli import arguments, batch
from audiocodec.cli.console import say
from audiocodec.errors import AudioError, TokenFileError, UsageError
from audiocodec.tokens.layout import MAGIC

if TYPE_CHECKING:
    from audiocodec.codec.torch import Codec

FORMATS = {"s16le": ("<i2", 2**15), "f32le": ("<f4", 1)}  # type, full scale
FILES = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd", b"caff", MAGIC)  # how files begin, not samples


EXAMPLE = "audiocodec stream --encode < speech.raw > codes.txt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    arguments.add_model(parser, "the model that codes")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--encode", action="store_true", help="PCM to codes: a line of text per frame, first stage first")
    what.add_argument("--decode", action="store_true", help="such lines to PCM")
    what.add_argument("--through", action="store_true", help="PCM to codes to PCM")
    what.add_argument(
        "--loopback", action="store_true", help="PCM through the codec as a sound card would; prints latency, underruns"
    )
    parser.add_argument("--format", choices=FORMATS, default="s16le", help="of mono PCM (default: %(default)s)")
    parser.add_argument(
        "--chunk", type=arguments.positive, metavar="N", help="samples read at once (default: one frame)"
    )
    parser.add_argument("--buffer", type=float, default=0.0, metavar="MS", help="loopback: played so much later")
    parser.add_argument("--num-codebooks", type=arguments.positive, metavar="N", help="use only the first N codebooks")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--threads", type=arguments.positive, metavar="N", help="CPU threads (default: torch's choice)")
    parser.add_argument("--quiet", action="store_true", help="only errors on stderr")
    parser.set_defaults(jobs=1)


def run(args: argparse.Namespace) -> int:
    """Stream until stdin ends."""
    if not (args.encode or args.loopback) and sys.stdout.isatty():
        raise UsageError("will not write PCM to a terminal; redirect stdout")
    if not 0 <= args.buffer < 60_000:
        raise UsageError(f"--buffer {args.buffer:g}: need 0 to 60000 ms")
    from audiocodec.codec.loopback import loopback, through

    codec = batch.model_of(args).codec
    if not args.quiet:
        say(f"audiocodec: {latency_text(codec)}; mono {args.format} at {codec.sample_rate} Hz")
    chunk = args.chunk or codec.hop_length
    if args.decode:
        _decode(codec, args.format)
    elif args.encode:
        _encode(codec, pcm_blocks(args.format, chunk), args.num_codebooks)
    else:
        rounds = through(codec, pcm_blocks(args.format, chunk), args.num_codebooks)
        if args.loopback:
            print(json.dumps(asdict(loopback(rounds, codec, chunk, args.buffer / 1000))))
        else:
            for turn in rounds:
                _write(to_pcm(turn.wav, args.format))
    return 0


def latency_text(codec: Codec) -> str:
    """The algorithmic latency in words."""
    rate = codec.sample_rate / 1000
    return (
        f"algorithmic latency {codec.latency_samples / rate:.1f} ms "
        f"(codes {codec.encoder_latency_samples / rate:.1f}, sound {codec.decoder_latency_samples / rate:.1f})"
    )


def pcm_blocks(kind: str, samples: int) -> Iterator[np.ndarray]:
    """Blocks `[n]` of float32 from stdin, as they come, of at most so many samples.

    Raises:
        AudioError: the stream is a file of another kind, or ends within a sample.
    """
    name, scale = FORMATS[kind]
    size, rest, head = np.dtype(name).itemsize, b"", b""
    while data := sys.stdin.buffer.read(samples * size - len(rest)):
        if len(head) < 4 and (head := head + data[:4]).startswith(FILES):
            what = f"is a file that begins with {head[:4]!r}, not samples without a header ({kind})"
            raise AudioError(f"<stdin>: {what}; `audiocodec encode -` reads files")
        data = rest + data
        whole = len(data) - len(data) % size
        rest = data[whole:]
        yield np.frombuffer(data[:whole], name).astype(np.float32) / np.float32(scale)
    if rest:
        raise AudioError(f"<stdin>: ends within a sample: {len(rest)} bytes of {size}")


def to_pcm(wav: np.ndarray, kind: str) -> bytes:
    """Bytes of float `wav [n]`; 16 bits are rounded and clipped."""
    name, scale = FORMATS[kind]
    if kind == "f32le":
        return wav.astype(name).tobytes()
    return np.clip(np.rint(wav * np.float32(scale)), -scale, scale - 1).astype(name).tobytes()


def _encode(codec: Codec, blocks: Iterator[np.ndarray], num_codebooks: int | None) -> None:
    with codec.stream_encoder(num_codebooks) as stream:
        for block in blocks:
            _write_lines(stream.push(block))
        _write_lines(stream.finish())


def _decode(codec: Codec, kind: str) -> None:
    width = None
    with codec.stream_decoder() as stream:
        for number, line in enumerate(sys.stdin, 1):
            words = line.split()
            if not words or not all(word.isascii() and word.isdecimal() for word in words):
                raise TokenFileError(
                    f"<stdin>:{number}: expected the codes of a frame, such as '5 7 9', got {line[:80]!r}"
                )
            if any(len(word.lstrip("0")) > 9 or int(word) >= codec.codebook_sizes[0] for word in words):
                raise TokenFileError(f"<stdin>:{number}: codes outside 0 to {codec.codebook_sizes[0] - 1}")
            if len(words) != (width := width or len(words)):
                raise TokenFileError(f"<stdin>:{number}: {len(words)} codes, but {width} in the lines before")
            _write(to_pcm(stream.push(np.array([[int(word)] for word in words])), kind))
        _write(to_pcm(stream.finish(), kind))


def _write_lines(codes: np.ndarray) -> None:
    for frame in codes.T:
        print(*frame)
    sys.stdout.flush()


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
