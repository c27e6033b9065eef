"""The weights in the package still give the tokens and scores that they gave when they came in.

`models/<name>/<clip>.act` were written by `audiocodec encode` (torch) as the model came in, `scores.json` holds what `audiocodec
evaluate` said of what `audiocodec decode` made of them. A model that replaces another brings its own. Tokens must be equal, on
either runtime; scores may differ as much as another machine's rounding makes them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from audiocodec.cli.main import main
from audiocodec.model_file import describe
from audiocodec.model_places import available
from audiocodec.tokens.token_file import TokenFile

HERE = Path(__file__).parent / "models"
AUDIO = Path(__file__).parents[2] / "egs/mini/codec/local/audio"
CLIPS = ("it-flora/vm-forward", "ru-ivrvoice/vm-rec-busy", "ru-nsh/ru_0003")
WITHIN = {"pesq": 0.01, "stoi": 0.002, "mel_distance": 0.02}


def test_every_model_is_held() -> None:
    assert available() == sorted(path.name for path in HERE.iterdir() if path.is_dir())
    assert [describe(name.replace("_", "-")).path for name in available()] == [
        describe(name).path for name in available()
    ]


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
@pytest.mark.parametrize("name", available())
def test_tokens(name: str, runtime: str, tmp_path: Path) -> None:
    for clip in CLIPS:
        out = tmp_path / f"{clip}.act"
        out.parent.mkdir(exist_ok=True)
        assert main(["encode", str(AUDIO / f"{clip}.flac"), "-m", name, "--runtime", runtime, "-o", str(out)]) == 0
        found, stored = TokenFile.read(out), TokenFile.read(HERE / name / f"{clip}.act")
        assert found.fingerprint == stored.fingerprint == bytes.fromhex(describe(name).fingerprint)
        assert found.codes.tolist() == stored.codes.tolist()


def test_the_residual_model_by_its_first_codebooks(tmp_path: Path) -> None:
    """0.75 to 6 kbps, chosen while encoding, or afterwards from what is in the file: the same samples."""
    name, clip = "speech_24k_residual", CLIPS[0]
    whole = HERE / name / f"{clip}.act"
    for count in range(1, 9):
        few, early, late = tmp_path / f"{count}.act", tmp_path / f"{count}.wav", tmp_path / f"{count}_late.wav"
        words = ["--num-codebooks", str(count), "-m", name]
        assert main(["encode", str(AUDIO / f"{clip}.flac"), *words, "-o", str(few)]) == 0
        tokens = TokenFile.read(few)
        assert tokens.codes.tolist() == TokenFile.read(whole).codes[:count].tolist()
        payload_bits = 10 * tokens.codes.size
        assert payload_bits * tokens.sample_rate / tokens.num_samples == pytest.approx(750 * count, rel=0.005)
        assert main(["decode", str(few), "-m", name, "-o", str(early)]) == 0
        assert main(["decode", str(whole), *words, "-o", str(late)]) == 0
        assert early.read_bytes() == late.read_bytes()


@pytest.mark.parametrize("name", available())
def test_scores(name: str, tmp_path: Path) -> None:
    for clip in CLIPS:
        copy = tmp_path / "audio" / f"{clip}.flac"
        copy.parent.mkdir(parents=True)
        shutil.copy(AUDIO / f"{clip}.flac", copy)
    wav, scores = str(tmp_path / "wav"), tmp_path / "scores"
    assert main(["decode", str(HERE / name), "-d", wav, "-m", name]) == 0
    words = ["evaluate", "--estimate", wav, "--reference", str(tmp_path / "audio"), "--metrics", "pesq,stoi,mel"]
    assert main([*words, "-d", str(scores)]) == 0
    rows = {row["id"]: row for row in map(json.loads, (scores / "rows.jsonl").read_text().splitlines())}
    stored = json.loads((HERE / name / "scores.json").read_text())
    assert stored.keys() == rows.keys() == set(CLIPS)
    for clip, values in stored.items():
        assert values.keys() == WITHIN.keys()
        for measure, value in values.items():
            assert rows[clip][measure] == pytest.approx(value, abs=WITHIN[measure]), (clip, measure)
