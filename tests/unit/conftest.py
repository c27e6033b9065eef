"""Fixtures that several unit tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.data_folders import write_data_folder
from support.report_folders import write_evaluations


@pytest.fixture(scope="session")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `write_evaluations` fills it."""
    root = tmp_path_factory.mktemp("evaluations")
    write_evaluations(root)
    return root


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """A sound data folder of three utterances; its audio stands beside it, in `audio/`."""
    return write_data_folder(tmp_path)
