"""Write what `test_models.py` holds a packaged model to: `python tests/golden/make_models.py NAME ...`.

Tokens by `audiocodec encode` (torch) and scores by `audiocodec evaluate` of what `audiocodec decode` makes of them. For a model that has
come into the package; egs/speech24k/codec/package.sh runs it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from test_models import AUDIO, CLIPS, HERE, WITHIN


def make(name: str) -> None:
    """Replace the stored tokens and scores of a model."""
    shutil.rmtree(HERE / name, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        copies = Path(folder) / "audio"
        for clip in CLIPS:
            tokens, copy = HERE / name / f"{clip}.act", copies / f"{clip}.flac"
            tokens.parent.mkdir(parents=True, exist_ok=True)
            copy.parent.mkdir(parents=True)
            shutil.copy(AUDIO / f"{clip}.flac", copy)
            _run("encode", copy, "-m", name, "--runtime", "torch", "-o", tokens)
        _run("decode", HERE / name, "-d", f"{folder}/wav", "-m", name)
        words = ["--estimate", f"{folder}/wav", "--reference", copies, "--metrics", "pesq,stoi,mel"]
        _run("evaluate", *words, "-d", f"{folder}/scores")
        rows = map(json.loads, (Path(folder) / "scores" / "rows.jsonl").read_text().splitlines())
        scores = {row["id"]: {measure: round(row[measure], 4) for measure in WITHIN} for row in rows}
    (HERE / name / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")


def _run(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "audiocodec", *map(str, words)], check=True)


if __name__ == "__main__":
    for model in sys.argv[1:]:
        make(model)
