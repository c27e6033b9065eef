"""One trainer for each experiment, what killed ones leave, and a log from which one sees that a run is alive."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.training_run import config, make_data, stopping_at, tensors, trainer

from audiocodec.cli.main import main
from audiocodec.training.monitor.history import Run, add

pytestmark = pytest.mark.usefixtures("fresh_process")


def test_the_second_trainer_is_refused_and_a_killed_one_is_not_in_the_way(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    exp = tmp_path / "exp"
    endless = [sys.executable, "-m", "audiocodec", *command, "--set", "train.steps=1000000"]
    with subprocess.Popen(endless, stderr=subprocess.DEVNULL) as first:
        try:
            deadline = time.monotonic() + 120
            while not (exp / "checkpoints" / "step_00000000").exists():
                assert first.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            before = (exp / "config.yaml").read_bytes()
            for more in ([], ["--resume"]):
                assert main([*command, *more]) == 2
                assert f"exp: is being trained by process {first.pid} on " in capsys.readouterr().err
            assert (exp / "config.yaml").read_bytes() == before
        finally:
            first.kill()
    assert main([*command, "--resume"]) == 0
    assert not (exp / ".lock").exists() and (exp / "checkpoints" / "step_00000004").exists()


def test_what_killed_runs_leave_is_no_checkpoint_and_goes(tmp_path: Path, command: list[str]) -> None:
    checkpoints = tmp_path / "exp" / "checkpoints"
    for name in ("step_00000000.tmp", ".step_00000000.0000-1-01234567.tmp"):
        (checkpoints / name).mkdir(parents=True)
        (checkpoints / name / "half").write_text("")
    assert main(command) == 0
    assert sorted(os.listdir(checkpoints)) == ["step_00000000", "step_00000004"]


def test_a_short_run_logs_its_losses(tmp_path: Path, command: list[str]) -> None:
    """The interval of the log is 100 steps, of which there are 4."""
    from audiocodec.reporting.plots.training import read_scalars

    assert main(command) == 0
    lines = (tmp_path / "exp" / "train.log").read_text().splitlines()
    steps = [line.split(" step ")[1].split()[0] for line in lines if " mel " in line and "steps/s" in line]
    assert steps == ["1", "4"]
    curves = read_scalars(tmp_path / "exp" / "tensorboard")
    assert curves["loss/mel"][0] == [1, 4] and curves["codebook/0/usage"][0] == [4]


def test_a_quiet_minute_is_broken(tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiocodec.training.monitor.pulse.FIRST_SECONDS", 0.0)
    assert main(command) == 0
    assert [f" step {n} " in (tmp_path / "exp" / "train.log").read_text() for n in (1, 2, 3, 4)] == 4 * [True]


def test_results_of_a_model_without_a_quantizer_say_so(tmp_path: Path, data: Path) -> None:
    warning = "saved at step 1, before quantization started: its tokens mean nothing yet"
    exp = tmp_path / "exp"
    trainer(config(f"data.train={data} train.warmup_autoencoder_steps=3"), exp, data, kind=stopping_at(1)).run()
    add(exp, Run("", 0, 1, 1.0, "cpu", 1, 1, "2", 1, 1.0, 1))
    score = ["evaluate", "--reference", str(data), "-m", str(exp), "-d", str(tmp_path / "eval"), "--metrics", "si_sdr"]
    assert main([*score, "--jobs", "1", "--quiet"]) == 0
    assert main(["evaluate", "--results-md", str(tmp_path / "R.md"), str(tmp_path / "eval")]) == 0
    assert f"- warning: {warning}\n" in (tmp_path / "R.md").read_text()
    assert main(["card", str(exp), "--title", "T", "-o", str(tmp_path / "C.md")]) == 0
    assert f"Warning: {warning}.\n" in (tmp_path / "C.md").read_text()


def test_several_folders_are_one(tmp_path: Path, data: Path) -> None:
    """The same audio in two folders gives the same weights as in one."""
    parts = []
    for number in range(2):
        parts.append(tmp_path / f"part{number}")
        parts[-1].mkdir()
        for name in ("wav.scp", "utt2spk", "utt2num_samples"):
            lines = (data / name).read_text().splitlines(keepends=True)
            (parts[-1] / name).write_text("".join(lines[:2] if number == 0 else lines[2:]))
    (tmp_path / "tiny.yaml").write_text(
        f"extends: base.yaml\ndata: {{train: ['{parts[0]}', '{parts[1]}'], valid: ['{parts[0]}', '{parts[1]}']}}\n"
    )
    from support.training_run import CONFIG

    (tmp_path / "base.yaml").write_text(CONFIG)
    words = ["train", "--config", str(tmp_path / "tiny.yaml"), "--device", "cpu", "--exp"]
    assert main([*words, str(tmp_path / "list")]) == 0
    whole = ["--set", f"data.train={data}", "--set", f"data.valid=[{data}]"]
    assert main([*words, str(tmp_path / "one"), *whole]) == 0
    ours, theirs = tensors(tmp_path / "list", 4), tensors(tmp_path / "one", 4)
    assert [name for name in theirs if not np.array_equal(ours[name], theirs[name])] == []
    assert main([*words, str(tmp_path / "twice"), "--set", f"data.train=[{data}, {parts[0]}]"]) == 1


def test_bad_audio_is_left_out_where_that_is_wanted(tmp_path: Path, command: list[str]) -> None:
    data = make_data(tmp_path / "own")
    path = tmp_path / "own" / "audio" / "u2.wav"
    path.write_bytes(path.read_bytes()[:-100])
    own = ["--set", f"data.train={data}", "--set", f"data.valid={data}", "--set", "train.valid_utterances=9"]
    assert main([*command, *own]) == 1
    assert main([*command, *own, "--set", "data.skip_bad=true"]) == 0
    log = (tmp_path / "exp" / "train.log").read_text()
    assert "left out: u2: " in log and "left out of the validation: u2: " in log
    assert "0 silent and 1 bad utterances left out" in log
    assert main(["validate-data", str(data)]) == 1
    assert main(["validate-data", str(data), "--skip-bad"]) == 0


def test_segments_are_trained_on(tmp_path: Path, command: list[str], data: Path) -> None:
    """As the same audio in files of its own."""
    recording, cut = [], tmp_path / "cut"
    cut.mkdir()
    lines, first = [], 0
    for line in (data / "wav.scp").read_text().splitlines():
        key, path = line.split(" ", 1)
        wav, rate = soundfile.read(path, dtype="int16")
        recording.append(wav)
        lines.append(f"{key} r {first / rate} {(first + len(wav)) / rate}\n")
        first += len(wav)
    soundfile.write(tmp_path / "r.flac", np.concatenate(recording), rate)
    (cut / "wav.scp").write_text(f"r {tmp_path}/r.flac\n")
    (cut / "segments").write_text("".join(lines))
    (cut / "utt2spk").write_text((data / "utt2spk").read_text())
    assert main(command) == 0
    for memory in ("8", "0"):
        exp = tmp_path / f"cut{memory}"
        settings = ["--set", f"data.memory_gb={memory}", "--exp", str(exp)]
        assert main([*command, *settings, "--set", f"data.train={cut}", "--set", f"data.valid={cut}"]) == 0
        ours, theirs = tensors(exp, 4), tensors(tmp_path / "exp", 4)
        if memory == "8":
            assert [name for name in theirs if not np.array_equal(ours[name], theirs[name])] == []
