"""`audiocodec import-tokens`: codes from data sets and language models to token files, which `decode` turns into sound."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from audiocodec import models
from audiocodec.cli import arguments, batch, token_model
from audiocodec.cli.console import say
from audiocodec.errors import AudioCodecError, FingerprintMismatch, TokenFileError, UsageError
from audiocodec.tokenize import reading
from audiocodec.tokenize.plan import ModelFacts
from audiocodec.tokenize.rows import tokens_of
from audiocodec.tokens.token_file import EXTENSION

EXAMPLE = "audiocodec import-tokens generated.jsonl -d tokens"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    what = "Parquet or .tar of tokens, .jsonl with id and codes, .npy [K, T] or [T], Kaldi text archive (.ark, .txt)"
    parser.add_argument("inputs", nargs="+", metavar="IN", help=what)
    parser.add_argument("-d", "--output-dir", required=True, metavar="DIR", help="folder for token files, named by id")
    arguments.add_model(parser, "the model that is to decode them", "the one that the data set names, else speech_24k")
    parser.add_argument("--force", action="store_true", help="overwrite existing token files")
    parser.add_argument("--quiet", action="store_true", help="only errors on stderr")


def run(args: argparse.Namespace) -> int:
    """Import all inputs; returns the exit status."""
    done, failed = import_into(args.output_dir, args.inputs, args.model, force=args.force)
    if not args.quiet:
        say(f"audiocodec: {done} token files in {args.output_dir}, {failed} failed")
    return 1 if failed else 0


def import_into(folder: str, inputs: Sequence[str], model_name: str | None, *, force: bool = False) -> tuple[int, int]:
    """Write the rows of files as token files named by their ids; what cannot be imported is named on stderr.

    Args:
        folder: for token files.
        inputs: files of rows of codes.
        model_name: what decodes them; None: the model that a data set names, else the default.
        force: overwrite token files.

    Returns:
        (token files written, rows that failed).

    Raises:
        FingerprintMismatch: an input is of another model.
        UsageError: an input is not there.
    """
    made = {name: _made_by(name) for name in inputs}
    if model_name is None:
        model_name = next((models.find(bytes.fromhex(one)) for one in made.values() if one is not None), None)
    model = token_model.facts(model_name)
    for name, made_by in made.items():
        if made_by not in (None, model.fingerprint):
            raise FingerprintMismatch(
                f"{name}: was made by model {made_by}, this is {model.fingerprint}; give the right one with -m"
            )
    done = failed = 0
    for name, row in _rows(inputs):
        try:
            if isinstance(row, AudioCodecError):
                raise row
            _write(row, model, folder, force)
            done += 1
        except (AudioCodecError, OSError) as error:
            failed += 1
            where = "" if name in str(error) else f"{name}: "
            say(f"audiocodec: error: {where}{error}")
    return done, failed


def _made_by(name: str) -> str | None:
    """Fingerprint of the model that a data set says made it, hexadecimal."""
    if not os.path.isfile(name):
        raise UsageError(f"{name}: no such file")
    return reading.fingerprint_of(Path(name))


def _rows(names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any] | AudioCodecError]]:
    """(input, row) of all inputs; an input that ends in damage ends with its error."""
    for name in names:
        try:
            for row in reading.rows(Path(name)):
                yield name, row
        except AudioCodecError as error:
            yield name, error


def _can_be_named(key: str) -> bool:
    try:
        return b"\0" not in os.fsencode(key)
    except UnicodeEncodeError:
        return False


def _write(row: dict[str, Any], model: ModelFacts, folder: str, force: bool) -> None:
    key = str(row.get("id") or "")
    root = os.path.abspath(folder)
    target = os.path.abspath(os.path.join(root, key + EXTENSION))
    if not key or not _can_be_named(key) or not target.startswith(os.path.join(root, "")):
        raise TokenFileError(f"id {key!r} leads out of the folder {folder}")
    if os.path.exists(target) and not force:
        raise TokenFileError(f"{target} already exists; --force overwrites it")
    try:
        tokens = tokens_of(row, model)
    except TokenFileError as error:
        raise TokenFileError(f"{key}: {error}") from None
    batch.make_folder_of(target)
    tokens.write(target)
