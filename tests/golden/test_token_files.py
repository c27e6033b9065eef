"""Token files built by hand from docs/reference/token_format.md are read, and written back byte for byte."""

import json
import re
import runpy
from pathlib import Path

import pytest

from audiocodec.tokens.token_file import TokenFile

HERE = Path(__file__).parent
FOLDER = HERE / "token_files"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
FORMAT = (HERE.parents[1] / "docs" / "reference" / "token_format.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_file_is_read(name):
    tokens = TokenFile.read(FOLDER / f"{name}.act")
    expected = EXPECTED[name]
    assert tokens.codes.tolist() == expected["codes"]
    assert tokens.fingerprint.hex() == expected["fingerprint"]
    assert list(tokens.codebook_sizes) == expected["codebook_sizes"]
    for key in expected.keys() - {"codes", "fingerprint", "codebook_sizes"}:
        assert getattr(tokens, key) == expected[key], key


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_file_is_written_byte_for_byte(name, tmp_path):
    values = dict(EXPECTED[name])
    values["fingerprint"] = bytes.fromhex(values["fingerprint"])
    TokenFile(**values).write(tmp_path / "out.act")
    assert (tmp_path / "out.act").read_bytes() == (FOLDER / f"{name}.act").read_bytes()


def test_cut_to_one_codebook_is_the_golden_file_with_one():
    cut = TokenFile.read(FOLDER / "example.act").truncate(1)
    assert cut.to_bytes() == (FOLDER / "example_cut.act").read_bytes()


def test_the_script_still_gives_the_committed_files(tmp_path):
    script = runpy.run_path(str(HERE / "make_golden.py"))
    script["main"](tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in FOLDER.iterdir()}


def test_the_script_does_not_use_the_package():
    assert "audiocodec" not in (HERE / "make_golden.py").read_text(encoding="utf-8").replace("tests/", "")


def test_hexdump_in_the_format_document_is_the_example_file():
    rows = re.findall(r"^0000[0-9a-f]{4}  ((?:[0-9a-f]{2} ?)+)$", FORMAT, flags=re.MULTILINE)
    assert bytes.fromhex(" ".join(rows)) == (FOLDER / "example.act").read_bytes()


def test_overhead_in_the_format_document_is_true():
    (claimed,) = re.findall(r"one codebook and no notes has (\d+) bytes besides the codes", FORMAT)
    tokens = TokenFile([[0]], [256], 24000, 320, 320, 24000, 1, 320, 1.0, bytes(8))
    assert len(tokens.to_bytes()) == int(claimed) + 1
