"""Several processes that code: the same files, the same lines in the same order, and one that dies costs one file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

from audiocodec.tokens.token_file import TokenFile
from tests.support.workspace import fingerprint, run, write_noise

AC = [sys.executable, "-m", "audiocodec"]


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """The first of four is by far the longest, so that it is done last; one is no audio."""
    for name, frames in (("a", 6_000), ("b", 20), ("x/c", 40), ("d", 30)):
        write_noise(tmp_path / "in" / f"{name}.wav", frames)
    (tmp_path / "in" / "bad.wav").write_text("no audio")
    return tmp_path / "in"


def coded(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (_, _, content) in fingerprint(folder).items()}


def lines(text: str) -> list[dict[str, object]]:
    """What `--json` printed, without times and without the folder of the outputs."""
    found = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in one.items() if k not in ("wall_seconds", "output")} for one in found]


def test_jobs_change_no_file_and_no_line(tmp_path: Path, audio: Path, tiny_model_path: Path) -> None:
    printed = {}
    for jobs in (1, 3):
        encode = [*AC, "encode", audio, "-d", f"t{jobs}", "-m", tiny_model_path, "--json", "--jobs", str(jobs)]
        decode = [*AC, "decode", f"t{jobs}", "-d", f"w{jobs}", "-m", tiny_model_path, "--json", "--jobs", str(jobs)]
        first, second = run(encode, tmp_path, status=1), run(decode, tmp_path)
        printed[jobs] = lines(first.stdout), [one["num_samples"] for one in lines(second.stdout)]
        assert "4 of 5 done, 1 failed" in first.stderr and "in/bad.wav: not audio, or damaged" in first.stderr
    assert [Path(str(line["input"])).stem for line in printed[1][0]] == ["a", "b", "bad", "d", "c"]
    assert printed[1] == printed[3]
    assert coded(tmp_path / "t1") == coded(tmp_path / "t3") and len(coded(tmp_path / "t3")) == 4
    assert coded(tmp_path / "w1") == coded(tmp_path / "w3")


def test_batches_change_no_file_and_no_line(tmp_path: Path, audio: Path, tiny_model_path: Path) -> None:
    printed = {}
    for size in ("1", "3"):
        encode = [*AC, "encode", audio, "-d", f"t{size}", "-m", tiny_model_path, "--json", "--batch-size", size]
        printed[size] = lines(run(encode, tmp_path, status=1).stdout)
    assert printed["1"] == printed["3"]
    assert coded(tmp_path / "t1") == coded(tmp_path / "t3") and len(coded(tmp_path / "t3")) == 4
    (tmp_path / "t3" / "d.act").unlink()
    again = run([*encode, "--resume"], tmp_path, status=1)
    assert "1 of 5 done, 1 failed, 3 were finished before" in again.stderr
    assert coded(tmp_path / "t1") == coded(tmp_path / "t3")


@pytest.mark.parametrize("options", ["--jobs 2", "--verify", "--fast", "--runtime onnx", "-o -"])
def test_what_a_batch_cannot_do_is_refused(tmp_path: Path, audio: Path, options: str) -> None:
    where = [] if "-o" in options else ["-d", "t"]
    done = run([*AC, "encode", audio / "b.wav", *where, "--batch-size", "2", *options.split()], tmp_path, status=2)
    assert "--batch-size" in done.stderr and done.stdout == "" and not (tmp_path / "t").exists()


def test_resume_with_jobs_makes_only_what_is_missing(tmp_path: Path, audio: Path, tiny_model_path: Path) -> None:
    encode = [*AC, "encode", audio, "-d", "t", "-m", tiny_model_path, "--jobs", "2", "--resume"]
    run(encode, tmp_path, status=1)
    before = fingerprint(tmp_path / "t")
    (tmp_path / "t" / "b.act").unlink()
    assert "1 of 5 done, 1 failed, 3 were finished before" in run(encode, tmp_path, status=1).stderr
    after = fingerprint(tmp_path / "t")
    assert {name: after[name] for name in before if name != "b.act"} == {n: before[n] for n in before if n != "b.act"}
    assert after["b.act"][2] == before["b.act"][2]


def test_a_process_that_dies_costs_one_file(tmp_path: Path, audio: Path, tiny_model_path: Path) -> None:
    (tmp_path / "wav.scp").write_text(
        f"one {audio}/b.wav\ndeadly kill -9 $PPID; sleep 9 |\ntwo {audio}/d.wav\nthree {audio}/x/c.wav\n"
    )
    encode = [*AC, "encode", "wav.scp", "-d", "t", "-m", tiny_model_path, "--jobs", "2", "--allow-pipes"]
    done = run(encode, tmp_path, status=1)
    assert "the process working on it died (signal SIGKILL)" in done.stderr and "3 of 4 done, 1 failed" in done.stderr
    assert sorted(coded(tmp_path / "t")) == ["one.act", "three.act", "two.act"]


def test_ctrl_c_ends_all_processes_and_leaves_whole_files(tmp_path: Path, audio: Path, tiny_model_path: Path) -> None:
    (tmp_path / "wav.scp").write_text(f"one {audio}/b.wav\ntwo {audio}/d.wav\nslow sleep 300 |\nslower sleep 300 |\n")
    (tmp_path / "tmp").mkdir()
    encode = [*AC, "encode", "wav.scp", "-d", "t", "-m", tiny_model_path, "--jobs", "2", "--allow-pipes"]
    process = subprocess.Popen(
        list(map(str, encode)), cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
    )  # fmt: skip
    waited = time.monotonic() + 120
    while not {"one.act", "two.act"} <= set(os.listdir(tmp_path / "t") if (tmp_path / "t").exists() else []):
        assert time.monotonic() < waited and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert "interrupted" in process.communicate(timeout=60)[1] and process.returncode == 130
    while _alive(process.pid):  # what follows the end of the program's own process
        assert time.monotonic() < waited, "a process is left"
        time.sleep(0.05)
    assert sorted(coded(tmp_path / "t")) == ["one.act", "two.act"] and os.listdir(tmp_path / "tmp") == []
    assert TokenFile.read(tmp_path / "t" / "two.act").codes.shape == (2, 30)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_evaluate_codes_in_processes(tmp_path: Path, audio: Path, tiny_model_path: Path) -> None:
    (audio / "a.wav").unlink()
    for jobs in (1, 2):
        words = ["evaluate", "--reference", audio, "-m", tiny_model_path, "-d", f"e{jobs}", "--metrics", "si_sdr"]
        run([*AC, *words, "--jobs", str(jobs)], tmp_path, status=1)
    rows = {}
    for jobs in (1, 2):
        found = [json.loads(line) for line in (tmp_path / f"e{jobs}" / "rows.jsonl").read_text().splitlines()]
        kept = ("id", "si_sdr", "kbps_payload", "kbps_file", "failures")
        rows[jobs] = [{name: row.get(name) for name in kept} for row in found]
    assert rows[1] == rows[2] and [row["id"] for row in rows[2]] == ["b", "bad", "d", "x/c"]
    assert coded(tmp_path / "e1" / "tokens") == coded(tmp_path / "e2" / "tokens")
    assert soundfile.info(tmp_path / "e2" / "wav" / "x" / "c.wav").frames == 40 * 320
    timed = [json.loads(line)["input"] for line in (tmp_path / "e2" / "timings.jsonl").read_text().splitlines()]
    assert len(timed) == 6
