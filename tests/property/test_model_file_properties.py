"""Model files with any single bit of the header flipped: refused, never misread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiocodec.errors import AudioCodecError, CheckpointError
from audiocodec.model_file import describe, load

# A file is written for every example; the folder and the model may well be the same for all.
of_files = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def header_bits(path: Path) -> int:
    """Bits of the length and of the JSON, without the spaces that fill it up."""
    data = path.read_bytes()
    return 8 * (8 + len(data[8 : 8 + int.from_bytes(data[:8], "little")].rstrip()))


def flipped(path: Path, folder: Path, bit: int) -> Path:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    (folder / "m.safetensors").write_bytes(data)
    return folder / "m.safetensors"


@given(st.data())
@settings(of_files, max_examples=1_000)
def test_a_flipped_bit_of_the_header_never_changes_what_is_said(
    tmp_path: Path, tiny_model_path: Path, data: st.DataObject
) -> None:
    bit = data.draw(st.integers(0, header_bits(tiny_model_path) - 1))
    damaged = flipped(tiny_model_path, tmp_path, bit)
    try:
        found = describe(damaged)
    except CheckpointError as error:
        assert str(damaged) in str(error)
    else:  # a tensor's name or place: what is said of the model stays true
        assert found == replace(describe(tiny_model_path), path=str(damaged))


@given(st.data())
@settings(of_files, max_examples=100)
def test_a_flipped_bit_of_the_header_is_never_loaded(
    tmp_path: Path, tiny_model_path: Path, data: st.DataObject
) -> None:
    bit = data.draw(st.integers(0, header_bits(tiny_model_path) - 1))
    with pytest.raises(AudioCodecError, match=r"m\.safetensors"):
        load(flipped(tiny_model_path, tmp_path, bit))
