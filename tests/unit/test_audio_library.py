"""Audio where libraries lack: WAV files of 16 bits without soundfile, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.audio import io, library
from audiocodec.errors import AudioError

RATE = 8000


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """No soundfile is found."""
    monkeypatch.setattr(library, "_soundfile", lambda: ModuleNotFoundError("No module named 'soundfile'"))


def noise(channels: int = 1, samples: int = 5000) -> np.ndarray:
    return 0.3 * np.random.default_rng(channels).standard_normal((samples, channels))


@pytest.mark.parametrize("channels", [1, 2])
def test_the_same_numbers_as_with_soundfile(channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(channels), RATE, "PCM_16")

    def found() -> list[object]:
        blocks = np.concatenate(list(io.read_blocks(path, RATE, 777)))
        return [io.info(path), io.level(path), *io.read(path), io.read_part(path, 4000, 500), blocks]

    expected = found()
    monkeypatch.setattr(library, "_soundfile", lambda: ModuleNotFoundError("none"))
    for ours, theirs in zip(found(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs) if isinstance(theirs, np.ndarray) else None
        assert isinstance(theirs, np.ndarray) or ours == theirs
    assert len(io.read_part(path, 4900, 500)) == 100


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize(
    ("name", "subtype", "message"),
    [
        ("a.flac", "PCM_16", r"a.flac: not a WAV file of 16-bit samples \(.*RIFF.*\); anything else needs soundfile"),
        ("a.wav", "PCM_24", r"a.wav: not a WAV file of 16-bit samples \(24 bits\)"),
        ("a.wav", "FLOAT", r"a.wav: not a WAV file of 16-bit samples \(unknown format: 3\)"),
    ],
)
def test_other_files_say_what_lacks(name: str, subtype: str, message: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / name, noise(), RATE, subtype)
    with pytest.raises(AudioError, match=message) as caught:
        io.info(tmp_path / name)
    assert "No module named 'soundfile'" in str(caught.value) and "pip install soundfile" in str(caught.value)


@pytest.mark.usefixtures("without")
def test_damaged_wav_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(), RATE, "PCM_16")
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    with pytest.raises(AudioError, match="truncated: at least 2 bytes are missing"):
        io.read(path)
    path.write_bytes(whole[:30])
    with pytest.raises(AudioError, match="not a WAV file of 16-bit samples"):
        io.read(path)
    path.write_bytes(b"x" * 1000)
    with pytest.raises(AudioError, match="not a WAV file of 16-bit samples"):
        io.read(path)
    soundfile.write(path, np.zeros(0), RATE, "PCM_16")
    with pytest.raises(AudioError, match="has no samples"):
        io.read(path)


@pytest.mark.usefixtures("without")
def test_nothing_is_written_without_soundfile(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="audio files need soundfile"):
        io.write(tmp_path / "a.wav", noise()[:, 0], RATE)
    assert list(tmp_path.iterdir()) == []


def test_resampling_says_what_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soxr", None)
    with pytest.raises(AudioError, match="resampling needs soxr"):
        io.resample(noise()[:, 0], RATE, 16_000)
    np.testing.assert_array_equal(io.resample(noise()[:, 0], RATE, RATE), noise()[:, 0].astype(np.float32))
