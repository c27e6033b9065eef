"""Every verb killed (-9) at random moments and run again: the end is that of a run that nothing disturbed.

`make kill` kills each of them more often. `AUDIOCODEC_KILL_SEED` chooses the moments; a failure names its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import corpora
from support.killing import Server
from support.training_run import CONFIG, make_data

from audiocodec.cli.main import main

pytest.importorskip("pyarrow")

KILLS = int(os.environ.get("AUDIOCODEC_KILLS", "3"))
SEED = os.environ.get("AUDIOCODEC_KILL_SEED", "0")
GROWING = ("rows.jsonl.partial", "timings.jsonl", "sizes.jsonl", "train.log", "runs.jsonl", "tensorboard")
TIMES = ("wall_seconds", "stamp")  # the stamp of a file is its time, too
TIMED = ("timings.jsonl", "summary.json", "RESULTS.md")  # hold how long something took


@dataclass(frozen=True)
class Case:
    """A verb.

    Attributes:
        words: the command; `OUT` is what it writes.
        again: words that are added when it runs again.
        begin: what is copied to `OUT` before it runs.
        in_place: `OUT` is changed, file by file: what is there after a kill may be old.
    """

    words: str
    again: str = ""
    begin: str = ""
    in_place: bool = False


CASES = {
    "encode": Case("encode AUDIO -m MODEL -d OUT --quiet", "--resume"),
    "encode a part": Case("encode CUT -m MODEL -d OUT --quiet", "--resume"),
    "decode": Case("decode TOKENS -m MODEL -d OUT --quiet", "--resume"),
    "train": Case(
        "train --config CONFIG --exp OUT --device cpu --set data.train=DATA --set train.checkpoint_interval=1 "
        "--set train.keep_checkpoints=9",
        "--resume",
    ),
    "train lean": Case(
        "train --config CONFIG --exp OUT --device cpu --set data.train=DATA --set train.lean_minutes=1e-9 "
        "--set train.checkpoint_interval=2 --set train.keep_checkpoints=1",
        "--resume",
        in_place=True,
    ),
    "evaluate": Case(
        "evaluate --reference AUDIO --estimate AUDIO --tokens TOKENS -d OUT --metrics si_sdr --jobs 1 --quiet",
        "--resume",
    ),
    "compare": Case(
        "compare --reference AUDIO -m x=MODEL --baseline resample -d OUT --metrics si_sdr --jobs 1 --quiet", "--resume"
    ),
    "tokenize": Case("tokenize AUDIO -m MODEL -d OUT --shard-seconds 1 --engine torchrun --quiet"),
    "tokenize to webdataset": Case(
        "tokenize AUDIO -m MODEL -d OUT --shard-seconds 1 --engine torchrun --format webdataset --quiet"
    ),
    "export": Case("export MODEL -o OUT/model.safetensors --force"),
    "export to a folder": Case("export MODEL --onnx OUT/onnx --force"),
    "export-tokens": Case("export-tokens TOKENS -d OUT --format npy", "--force"),
    "export-tokens to Parquet": Case("export-tokens TOKENS -o OUT/t.parquet --format parquet", "--force"),
    "make-data": Case("make-data AUDIO OUT --split --dev-share 0.2 --test-share 0.2"),
    "combine-data": Case("combine-data OUT DATA CUT"),
    "fix-data": Case("fix-data OUT --skip-bad", begin="BROKEN", in_place=True),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, tiny_model_path: Path) -> dict[str, str]:
    """What the commands are about, by the words that stand for it."""
    root = tmp_path_factory.mktemp("killed")
    audio = corpora.write_corpus(root / "audio")
    assert main(["encode", str(audio), "-m", str(tiny_model_path), "-d", str(root / "tokens"), "--quiet"]) == 0
    (root / "tiny.yaml").write_text(CONFIG)
    cut = root / "cut"
    cut.mkdir()
    (cut / "wav.scp").write_text(f"r {audio}/a.wav\n")
    (cut / "segments").write_text("r-1 r 0 0.1\nr-2 r 0.1 0.2\nr-3 r 0.2 0.3\n")
    (cut / "utt2spk").write_text("r-1 s\nr-2 s\nr-3 s\n")
    data = make_data(root / "training")
    broken = shutil.copytree(data, root / "broken")
    for name in ("utt2spk", "utt2num_samples"):
        lines = (broken / name).read_text().splitlines()[::-1]
        (broken / name).write_text("\r\n".join(lines[1:]))
    (broken / "spk2utt").write_text("u1 u1 u9\n")
    found = {"AUDIO": audio, "TOKENS": root / "tokens", "MODEL": tiny_model_path, "CONFIG": root / "tiny.yaml"}
    return {name: str(path) for name, path in {**found, "CUT": cut, "DATA": data, "BROKEN": broken}.items()}


def words_of(text: str, places: dict[str, str], out: Path) -> list[str]:
    for name, path in {**places, "OUT": str(out)}.items():
        text = text.replace(name, path)
    return text.split()


def tree(folder: Path) -> dict[str, str]:
    """Relative path -> what the file holds, but for times."""
    return {str(path.relative_to(folder)): content(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def content(path: Path) -> str:
    if path.name in TIMED or any(part in GROWING[3:] for part in path.parts):
        return ""
    if path.suffix == ".jsonl":
        records = [json.loads(line) for line in path.read_text().splitlines()]
        kept = [{k: v for k, v in r.items() if not k.endswith("_rtf") and k not in TIMES} for r in records]
        return json.dumps(sorted(kept, key=lambda record: str(record.get("id"))))
    data = path.read_bytes()
    if path.suffix == ".safetensors":  # the library writes its header in an order that changes
        end = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:end])
        header.get("__metadata__", {}).pop("model_sha256", None)  # of such a header
        data = json.dumps(header, sort_keys=True).encode() + data[end:]
    return hashlib.sha256(data).hexdigest()


def final(files: dict[str, str]) -> dict[str, str]:
    """Without logs, of which there may be more than one."""
    return {name: held for name, held in files.items() if not any(part in GROWING[3:] for part in Path(name).parts)}


@pytest.mark.parametrize("name", CASES)
def test_a_killed_command_ends_as_one_that_was_not(
    name: str, server: Server, places: dict[str, str], tmp_path: Path
) -> None:
    case, out = CASES[name], tmp_path / "out"
    words, again = words_of(case.words, places, out), words_of(case.again, places, out)

    def begin() -> None:
        shutil.rmtree(out, ignore_errors=True)
        if case.begin:
            shutil.copytree(places[case.begin], out)
        else:
            out.mkdir()

    begin()
    undisturbed = server.run(words, tmp_path)
    expected = final(tree(out))
    assert undisturbed.status == 0 and undisturbed.events > 0, undisturbed.errors
    assert expected and [path for path in expected if hidden(path)] == []
    rng = random.Random(f"{SEED} {name}")
    for number in range(KILLS):
        begin()
        event, seconds = rng.randint(1, undisturbed.events), rng.uniform(0, undisturbed.seconds)
        moment = {"at_event": event} if number % 2 == 0 else {"after": seconds}
        killed = server.run(words, tmp_path, **moment)
        where = f"{name}: killed {moment}"
        assert killed.status in (-9, 0), f"{where}: {killed}"
        if not case.in_place:
            half = {path: held for path, held in tree(out).items() if not growing(path) and expected.get(path) != held}
            assert half == {}, f"{where}: half-written"
        more = [word for word in again if out.exists()]
        done = server.run([*words, *more], tmp_path)
        assert done.status == 0, f"{where}: {done}"
        assert final(tree(out)) == expected, where


def hidden(path: str) -> bool:
    return any(part.startswith(".") and part != ".backup" for part in Path(path).parts)


def growing(path: str) -> bool:
    """Whether a file may be unfinished, or is not there at the end."""
    return hidden(path) or any(part in GROWING for part in Path(path).parts)
