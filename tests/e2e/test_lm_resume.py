"""A language model's training that was killed goes on as if it had not been; states of other trainings are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import corpora

from audiocodec.cli.main import main
from audiocodec.errors import LanguageModelError, UsageError
from audiocodec.lm import files, state, training
from audiocodec.lm.training import LMSettings, train_lm
from audiocodec.lm_tokens import PackedTokens
from audiocodec.locks import alone

SMALL = LMSettings(dim=32, layers=1, heads=2, context=16, batch=2, minutes=10)


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture(scope="module")
def tokens(tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    audio = corpora.write_corpus(folder / "audio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANK", "0")
        patch.setenv("WORLD_SIZE", "1")
        words = ["-m", str(tiny_model_path), "-d", str(folder / "out"), "--engine", "torchrun", "--quiet"]
        assert main(["tokenize", str(audio), *words]) == 0
    return folder / "out"


class Steps:
    """Trains, and is killed before step `killed_at` of each start; keeps the ids of all steps."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: list[torch.Tensor] = []
        self.killed_at, self._step = 0, training._step
        patch.setattr(training, "_step", self.step)
        patch.setattr(training, "_share", lambda done: 1.0)  # of the learning rate, which time decides otherwise
        patch.setattr(training, "SAVE_SECONDS", -1.0)

    def step(self, model, ids, *rest) -> float:
        if len(self.seen) == self.killed_at:
            raise Killed
        self.seen.append(ids)
        return self._step(model, ids, *rest)

    def run(self, until: int, model: Path, tokens: Path, out: Path, resume: bool) -> None:
        self.killed_at = until
        with pytest.raises(Killed):
            train_lm(model, tokens, out, SMALL, resume)


def test_a_killed_training_goes_on(tokens: Path, tiny_model_path: Path, tmp_path: Path, monkeypatch) -> None:
    data = PackedTokens(tokens, SMALL.context, "delay", SMALL.seed)
    first = len(data) // SMALL.batch + 2  # steps: in the second epoch
    with monkeypatch.context() as patch:
        steps = Steps(patch)
        steps.run(first + 3, tiny_model_path, tokens, tmp_path / "whole", False)
        whole = steps.seen
    steps = Steps(monkeypatch)
    steps.run(3, tiny_model_path, tokens, tmp_path / "cut", False)
    steps.run(first, tiny_model_path, tokens, tmp_path / "cut", True)
    steps.run(first + 3, tiny_model_path, tokens, tmp_path / "cut", True)
    assert [ids.tolist() for ids in steps.seen] == [ids.tolist() for ids in whole]
    per_epoch = len(data) // SMALL.batch
    for epoch, found in enumerate((whole[:per_epoch], whole[per_epoch:])):
        data.set_epoch(epoch)
        assert torch.cat(found).tolist() == [data[i].tolist() for i in range(len(found) * SMALL.batch)]
    one, two = (load_file(tmp_path / name / state.STATE) for name in ("whole", "cut"))
    assert one.keys() == two.keys() and any(name.startswith("exp_avg_sq/") for name in one)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_finished_training_stays(tokens: Path, tiny_model_path: Path, tmp_path: Path) -> None:
    short = replace(SMALL, minutes=0.01)
    made = train_lm(tiny_model_path, tokens, tmp_path, short)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors", "training.json"]
    before = (tmp_path / "model.safetensors").read_bytes()
    again = train_lm(tiny_model_path, tokens, tmp_path, short, resume=True)
    assert (tmp_path / "model.safetensors").read_bytes() == before and again.config == made.config
    with pytest.raises(LanguageModelError, match=r"training\.json: is of another training: minutes was 0\.01, now 5"):
        train_lm(tiny_model_path, tokens, tmp_path, replace(short, minutes=5), resume=True)
    (tmp_path / "training.json").unlink()
    with pytest.raises(LanguageModelError, match=r"training\.json: does not say how the model was trained: .*--force"):
        train_lm(tiny_model_path, tokens, tmp_path, short, resume=True)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_second_start_does_not_take_up_an_older_one(tokens: Path, tiny_model_path: Path, tmp_path: Path, monkeypatch):
    train_lm(tiny_model_path, tokens, tmp_path, replace(SMALL, minutes=0.01))
    steps = Steps(monkeypatch)
    steps.run(0, tiny_model_path, tokens, tmp_path, False)  # --force, killed before its first step
    steps.run(2, tiny_model_path, tokens, tmp_path, True)
    assert len(steps.seen) == 2
    files.load(tmp_path)  # the older model is there until the new one is


def test_states_that_are_refused(tokens: Path, tiny_model_path: Path, tmp_path: Path, monkeypatch) -> None:
    steps = Steps(monkeypatch)
    steps.run(2, tiny_model_path, tokens, tmp_path, False)
    path = tmp_path / state.STATE

    def refused(settings: LMSettings, message: str) -> None:
        with pytest.raises(LanguageModelError, match=message):
            train_lm(tiny_model_path, tokens, tmp_path, settings, resume=True)

    refused(
        replace(SMALL, dim=16, seed=3), "training.safetensors: is of another training: dim was 32, now 16; seed was 0"
    )
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    refused(SMALL, r"training\.safetensors: .*remove it to begin anew")
    path.write_bytes(whole)
    tensors = load_file(path)
    save_file(tensors, path)  # without the progress
    refused(SMALL, r"training\.safetensors: .*remove it to begin anew")
    path.write_bytes(whole)
    with alone(tmp_path, "trained"), pytest.raises(UsageError, match="is being trained by process"):
        train_lm(tiny_model_path, tokens, tmp_path, SMALL, resume=True)
    steps.run(4, tiny_model_path, tokens, tmp_path, True)  # nothing of this harmed it
