"""`encode --batch-size`: clips of like length through the network together, which is what keeps a GPU busy."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Generator, Sequence

from audiocodec.cli.jobs import Job
from audiocodec.cli.outcomes import Outcome, Report
from audiocodec.codec.interface import BlockCodec
from audiocodec.errors import AudioError
from audiocodec.tokenize.coding import Coded, encode_all
from audiocodec.tokenize.decoding import Decoder
from audiocodec.tokenize.utterance import Failure, Utterance
from audiocodec.tokenize.worker import GPU_BATCH_SECONDS
from audiocodec.tokens.token_file import TokenFile

DECODERS = 2  # threads that read audio meanwhile


def outcomes(
    jobs: Sequence[Job],
    early: dict[int, Outcome],
    codec: Callable[[], BlockCodec],
    args: argparse.Namespace,
    finish: Callable[[Job, TokenFile], Report],
) -> Generator[Outcome, None, None]:
    """Encode jobs; yields what becomes of each, in their order.

    Args:
        jobs: of `encode`.
        early: position -> what is known before any work.
        codec: loads the codec.
        args: of `encode`.
        finish: writes a token file and reports.
    """
    todo = [Utterance(job.target, job.source, job.source) for n, job in enumerate(jobs) if n not in early]
    if not todo:
        yield from (early[n] for n in range(len(jobs)))
        return
    found = codec()
    decoder = Decoder(found.sample_rate, found.level_db, DECODERS, args.allow_pipes)
    results = encode_all(found, decoder, todo, args.num_codebooks, GPU_BATCH_SECONDS, args.batch_size)
    with contextlib.closing(decoder), contextlib.closing(results):
        for number, job in enumerate(jobs):
            yield early.get(number) or _outcome(job, next(results), found, finish)


def _outcome(
    job: Job, result: Coded | Failure, codec: BlockCodec, finish: Callable[[Job, TokenFile], Report]
) -> Outcome:
    if isinstance(result, Failure):
        return Outcome(error=AudioError(result.error))
    try:
        return Outcome(finish(job, _token_file(result, codec)))
    except OSError as error:
        return Outcome(error=error)


def _token_file(coded: Coded, codec: BlockCodec) -> TokenFile:
    return TokenFile(
        codes=coded.codes,
        codebook_sizes=codec.codebook_sizes[: len(coded.codes)],
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        num_samples=coded.num_samples,
        original_sample_rate=coded.original_sample_rate,
        original_channels=coded.original_channels,
        original_num_samples=coded.original_num_samples,
        gain=coded.gain,
        fingerprint=codec.fingerprint,
    )
