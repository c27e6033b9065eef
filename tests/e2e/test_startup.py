"""What must start fast must not load torch: looked up in `sys.modules`, because a clock would test the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from audiocodec.cli.main import VERBS
from audiocodec.tokens.token_file import TokenFile

HEAVY = ("torch", "librosa", "scipy", "accelerate", "matplotlib", "pandas")

# Runs a command in this interpreter and says, on the last line of stderr, which heavy libraries it loaded.
RUN = """
import json, sys
from audiocodec.cli.main import main
status = main(sys.argv[1:])
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(status)
"""


def loaded_by(code: str, *arguments: str, status: int = 0) -> set[str]:
    """Top-level names of the heavy libraries that a fresh interpreter has loaded after `code`."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1])) & set(HEAVY)


def test_the_check_sees_torch() -> None:
    assert "torch" in loaded_by("import torch, sys, json; print(json.dumps(list(sys.modules)), file=sys.stderr)")


def test_import_audiocodec() -> None:
    assert loaded_by("import audiocodec, sys, json; print(json.dumps(list(sys.modules)), file=sys.stderr)") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["models"], *[[verb, "--help"] for verb in VERBS]])
def test_help(arguments: list[str]) -> None:
    assert loaded_by(RUN, *arguments) == set()


def test_info_about_tokens_models_and_audio(tiny_model_path: Path, tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    tokens, audio = tmp_path / "a.act", tmp_path / "a.wav"
    TokenFile(
        codes=np.zeros((1, 2), np.int32),
        codebook_sizes=(16,),
        sample_rate=24_000,
        hop_length=320,
        num_samples=640,
        original_sample_rate=24_000,
        original_channels=1,
        original_num_samples=640,
        gain=1.0,
        fingerprint=bytes(8),
    ).write(tokens)
    soundfile.write(audio, np.zeros(640), 24_000)
    assert loaded_by(RUN, "info", str(tokens), str(tiny_model_path), str(audio)) == set()


def test_refusing_an_existing_output(tmp_path: Path) -> None:
    for name in ("a.wav", "a.act"):
        (tmp_path / name).write_bytes(b"x")
    arguments = ("encode", str(tmp_path / "a.wav"), "-o", str(tmp_path / "a.act"))
    assert loaded_by(RUN, *arguments, status=2) == set()


def test_validate_and_make_data(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(640), 24_000)
    assert loaded_by(RUN, "make-data", str(tmp_path), str(tmp_path / "data")) == set()
    assert loaded_by(RUN, "validate-data", str(tmp_path / "data")) == set()
