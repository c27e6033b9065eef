"""What .ci/run makes of skipped tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci"

REPORT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="tests.unit.test_a" name="test_one"/>
<testcase classname="tests.unit.test_a" name="test_two[x]"><skipped type="pytest.skip" message="no GPU"/></testcase>
<testcase classname="tests.unit.test_a" name="test_three"><skipped type="pytest.xfail" message="known"/></testcase>
</testsuite></testsuites>"""
ALL_SKIPPED = REPORT.replace('name="test_one"/>', 'name="test_one"><skipped message="no GPU"/></testcase>').replace(
    "pytest.xfail", "pytest.skip"
)


REFUSED = "skipped without leave: tests.unit.test_a::test_two[x] (no GPU)\n"


@pytest.mark.parametrize(
    ("report", "allowed", "status", "said"),
    [
        (REPORT, "# none\n", 1, REFUSED),
        (REPORT, "tests.unit.test_a::test_two*  needs a GPU\n", 0, ""),
        (REPORT, "tests.unit.test_a::test_one*\n", 1, REFUSED),
        (ALL_SKIPPED, "tests*\n", 1, "no test ran\n"),
    ],
)
def test_skips(report: str, allowed: str, status: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(report)
    (tmp_path / "allowed.txt").write_text(allowed)
    command = [sys.executable, CI / "check_skips.py", tmp_path / "report.xml", tmp_path / "allowed.txt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.endswith(said) and bool(done.stdout) == bool(said)
