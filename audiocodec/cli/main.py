"""The command `audiocodec`: finds the verb, runs it, turns errors into one message and an exit status.

Status: 0 all done, 1 some input failed, 2 usage, configuration or checkpoint, 130 interrupted. A verb's module is
imported only when it runs.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import audiocodec
from audiocodec.errors import AudioCodecError, CheckpointError, ConfigError, UsageError

VERBS = {
    "encode": "audio to token files",
    "decode": "token files to audio",
    "stream": "PCM to codes and back while it comes in, on stdin and stdout",
    "tokenize": "a corpus of any size to a data set of tokens, on one machine or a cluster",
    "verify-tokens": "check a data set of tokens against its plan, and encode a sample again",
    "export-tokens": "token files as numpy arrays, JSON lines, Parquet, webdataset, or flat files for language models",
    "import-tokens": "codes from data sets or a language model to token files",
    "recode": "token files compressed to the entropy of their codes, or back, without loss",
    "info": "what a token file, model or audio file holds; without arguments, the models in the package",
    "train": "train a codec from a configuration",
    "evaluate": "score reconstructions against their references",
    "compare": "score models, Opus, Codec2, EnCodec and other systems on the same utterances",
    "report": "one HTML page about evaluations: scores, plots, clips to compare, blind tests",
    "card": "a model card: codec, training, scores, from a training run and its evaluations",
    "probe": "how stable a model's tokens are under small changes of the audio, and how predictable",
    "lm": "language models over tokens: train, score, continue a recording, export as a plain Llama",
    "prior": "train what recode --compress predicts codes with, from a data set of tokens",
    "export": "a model file to give away, from a training run or another model file",
    "codebook": "how a model's codebooks lie and are used: dead codes, distances, directions",
    "make-data": "make data folders (wav.scp, utt2spk, utt2num_samples) from a folder of audio",
    "validate-data": "check data folders (wav.scp, utt2spk, utt2num_samples)",
}
HEAVY = ("torch", "yaml", "tqdm")  # what the light installation does without
DONE, SOME_FAILED, USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None: those of the process.

    Returns:
        The exit status.
    """
    started = time.monotonic()
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):  # names of files need not be text in any encoding
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    restore = _catch_termination()
    try:
        args = _parse(words)
        args.started = started  # before anything large is imported
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except SystemExit as stop:  # argparse, or a termination signal
        return stop.code if isinstance(stop.code, int) else DONE if stop.code is None else USAGE
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone; a flush at exit would complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except (UsageError, ConfigError, CheckpointError) as error:
        return _fail(str(error), USAGE)
    except (AudioCodecError, OSError) as error:
        return _fail(str(error), SOME_FAILED)
    except ModuleNotFoundError as error:
        if error.name not in HEAVY:
            raise
        return _fail(f'this needs {error.name}, which is not installed; pip install "audiocodec[torch]"', USAGE)
    finally:
        restore()


def _parse(words: list[str]) -> argparse.Namespace:
    _limit_numpy(words)
    if "OMP_WAIT_POLICY" not in os.environ:  # threads that spin while they wait pay for a core that others use
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read when torch is loaded
    parser = argparse.ArgumentParser(
        prog="audiocodec",
        description="Discrete speech tokens: audio to SimVQ codes and back.",
        epilog="`audiocodec VERB --help` explains a verb.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"audiocodec {audiocodec.__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    chosen = next((word for word in words if not word.startswith("-")), None)
    for verb, summary in VERBS.items():
        sub = verbs.add_parser(
            verb, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
        )
        if verb == chosen:
            module: Any = import_module(f"audiocodec.cli.verbs.{verb.replace('-', '_')}")
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return parser.parse_args(words)


def _limit_numpy(words: list[str]) -> None:
    """Let `--threads` count for numpy's linear algebra, which asks for its number when it is first imported."""
    said = " ".join(words).replace("--threads=", "--threads ").split()
    if "--threads" in said[:-1]:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", said[said.index("--threads") + 1])


def _catch_termination() -> Any:
    """Let a termination signal unwind the stack, so that temporary files go; returns what puts the old handler back."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    def stop(*_: object) -> None:
        raise SystemExit(TERMINATED)

    old = signal.signal(signal.SIGTERM, stop)
    return lambda: signal.signal(signal.SIGTERM, old)


def _fail(message: str, status: int) -> int:
    print(f"audiocodec: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
