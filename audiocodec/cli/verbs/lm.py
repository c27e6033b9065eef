"""`audiocodec lm`: language models over tokens: train, score, continue a prompt, export as a plain Llama."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from audiocodec.cli import arguments
from audiocodec.errors import FingerprintMismatch, UsageError

if TYPE_CHECKING:
    from audiocodec.codec.torch import Codec
    from audiocodec.lm.network import TokenLM

EXAMPLE = "audiocodec lm train tokens -d lm --minutes 60"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands and their options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    train = actions.add_parser("train", help="train on a data set of tokens")
    train.add_argument("tokens", metavar="TOKENS", help="folder that audiocodec tokenize made")
    train.add_argument("-d", "--output-dir", required=True, metavar="LM", help="folder of the language model")
    train.add_argument("--minutes", type=arguments.minutes, default=60.0, help="time to train (default: 60)")
    for name, default in (("dim", 256), ("layers", 6), ("heads", 4), ("context", 256), ("batch", 8)):
        train.add_argument(f"--{name}", type=arguments.positive, default=default, help="default: %(default)s")
    train.add_argument("--seed", type=int, default=0, help="of weights and order (default: 0)")
    there = train.add_mutually_exclusive_group()
    there.add_argument("--resume", action="store_true", help="go on with a training that was killed")
    there.add_argument("--force", action="store_true", help="replace a language model that is there")
    score = actions.add_parser("score", help="bits per token and per second of audio")
    score.add_argument("lm", metavar="LM", help="folder of a language model")
    score.add_argument("tokens", metavar="TOKENS", help="folder that audiocodec tokenize made of other audio")
    go_on = actions.add_parser("continue", help="continue a recording")
    go_on.add_argument("lm", metavar="LM", help="folder of a language model")
    go_on.add_argument("prompt", metavar="PROMPT", help="audio file, or token file")
    go_on.add_argument("-o", "--output", required=True, metavar="OUT", help="audio file: prompt and continuation")
    go_on.add_argument("--seconds", type=arguments.seconds, default=5.0, help="to generate (default: 5)")
    go_on.add_argument(
        "--prompt-seconds", type=arguments.seconds, metavar="S", help="use only the first S seconds of PROMPT"
    )
    go_on.add_argument("--temperature", type=float, default=0.9, help="0: the most probable (default: 0.9)")
    go_on.add_argument("--top-p", type=float, default=0.95, help="of each digit of a code (default: 0.95)")
    go_on.add_argument("--seed", type=int, default=0, help="equal seeds give equal tokens (default: 0)")
    go_on.add_argument("--only-new", action="store_true", help="write the continuation without the prompt")
    go_on.add_argument("--force", action="store_true", help="overwrite OUT")
    plain = actions.add_parser("export", help="a plain LlamaForCausalLM for vLLM, llama.cpp, transformers")
    plain.add_argument("lm", metavar="LM", help="folder of a language model of one codebook")
    plain.add_argument("-d", "--output-dir", required=True, metavar="DIR", help="folder that transformers loads")
    plain.add_argument("--force", action="store_true", help="replace a model that is there")
    for action in (train, score, go_on, plain):
        arguments.add_model(action, "the codec of the tokens")
        action.add_argument(
            "--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu; train: Accelerate's choice)"
        )


def run(args: argparse.Namespace) -> int:
    """Do the action; returns the exit status."""
    actions: dict[str, Callable[[argparse.Namespace], None]] = {
        "train": _train,
        "score": _score,
        "continue": _continue,
        "export": _export,
    }
    actions[args.action](args)
    return 0


def _train(args: argparse.Namespace) -> None:
    out = Path(args.output_dir) if args.resume else _new_folder(args)
    _folder(args.tokens)
    from audiocodec.lm.training import LMSettings, train_lm

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    names = [field.name for field in dataclasses.fields(LMSettings)]
    settings = LMSettings(**{name: getattr(args, name) for name in names if hasattr(args, name)})
    train_lm(args.model, Path(args.tokens), out, settings, args.resume)


def _score(args: argparse.Namespace) -> None:
    _folder(args.tokens)
    model, codec = _loaded(args)
    from audiocodec.lm.scoring import score
    from audiocodec.prior.data import read_codes

    codes = read_codes(Path(args.tokens), codec.fingerprint.hex(), len(model.config.codebook_sizes))
    found = score(model, codes, codec.sample_rate / codec.hop_length)
    print(json.dumps({"lm": args.lm, **dataclasses.asdict(found)}))


def _continue(args: argparse.Namespace) -> None:
    arguments.refuse_existing([args.output], args.force)
    model, codec = _loaded(args)
    from audiocodec.lm.continuation import continue_file

    report = continue_file(
        model,
        codec,
        args.prompt,
        args.output,
        seconds=args.seconds,
        prompt_seconds=args.prompt_seconds,
        temperature=args.temperature,
        top_p=args.top_p,
        seed=args.seed,
        only_new=args.only_new,
    )
    print(json.dumps(report))


def _export(args: argparse.Namespace) -> None:
    out = _new_folder(args)
    model, codec = _loaded(args)
    from audiocodec.lm.export import export

    export(model, out, codec.sample_rate / codec.hop_length)


def _loaded(args: argparse.Namespace) -> tuple[TokenLM, Codec]:
    """The language model, and the codec of its tokens."""
    _folder(args.lm)
    from audiocodec import model_file
    from audiocodec.lm import files

    model, codec = files.load(args.lm), model_file.load(args.model)
    if codec.fingerprint.hex() != model.config.codec:
        raise FingerprintMismatch(
            f"{args.lm}: is of codec {model.config.codec}, this is {codec.fingerprint.hex()}; give the right one with -m"
        )
    from audiocodec.lm.training import device_of

    return model.to(device_of(args.device)), codec


def _new_folder(args: argparse.Namespace) -> Path:
    out = Path(args.output_dir)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is no folder")
    if out.is_dir() and any(out.iterdir()) and not args.force:
        raise UsageError(f"{out}: is not empty; --force replaces the model there")
    return out


def _folder(name: str) -> None:
    if not Path(name).is_dir():
        raise UsageError(f"{name}: no such folder")
