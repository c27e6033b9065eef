"""UTMOS with weights of the user's: TorchScript or a folder for torch.hub; here stand-ins whose scores are known."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audiocodec.audio import io
from audiocodec.cli.main import main
from audiocodec.errors import MetricUndefined
from audiocodec.evaluation.at_hand import missing_libraries
from audiocodec.evaluation.catalogue import select
from audiocodec.metrics import utmos as module

HUB = """
import torch
dependencies = ["torch"]


def utmos22_strong():
    return lambda wave, sr: 1 + wave.abs().amax(1) + (0 if sr == 16000 else 100)
"""


class Mean(torch.nn.Module):
    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        return 3 + wav.shape[1] / 16000 + 0 * wav.mean(1)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)


def scores(noise: np.ndarray) -> float:
    return module.utmos(reference=noise, estimate=np.clip(noise, -0.25, 0.25), sample_rate=16_000)


def test_torchscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: np.ndarray) -> None:
    with pytest.warns(DeprecationWarning):
        scripted = torch.jit.script(Mean())
    scripted.save(str(tmp_path / "utmos.pt"))
    monkeypatch.setenv(module.VARIABLE, str(tmp_path / "utmos.pt"))
    assert missing_libraries(select(["utmos"])) == []
    assert scores(noise) == pytest.approx(6.0)
    at_48 = module.utmos(reference=noise, estimate=noise, sample_rate=48_000)  # one second, resampled to 16 kHz
    assert at_48 == pytest.approx(4.0)
    with pytest.raises(MetricUndefined, match="UTMOS needs 16000 Hz"):
        module.utmos(reference=noise, estimate=noise, sample_rate=8_000)
    with pytest.raises(MetricUndefined, match="shorter than 0.5 s"):
        module.utmos(reference=noise[:7_999], estimate=noise[:7_999], sample_rate=16_000)


def test_a_hash_that_is_asked_for_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: np.ndarray
) -> None:
    with pytest.warns(DeprecationWarning):
        torch.jit.script(Mean()).save(str(tmp_path / "utmos.pt"))
    digest = hashlib.sha256((tmp_path / "utmos.pt").read_bytes()).hexdigest()
    monkeypatch.setenv(module.VARIABLE, str(tmp_path / "utmos.pt"))
    monkeypatch.setenv(f"{module.VARIABLE}_SHA256", digest.upper())
    assert module.weights_name() == f"utmos.pt {digest[:12]}"
    monkeypatch.setenv(f"{module.VARIABLE}_SHA256", "0" * 64)
    [problem] = missing_libraries(select(["utmos"]))
    assert f"has SHA-256 {digest}, expected {'0' * 64}; these are other weights or a damaged copy" in problem


def test_a_folder_for_torch_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: np.ndarray) -> None:
    (tmp_path / "hubconf.py").write_text(HUB)
    monkeypatch.setenv(module.VARIABLE, str(tmp_path))
    assert scores(noise) == pytest.approx(1.25)


def test_without_weights_it_is_listed_and_refused_with_the_way_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(module.VARIABLE, raising=False)
    assert main(["evaluate", "--list-metrics"]) == 0
    assert "utmos does not run here: no package brings its weights: AUDIOCODEC_UTMOS" in capsys.readouterr().out
    words = ["evaluate", "--reference", str(tmp_path), "--estimate", str(tmp_path), "-d", str(tmp_path / "s")]
    assert main([*words, "--metrics", "utmos"]) == 2
    assert "AUDIOCODEC_UTMOS names them, and is not set (docs/guide/evaluation.md" in capsys.readouterr().err
    monkeypatch.setenv(module.VARIABLE, str(tmp_path / "gone.pt"))
    assert main([*words, "--metrics", "utmos"]) == 2
    assert "AUDIOCODEC_UTMOS names its weights, and " in capsys.readouterr().err
    (tmp_path / "gone.pt").write_bytes(b"no archive")
    assert main([*words, "--metrics", "utmos"]) == 2
    assert "gone.pt: cannot load the weights: PytorchStreamReader failed" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
    assert "utmos" not in [metric.word for metric in select(["all"])]


class Other(Mean):
    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        return 2 + 0 * wav.mean(1)


def test_scores_of_other_weights_are_neither_kept_nor_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, model in (("a.pt", Mean()), ("b.pt", Other())):
        with pytest.warns(DeprecationWarning):
            torch.jit.script(model).save(str(tmp_path / name))
    (tmp_path / "ref").mkdir()
    io.write(tmp_path / "ref" / "u.wav", noise, 16_000)

    def evaluate(weights: str, out: str, *options: str, status: int = 0) -> dict[str, Any]:
        monkeypatch.setenv(module.VARIABLE, str(tmp_path / weights))
        words = ["--reference", str(tmp_path / "ref"), "--estimate", str(tmp_path / "ref"), "-d", str(tmp_path / out)]
        assert (
            main(["evaluate", *words, "--metrics", "utmos,si_sdr,stft", "--jobs", "1", "--quiet", *options]) == status
        )
        return json.loads((tmp_path / out / "rows.jsonl").read_text())

    first = evaluate("a.pt", "one")
    digest = hashlib.sha256((tmp_path / "a.pt").read_bytes()).hexdigest()[:12]
    assert first["utmos"] == pytest.approx(6.0) and first["weights"] == {"utmos": f"a.pt {digest}"}
    assert json.loads((tmp_path / "one/summary.json").read_text())["versions"]["weights of utmos"] == f"a.pt {digest}"
    evaluate("a.pt", "two")
    second = evaluate("b.pt", "two", "--resume")
    assert second["utmos"] == pytest.approx(2.0) and second["weights"]["utmos"].startswith("b.pt ")
    assert second["stft_distance"] == first["stft_distance"]
    rows = tmp_path / "two" / "rows.jsonl"
    failed = json.loads(rows.read_text())
    del failed["utmos"]
    rows.write_text(json.dumps({**failed, "failures": {"utmos": "of these weights"}}) + "\n")
    assert evaluate("b.pt", "two", "--resume", status=1).get("utmos") is None  # a reason counts like a score
    assert evaluate("a.pt", "two", "--resume")["utmos"] == first["utmos"]
    evaluate("b.pt", "two", "--resume")
    capsys.readouterr()
    folders = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert main(["report", *folders, "-o", str(tmp_path / "r.html"), "--quiet"]) == 2
    assert f"utmos: one was scored with a.pt {digest} and two with b.pt" in capsys.readouterr().err
