"""Every command of README.md and of the guides in PAGES is run, in order, in one copy of the checkout.

Blocks tagged `bash` run in one shell each, which stops at the first failure; blocks tagged `python` in an interpreter
each, so every one must stand alone. Commands that other tests or the continuous integration run, or that need the
network, are listed in ELSEWHERE and left out; nothing else is.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.workspace import CHECKOUT, copy_of, run

README = CHECKOUT / "README.md"
GUIDES = (
    "install",
    "command_line",
    "python",
    "streaming",
    "training",
    "evaluation",
    "codebooks",
    "tokenize",
    "language_models",
    "hub",
)
# Pages whose commands are run; later ones use what earlier ones wrote.
PAGES = [README, *(CHECKOUT / "docs" / "guide" / f"{name}.md" for name in GUIDES)]

# A line of a bash block that matches is not run here: where it is run instead.
ELSEWHERE = {
    r"git clone \S+( \S+)?": "the copy is the clone",
    r"cd audiocodec": "the copy is the current folder",
    r"make (demo|test|lint|environment|test-baselines)": "test_demo.py, .ci/run",
    r"(\S*/)?pip install .*": "the environment is there: the Makefile makes it",
    r"(sudo )?apt(-get)? (update|install .*)": "needs the network and root",
    r"\.? ?(source )?\.venv/bin/activate": "the environment of the tests is active",
    r"cd egs/\w+/codec": "the folder of a recipe's commands, below",
    r"(egs/mini/codec/|\./)run\.sh( .*)?": "test_recipes.py runs all stages of egs/mini",
    r"egs/(folder|debian_voices|libritts)/codec/run\.sh( .*)?": "test_recipes.py: a_folder_of_audio_is_trained_on; test_libritts_local.py",
    r"audiocodec compare .*": "test_compare_cli.py runs it without Opus and Codec2, which need their programs",
    r"(recipes/utils/slurm.sh|audiocodec tokenize) .* --engine (slurm|ray)( .*)?": "test_tokenize_engines.py runs both engines",
    r"audiocodec tokenize .* --device cuda": "needs a GPU",
    r"tensorboard .*": "serves until it is stopped",
    r"\S*\.venv/bin/python -m torch\.distributed\.run .*": "the trainer's tests run two processes",
}
TAGS = {"bash", "python", "text", "yaml", "json"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its tag, its text, the line it begins at and its page's name."""

    tag: str
    text: str
    line: int
    page: str = "README.md"

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(text: str, page: str = "README.md") -> list[Block]:
    """The fenced blocks of a Markdown text, in order."""
    found = re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(m[1].strip(), m[2], text.count("\n", 0, m.start()) + 1, page) for m in found]


def commands_of(block: Block) -> str:
    """A bash block without the lines that are run elsewhere; continued lines count as one."""
    lines = re.sub(r"\\\n\s*", " ", block.text).splitlines()
    return "\n".join(line for line in lines if not is_elsewhere(line))


def is_elsewhere(line: str) -> bool:
    """Whether a line is in the list; comments at its end do not count."""
    command = re.sub(r"\s+#.*", "", line).strip()
    return any(re.fullmatch(pattern, command) for pattern in ELSEWHERE)


BLOCKS = [block for page in PAGES for block in blocks_of(page.read_text(encoding="utf-8"), page.name)]
COMMANDS = [block for block in BLOCKS if block.tag in ("bash", "python")]
RUN = [block for block in COMMANDS if block.tag == "python" or commands_of(block).strip()]  # something is left to run


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy for all blocks: what one leaves, the next finds."""
    return copy_of(tmp_path_factory.mktemp("clone"))


def test_there_is_a_readme_with_commands() -> None:
    assert {block.tag for block in RUN} == {"bash", "python"}
    left_out = [line for block in COMMANDS if block not in RUN for line in block.text.splitlines() if line]
    assert all(is_elsewhere(line) for line in left_out)


def test_every_block_says_what_it_is() -> None:
    assert [f"{b.place}: tag {b.tag!r}" for b in BLOCKS if b.tag not in TAGS] == []


def test_every_link_to_a_file_leads_to_one() -> None:
    folders = ("docs/**/*.md", "egs/*/*.md", "egs/*/codec/*.md", "audiocodec/pretrained/*/*.md")
    pages = [*CHECKOUT.glob("*.md"), *(page for pattern in folders for page in sorted(CHECKOUT.glob(pattern)))]
    shown = {
        page: re.sub(r"<!-- site: .*? -->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL) for page in pages
    }
    links = [(page, link) for page, text in shown.items() for link in re.findall(r"\]\(([^)#\s]+)", text)]
    files = [(page, link) for page, link in links if "://" not in link]
    assert len(files) >= 5
    assert [f"{page.relative_to(CHECKOUT)}: {link}" for page, link in files if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.place)
def test_block(block: Block, clone: Path) -> None:
    python, shell = [sys.executable, "-c", block.text], ["bash", "-euo", "pipefail", "-c", commands_of(block)]
    done = run(python if block.tag == "python" else shell, clone, status=None)
    assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr


def test_reading_of_blocks() -> None:
    text = "# T\n```bash\nmake demo  # all\necho a \\\n  b\n```\n\n```python\nx = 1\n```\n"
    bash, python = blocks_of(text)
    assert (bash.tag, bash.line, python.tag, python.text, python.line) == ("bash", 2, "python", "x = 1\n", 8)
    assert commands_of(bash) == "echo a  b"
    assert not is_elsewhere("make demo && rm -rf x")
    assert not is_elsewhere("audiocodec encode a.wav")
