"""`make demo` with the environment that is there: the model inside the package on the speech in the repository."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from workspace import copy_of, run

from audiocodec.audio import io

SPEECH = 12  # recordings in egs/mini/codec/local/audio


def test_demo(tmp_path: Path) -> None:
    clone = copy_of(tmp_path)
    environment = Path(sys.prefix)
    # -o: what make would install is there already
    done = run(["make", "-o", environment / ".ready", f"VENV={environment}", "demo"], clone)
    rows = re.findall(r"^(\S+) +([\d.]+) .* (demo_out/wav/\S+\.wav)$", done.stdout, re.MULTILINE)
    assert len(rows) == SPEECH, done.stdout
    heading = next(line for line in done.stdout.splitlines() if line.startswith("id "))
    assert all(word in heading for word in ("seconds", "PESQ-WB", "STOI", "kbps on disk", "file"))
    for name, seconds, path in rows:
        original = io.info(clone / "egs" / "mini" / "codec" / "local" / "audio" / f"{name}.flac")
        made = io.info(clone / path)
        assert (made.sample_rate, made.num_samples) == (original.sample_rate, original.num_samples)
        assert abs(float(seconds) - original.num_samples / original.sample_rate) < 0.01
        assert (clone / "demo_out" / "tokens" / f"{name}.act").is_file()
