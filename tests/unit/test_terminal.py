"""What the command line prints: tables that fit a terminal, and advice that works where it is given."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from audiocodec import installing
from audiocodec.cli.align import align

CHECKOUT = Path(__file__).parents[2]


def test_a_table_wider_than_a_terminal_goes_on_below_beside_its_first_column() -> None:
    lines = [["system", *(f"measure {n:02d}" for n in range(12))]]
    lines += [[name, *(f"{place}.{n:02d} [0.000, 1.000]" for n in range(12))] for place, name in enumerate("ab")]
    parts = align(lines, right=[1]).split("\n\n")  # four columns of 21 and their gaps fit beside one of 6
    assert len(parts) == 3 and all(len(line) <= 100 for part in parts for line in part.splitlines())
    for part in parts:
        assert [line.split()[0] for line in part.splitlines()] == ["system", "a", "b"]
    shown = " ".join(parts)
    assert all(shown.count(cell) == 1 for line in lines for cell in line[1:])


def test_a_narrow_table_stays_whole_and_a_long_cell_is_never_cut() -> None:
    assert align([["a", "bb"], ["ccc", "d"]], right=[1]) == "a    bb\nccc   d"
    assert align([["id", "x", "file"], ["u", "1", "f" * 200]]).splitlines()[-1] == f"u   {'f' * 200}"


def test_advice_on_installing_works_in_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert installing.advice("torch") == f'pip install -e "{CHECKOUT}[torch]"'  # which is where tests run
    monkeypatch.setattr(installing, "CHECKOUT", tmp_path)
    assert installing.advice("eval") == 'pip install "audiocodec[eval]"'


@pytest.mark.parametrize(("target", "extra"), [("demo", "eval"), ("environment", "dev")])
def test_the_demo_installs_no_tools_of_developers(tmp_path: Path, target: str, extra: str) -> None:
    command = ["make", "-n", target, f"VENV={tmp_path / 'new'}"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert [line.partition("-e ")[2] for line in done.stdout.splitlines() if " -e " in line] == [f"'.[{extra}]'"]
