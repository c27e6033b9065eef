"""Commands in place of audio files run only when they are allowed to."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.data_folders import edit

from audiocodec.audio import io
from audiocodec.data.manifest import read_folder
from audiocodec.data.pipes import audio_file
from audiocodec.data.validation import validate
from audiocodec.errors import AudioError, ManifestError


def test_pipes_run_only_when_allowed(data_folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    edit("wav.scp", f"{tmp_path}/audio/b b.wav", f"touch {ran} && cat '{tmp_path}/audio/b b.wav' |")(data_folder)
    with pytest.raises(ManifestError, match="b is a command.*--allow-pipes"):
        read_folder(data_folder)
    assert validate(data_folder, deep=True) and not ran.exists()
    b = read_folder(data_folder, allow_pipes=True)[1]
    assert not ran.exists()
    with pytest.raises(ManifestError, match="--allow-pipes"), audio_file(b.path):
        pass
    assert not ran.exists()
    assert validate(data_folder, deep=True, allow_pipes=True) == [] and ran.exists()


def test_errors_about_what_a_command_gives_name_the_command() -> None:
    with pytest.raises(AudioError, match=r"^echo text \|: not audio"), audio_file("echo text |", True) as path:
        io.info(path)


def test_a_failing_command_is_an_error() -> None:
    with pytest.raises(AudioError, match=r"status 3 \(oh no\)"), audio_file("echo oh no >&2; exit 3 |", True):
        pass
