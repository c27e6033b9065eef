"""What builds the site: where pages and links go, the pages made of parsers, and the check of links."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from audiocodec.cli.main import VERBS, make_parser

CHECKOUT = Path(__file__).parents[2]
sys.path.insert(0, str(CHECKOUT / "docs"))

from tools import commands, links, stage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small checkout."""
    texts = {
        "setup.cfg": "[metadata]\nurl = https://forge/it\n",
        "README.md": "# R\n",
        "docs/guide/a.md": "",
        "docs/decisions/README.md": "# D\n",
        "docs/figures/p.png": "png",
        "egs/one/codec/RESULTS.md": "# O\n",
        "egs/one/codec/picture.png": "png",
        "audiocodec/pretrained/m/CARD.md": "# M\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


# --- links in Markdown


@pytest.mark.parametrize(
    ("link", "follows"),
    [
        ("../../egs/one/codec/RESULTS.md", "../recipes/one_results.md"),
        ("../../audiocodec/pretrained/m/CARD.md#x", "../models/m.md#x"),
        ("../decisions/README.md", "../decisions/README.md"),
        ("../../README.md", "https://forge/it/blob/main/README.md"),
        ("../../egs/one", "https://forge/it/tree/main/egs/one"),
        ("../figures/p.png", "../figures/p.png"),
        ("../../egs/one/codec/picture.png", "../figures/egs_one_codec_picture.png"),
        ("https://else/x.md", "https://else/x.md"),
        ("#here", "#here"),
    ],
)
def test_links_follow_their_pages(link: str, follows: str, root: Path) -> None:
    text, _ = stage.with_links(f"see [it]({link}), or\n", "docs/guide/a.md", stage.pages(root), root)
    assert text == f"see [it]({follows}), or\n"


def test_code_stays_and_pictures_are_collected(root: Path) -> None:
    text = "![p](../figures/p.png)\n\n```python\nx[0](none.md)\n```\n<!-- site: only here -->\n"
    found, pictures = stage.with_links(text, "docs/guide/a.md", stage.pages(root), root)
    assert found == "![p](../figures/p.png)\n\n```python\nx[0](none.md)\n```\nonly here\n"
    assert pictures == {"docs/figures/p.png"}


def test_a_link_to_nothing_is_named(root: Path) -> None:
    with pytest.raises(SystemExit, match=r"docs/guide/a.md: none.md: no such file"):
        stage.with_links("[x](none.md)", "docs/guide/a.md", stage.pages(root), root)


def test_the_contents_have_every_page_once() -> None:
    contents = stage.listed((CHECKOUT / "docs/tools/contents.txt").read_text(), stage.pages(CHECKOUT))
    named = [line for line in contents.splitlines() if line.startswith(("guide/", "reference/"))]
    here = {f"guide/{path.stem}" for path in (CHECKOUT / "docs/guide").glob("*.md")}
    assert len(named) == len(set(named)) and here <= set(named)


# --- pages of commands


def test_every_verb_and_option_has_its_place() -> None:
    made = commands.pages()
    assert set(made) == {f"reference/commands/{name}.md" for name in ("index", *VERBS)}
    for verb, parser in commands.subparsers(make_parser(*VERBS)).items():
        page = made[f"reference/commands/{verb}.md"]
        for below in (parser, *commands.subparsers(parser).values()):
            shown = [action for action in below._actions if action.option_strings and action.help != argparse.SUPPRESS]
            options = {action.option_strings[-1] for action in shown} - {"--help"}
            assert all(option in page for option in options), verb
    assert "```{option} -m MODEL, --model MODEL\n" in made["reference/commands/encode.md"]
    assert "## lm train" in made["reference/commands/lm.md"]


# --- links in HTML


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/index.html").write_text('<p id="there"><a href="../a.html">up</a></p>')
    good = '<a href="sub/index.html#there">1</a><a href="sub/">2</a><a href="https://x/y">3</a><a href="#p">4</a>'
    (tmp_path / "a.html").write_text(
        f'<p id="p">{good}</p>\n<a href="sub/index.html#gone">5</a>\n<img src="no%20.png">'
    )
    assert links.broken(tmp_path) == ["a.html:2: sub/index.html#gone", "a.html:3: no%20.png"]
