"""examples/first_tokens.ipynb: its cells run from top to bottom, with the sound and the pictures going nowhere."""

from __future__ import annotations

import configparser
import json
from pathlib import Path
from typing import Any

import pytest
from support.workspace import CHECKOUT, run

NOTEBOOK = CHECKOUT / "examples/first_tokens.ipynb"

# Stands in for IPython, which the tests do without: says what it is given.
DISPLAY = """
class Audio:
    def __init__(self, data, rate):
        self.said = f"played {len(data)} at {rate}"

def display(audio):
    print(audio.said)
"""

SHELL = """
version_info = (9, 0)  # matplotlib looks whether it runs in a shell of IPython

def get_ipython():
    return None
"""


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    """The cells of the notebook."""
    held = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (held["nbformat"], held["metadata"]["kernelspec"]["language"]) == (4, "python")
    found: list[dict[str, Any]] = held["cells"]
    return found


def test_nothing_is_stored_but_the_text(cells: list[dict[str, Any]]) -> None:
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 4 and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in cells}) == len(cells)


def test_it_fetches_the_repository_of_the_metadata(cells: list[dict[str, Any]]) -> None:
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    assert f'REPOSITORY = "{setup["metadata"]["url"]}"' in "".join(cells[1]["source"])


def test_the_cells_run(cells: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "IPython").mkdir()
    (tmp_path / "IPython/__init__.py").write_text(SHELL)
    (tmp_path / "IPython/display.py").write_text(DISPLAY)
    script = tmp_path / "cells.py"
    script.write_text("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    environment = {"PYTHONPATH": str(tmp_path), "MPLBACKEND": "agg"}
    said = run(["python", script], NOTEBOOK.parent, env=environment).stdout
    assert "[1, 1, 363]" in said  # 4.84 s at 75 a second
    assert said.count("played 77438 at 16000") == 5  # original, decoded, three bitrates
    assert [line.split(": ")[1] for line in said.splitlines() if " codebooks: " in line] == [
        "0.75 kbps",
        "3.00 kbps",
        "6.00 kbps",
    ]
    assert float(said.split()[-1]) > 0  # of the gradient
