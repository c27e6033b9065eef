"""Compressed token files: bytes against plain ones, and CPU time, on the rows of a data set of tokens.

Every file is written compressed and plain and read back; all bytes count, headers and checksums too. `--check N` does the same
with N files of random, constant and extreme codes, coded and decoded in one piece and segment by segment, counts what does not come
back, and prints a checksum of all bytes: it is the same for any number of threads (`OPENBLAS_NUM_THREADS`) and on any machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audiocodec.tokenize import plan, reading
from audiocodec.tokenize.rows import tokens_of
from audiocodec.tokens import priors, range_coding
from audiocodec.tokens.prior import Prior
from audiocodec.tokens.token_file import TokenFile
from benchmarks.cells import publish, report

HEADER = (
    "files",
    "seconds",
    "plain, kbps",
    "compressed, kbps",
    "share of the file",
    "share of the codes' bits",
    "write, s per minute",
    "read, s per minute",
)
SHORT = 16  # frames of a segment of made-up codes


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression", description=__doc__)
    parser.add_argument("tokens", metavar="TOKENS", help="data set that audiocodec tokenize made")
    parser.add_argument("--prior", metavar="FILE", help="default: that of the model in the package")
    parser.add_argument("--check", type=int, default=0, metavar="N", help="files of made-up codes to code, too")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table here")
    args = parser.parse_args()
    files = list(_files(Path(args.tokens)))
    prior = Prior.load(args.prior) if args.prior else priors.of_codec(files[0].fingerprint)
    rows = [_measured(files, prior)]
    notes = ["One thread. kbps: of whole files."]
    if args.check:
        short = Prior(dataclasses.replace(prior.config, segment_frames=SHORT), prior.tensors)
        found = [_comes_back(files[0], short, seed) for seed in range(args.check)]
        digest = zlib.crc32(b"".join(data for data, _ in found))
        wrong = sum(not right for _, right in found)
        notes.append(
            f"{wrong} of {args.check} files of made-up codes came back as other codes. CRC of all: {digest:08x}."
        )
    publish(report("Compressed token files", notes, HEADER, rows), args.output)


def _files(folder: Path) -> Iterator[TokenFile]:
    model = plan.read(folder).model
    for path in sorted(folder.glob("tokens-*.parquet")):
        for row in reading.rows(path):
            yield tokens_of(row, model)


def _measured(files: list[TokenFile], prior: Prior) -> list[str]:
    seconds = sum(tokens.num_samples / tokens.sample_rate for tokens in files)
    begun = time.process_time()
    small = [tokens.to_bytes(prior) for tokens in files]
    written = time.process_time()
    for data, tokens in zip(small, files):
        if TokenFile.from_bytes(data, prior=prior) != tokens:
            raise SystemExit("a file came back as another one")
    read = time.process_time()
    plain, compressed = sum(len(tokens.to_bytes()) for tokens in files), sum(map(len, small))
    return [
        f"{len(files)}",
        f"{seconds:.0f}",
        f"{8 * plain / seconds / 1000:.3f}",
        f"{8 * compressed / seconds / 1000:.3f}",
        f"{compressed / plain:.3f}",
        f"{8 * compressed / sum(tokens.payload_bits for tokens in files):.3f}",
        f"{(written - begun) * 60 / seconds:.2f}",
        f"{(read - written) * 60 / seconds:.2f}",
    ]


def _comes_back(like: TokenFile, prior: Prior, seed: int) -> tuple[bytes, bool]:
    """Made-up codes as bytes, and whether they come back; all segments together and each by itself, both ways."""
    random = np.random.default_rng(seed)
    frames = int(random.integers(1, 40))
    kinds = [lambda v: random.integers(0, v, frames), lambda v: np.full(frames, random.choice([0, v - 1]))]
    codes = np.stack([kinds[seed % 2](size) for size in like.codebook_sizes])
    parts = range_coding.encode(codes, prior)
    lengths = range_coding.segment_lengths(frames, prior.config.segment_frames)
    pieces = np.split(codes, np.cumsum(lengths)[:-1], axis=1)
    alone = [range_coding.encode(piece, prior)[0] for piece in pieces]
    together = range_coding.decode(parts, lengths, len(codes), prior)
    apart = [range_coding.decode([part], [length], len(codes), prior)[0] for part, length in zip(alone, lengths)]
    ways = [np.concatenate(found, 1) for found in (together, apart)]
    return b"".join(parts), parts == alone and all(np.array_equal(found, codes) for found in ways)


if __name__ == "__main__":
    main()
