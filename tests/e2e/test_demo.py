"""`make demo` with the environment that is there: the models inside the package on the speech in the repository."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from support.workspace import copy_of, run

from audiocodec.audio import io

SPEECH = 12  # recordings in egs/mini/codec/local/audio


def test_demo(tmp_path: Path) -> None:
    clone = copy_of(tmp_path)
    environment = Path(sys.prefix)
    # -o: what make would install is there already
    done = run(["make", "-o", environment / ".ready", f"VENV={environment}", "demo"], clone)
    heads = [line for line in done.stdout.splitlines() if line.startswith("id ")]
    words = ("seconds", "PESQ-WB", "STOI", "kbps on disk", "file")
    assert all(
        sum(word in head for head in heads) == 2 for word in words
    )  # once in each of two tables, which are folded
    for folder, payload in (("demo_out", 1.2), ("demo_out/residual", 3.0)):
        seconds_of = dict(
            reversed(re.findall(r"^(\S+/\S+) +(\d+\.\d+) ", done.stdout, re.MULTILINE))
        )  # the first block's
        rows = re.findall(rf"^(\S+) .*?({folder}/wav/\S+\.wav)$", done.stdout, re.MULTILINE)  # the table is folded
        assert len(rows) == SPEECH, done.stdout
        for name, path in rows:
            seconds = seconds_of[name]
            original = io.info(clone / "egs" / "mini" / "codec" / "local" / "audio" / f"{name}.flac")
            made = io.info(clone / path)
            assert (made.sample_rate, made.num_samples) == (original.sample_rate, original.num_samples)
            assert abs(float(seconds) - original.num_samples / original.sample_rate) < 0.01
            tokens = clone / folder / "tokens" / f"{name}.act"
            kbps = 8 * tokens.stat().st_size / float(seconds) / 1000
            assert payload < kbps < payload + 0.3  # with header and checksum
