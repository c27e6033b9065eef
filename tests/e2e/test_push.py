"""Commands that go to a hub and come from it, as a user's shell runs them: with HF_ENDPOINT, HF_TOKEN and HF_HOME."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hub_server import TOKEN, Hub, serving
from support.workspace import copy_of, run

from audiocodec import model_file


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """An empty hub, which the commands of the test ask."""
    with serving() as hub:
        found = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home")}
        for name, value in {**found, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("HF_HUB_CACHE")
        yield hub


@pytest.mark.recipe
def test_stage_7_pushes_and_every_machine_finds_the_model(server: Hub, tiny_model_path: Path, tmp_path: Path) -> None:
    """Without --repository the stage does nothing: that the other tests of recipes run all stages shows it."""
    copy = copy_of(tmp_path / "copy", "recipes", "egs", "audiocodec", "setup.cfg")
    recipe = copy / "egs" / "mini" / "codec"
    step = recipe / "exp" / "mini" / "checkpoints" / "step_00000001"
    step.mkdir(parents=True)
    shutil.copy(tiny_model_path, step / "model.safetensors")
    run(["./run.sh", "--stage", "7", "--repository", "org/mini", "--license", "mit"], recipe)
    (files,) = server.repos["org/mini"].commits
    assert 'license: "mit"' in files["README.md"].decode()
    said = json.loads(run(["audiocodec", "info", "org/mini", "--json"], tmp_path).stdout)
    assert said["fingerprint"] == model_file.describe(tiny_model_path).fingerprint
    assert said["path"].startswith(str(tmp_path / "home" / "hub" / "models--org--mini"))
