"""The pages about the command line, made of the parsers: one for each verb."""

from __future__ import annotations

import argparse
import os
from importlib import import_module

from audiocodec.cli.main import VERBS, make_parser

FOLDER = "reference/commands"


def pages() -> dict[str, str]:
    """Name -> Markdown of the overview and of every verb's page."""
    os.environ["COLUMNS"] = "88"  # argparse folds the usage there: as wide as a block of code
    parser = make_parser(*VERBS)
    verbs = subparsers(parser)
    rows = "\n".join(f"| [{verb}]({verb}.md) | {escape(text)} |" for verb, text in VERBS.items())
    contents = "\n".join(["```{toctree}", ":hidden:", "", *VERBS, "```"])
    overview = f"# Command line\n\n{INTRODUCTION}\n| verb | |\n|---|---|\n{rows}\n\n{contents}\n"
    made = {f"{FOLDER}/{verb}.md": verb_page(verb, verbs[verb]) for verb in VERBS}
    return {f"{FOLDER}/index.md": overview, **made}


INTRODUCTION = """These pages are made from the program's own parsers; `audiocodec VERB --help` prints the same.
[Troubleshooting](../../guide/troubleshooting.md) explains exit statuses and messages.
"""


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers below a parser, by their words; empty where there are none."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def verb_page(verb: str, parser: argparse.ArgumentParser) -> str:
    """The page of one verb, with a section for each of its actions."""
    module = import_module(f"audiocodec.cli.verbs.{verb.replace('-', '_')}")
    parts = [f"# audiocodec {verb}", escape(parser.description or ""), f"```bash\n{module.EXAMPLE}\n```"]
    parts += described(parser)
    for action, below in subparsers(parser).items():
        parts += [f"## {verb} {action}", *described(below)]
    return "\n\n".join(part for part in parts if part) + "\n"


def described(parser: argparse.ArgumentParser) -> list[str]:
    """Usage, then everything that can be given."""
    usage = parser.format_usage().removeprefix("usage: ").strip()
    kinds = (argparse._SubParsersAction, argparse._HelpAction)
    actions = [
        action for action in parser._actions if not isinstance(action, kinds) and action.help != argparse.SUPPRESS
    ]
    return [
        f"```text\n{usage}\n```",
        f"```{{program}} {parser.prog}\n```",
        *(option(parser, action) for action in actions),
    ]


def option(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """An option or an argument, as Sphinx's directive has it."""
    formatter = parser._get_formatter()
    value = (
        formatter._format_args(action, formatter._get_default_metavar_for_optional(action)) if action.nargs != 0 else ""
    )
    names = [f"{name} {value}".strip() for name in action.option_strings] or [_argument(action)]
    text = formatter._expand_help(action) if action.help else ""
    required = " *Required.*" if action.option_strings and action.required else ""
    return f"```{{option}} {', '.join(names)}\n{escape(text)}{required}\n```"


def _argument(action: argparse.Action) -> str:
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return {argparse.ZERO_OR_MORE: f"[{name} ...]", argparse.ONE_OR_MORE: f"{name}...", "?": f"[{name}]"}.get(
        str(action.nargs), name
    )


def escape(text: str) -> str:
    """Help as Markdown: what has a meaning there stands as it is."""
    return "".join("\\" + sign if sign in "*_<>|[]$#~" else sign for sign in text)
