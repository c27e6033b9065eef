"""The command `audiocodec`: finds the verb, runs it, turns errors into one message and an exit status.

Status: 0 all done, 1 some input failed, 2 usage, configuration or checkpoint, 128 + N ended by signal N (130: Ctrl-C).
A verb's module is imported only when it runs.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import audiocodec
from audiocodec import model_places
from audiocodec.cli.console import say
from audiocodec.cli.stopping import interrupt
from audiocodec.errors import AudioCodecError, CheckpointError, ConfigError, UsageError
from audiocodec.installing import advice
from audiocodec.signals import handled

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
    "models": "the models at hand, by the names that -m takes",
    "demo": "a local page: speak or drop a file, and hear what each model makes of it",
    "train": "train a codec from a configuration",
    "evaluate": "score reconstructions against their references",
    "compare": "score models, Opus, Codec2, EnCodec and other systems on the same utterances",
    "report": "one HTML page about evaluations: scores, plots, clips to compare, blind tests",
    "card": "a model card: codec, training, scores, from a training run and its evaluations",
    "probe": "how stable a model's tokens are under small changes of the audio, and how predictable",
    "lm": "language models over tokens: train, score, continue a recording, export as a plain Llama",
    "prior": "train what recode --compress predicts codes with, from a data set of tokens",
    "export": "a model file to give away, from a training run or another model file",
    "push": "a model to a repository on a hub, for audiocodec and transformers",
    "codebook": "how a model's codebooks lie and are used: dead codes, distances, directions",
    "make-data": "make data folders (wav.scp, utt2spk, utt2num_samples) from a folder of audio, or from a wav.scp",
    "validate-data": "check data folders (wav.scp, utt2spk, utt2num_samples)",
    "fix-data": "sort data folders, drop what is not in all of their tables, keep a backup",
    "combine-data": "join data folders into one",
}
HEAVY = ("torch", "yaml", "tqdm")  # what the light installation does without
DONE, SOME_FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None: those of the process.

    Returns:
        The exit status.
    """
    started = time.monotonic()
    words = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):  # names of files need not be text in any encoding
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with handled(interrupt):
        status = _status(lambda: _run(words, started))
        return _status(sys.stdout.flush) or status


def _run(words: list[str], started: float) -> int:
    args = _parse(words)
    args.started = started  # before anything large is imported
    status: int = args.run(args)
    return status


def _status(work: Callable[[], int | None]) -> int:
    """Do it; the exit status, with a message on stderr where it went wrong."""
    try:
        return work() or DONE
    except SystemExit as stop:  # argparse, or a signal
        return stop.code if isinstance(stop.code, int) else DONE if stop.code is None else USAGE
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone
        _drop_output()
        return SOME_FAILED
    except (UsageError, ConfigError, CheckpointError) as error:
        return _fail(str(error), USAGE)
    except (AudioCodecError, OSError) as error:
        return _fail(str(error), SOME_FAILED)
    except ModuleNotFoundError as error:
        if error.name not in HEAVY:
            raise
        return _fail(f"this needs {error.name}, which is not installed; {advice('torch')}", USAGE)
    except ImportError as error:
        if "shared object" not in str(error):
            raise
        return _fail(f"a library cannot be loaded, as where memory is short: {error}", USAGE)


class _Closed(io.RawIOBase):
    """A standard stream that the caller has closed: to use it is an error, as it is in other programs."""

    def __init__(self, stream: str) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, _: object) -> int:
        raise OSError(f"{self.stream} is closed")

    def write(self, _: object) -> int:
        raise OSError(f"{self.stream} is closed")


def _open_closed_streams() -> None:
    """Stand in for what the caller has closed of stdin, stdout and stderr; messages go nowhere then."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # no file of ours may get their numbers
        pass
    os.close(number)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_Closed("stdin")))
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Closed("stdout")))
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _drop_output() -> None:
    """Let what is still to be written to stdout go nowhere: the flush at exit would complain again."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _parse(words: list[str]) -> argparse.Namespace:
    _limit_numpy(words)
    if "OMP_WAIT_POLICY" not in os.environ:  # threads that spin while they wait pay for a core that others use
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read when torch is loaded
    return make_parser(next((word for word in words if not word.startswith("-")), None)).parse_args(words)


def make_parser(*chosen: str | None) -> argparse.ArgumentParser:
    """The parser of the command line; only the `chosen` verbs have their options, because these import the verb."""
    parser = argparse.ArgumentParser(
        prog="audiocodec",
        description="Discrete speech tokens: audio to SimVQ codes and back.",
        epilog="`audiocodec VERB --help` explains a verb.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"audiocodec {audiocodec.__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    for verb, summary in VERBS.items():
        sub = verbs.add_parser(
            verb, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
        )
        if verb in chosen:
            module: Any = import_module(f"audiocodec.cli.verbs.{verb.replace('-', '_')}")
            module.add_arguments(sub)
            sub.epilog = f"Example:\n  {module.EXAMPLE}\n\nModels in the package: {', '.join(model_places.available())}"
            sub.formatter_class = argparse.RawDescriptionHelpFormatter
            sub.set_defaults(run=module.run)
    return parser


def _limit_numpy(words: list[str]) -> None:
    """Let `--threads` count for numpy's linear algebra, which asks for its number when it is first imported."""
    said = " ".join(words).replace("--threads=", "--threads ").split()
    if "--threads" in said[:-1]:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", said[said.index("--threads") + 1])


def _fail(message: str, status: int) -> int:
    _drop_output()
    say(f"audiocodec: {message}")
    return status


if __name__ == "__main__":
    sys.exit(main())
