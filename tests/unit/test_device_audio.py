"""Segments cut from audio on a device are those that the dataset cuts, bit for bit: the CPU is a device, too."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from audiocodec.data.dataset import SegmentDataset
from audiocodec.data.manifest import Utterance
from audiocodec.errors import ConfigError, TrainingError
from audiocodec.training.batches.device_audio import DeviceAudio
from audiocodec.training.batches.feeder import Feeder

SEGMENT = 1_000
LENGTHS = {"short": 300, "exact": 1_000, "one_more": 1_001, "long": 5_500, "silent": 2_000, "last": 999}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Noise, each utterance at its own level, one of them silence; the first and the last are shorter than a segment."""
    folder = tmp_path_factory.mktemp("audio")
    made = []
    for number, (name, length) in enumerate(LENGTHS.items(), 1):
        wav = np.random.default_rng(number).normal(0, 0 if name == "silent" else 0.02 * number, length)
        soundfile.write(folder / f"{name}.wav", wav, 8_000, subtype="FLOAT")
        made.append(Utterance(name, str(folder / f"{name}.wav"), name, length))
    return made


def dataset(utterances: list[Utterance], memory_gb: float = 1.0, must_fit: bool = False) -> SegmentDataset:
    return SegmentDataset(utterances, 8_000, SEGMENT, 7, memory_gb=memory_gb, must_fit=must_fit)


def feeder(data: SegmentDataset, audio: DeviceAudio | None, **changes: int) -> Feeder:
    settings = {"position": 0, "rank": 0, "processes": 1, "workers": 0, **changes}
    return Feeder(data, 4, audio=audio, **settings)


@pytest.mark.parametrize("changes", [{}, {"workers": 2}, {"position": 13}, {"rank": 1, "processes": 2}])
def test_batches_are_those_of_the_cpu(utterances: list[Utterance], changes: dict[str, int]) -> None:
    data = dataset(utterances)
    ours, theirs = feeder(data, DeviceAudio(data, CPU), **changes), feeder(data, None, **changes)
    seen: set[str] = set()
    for _ in range(8):  # 32 segments of 9 an epoch
        (wav, items), (expected, places) = ours.next(), theirs.next()
        assert items == places
        assert wav.dtype == torch.float32 and wav.shape == (4, 1, SEGMENT)
        assert torch.equal(wav, expected)
        seen |= {data.locate(*item)[0] for item in items}
    assert seen == set(LENGTHS) - {"silent"}
    ours.close()
    theirs.close()


def test_what_is_prepared_is_what_comes_next(utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(utterances)
    ours, theirs = feeder(data, None), feeder(data, None)
    for number in range(4):
        if number != 1:
            ours.prepare()
            ours.prepare()
        with monkeypatch.context() as patch:
            if number != 1:
                patch.setattr(ours, "_read", None)  # nothing is read any more
            wav, items = ours.next()
        expected, places = theirs.next()
        assert items == places and torch.equal(wav, expected) and ours.position == theirs.position


def test_what_follows_a_short_utterance_is_silence(utterances: list[Utterance]) -> None:
    data = dataset(utterances)
    crops = [data.crop(0, index) for index in range(len(data))]
    lengths = [length for name, length in LENGTHS.items() if name != "silent"]
    assert sorted({crop.utterance for crop in crops}) == list(range(len(lengths)))
    wav = DeviceAudio(data, CPU).segments(crops)[:, 0]
    for crop, segment in zip(crops, wav):
        length = min(SEGMENT, lengths[crop.utterance])
        assert segment[:length].count_nonzero() > 0.95 * length and not segment[length:].any()


def test_audio_that_does_not_fit_is_refused(utterances: list[Utterance]) -> None:
    """Before it is decoded where it must fit, else when it is asked for; silence takes room, too."""
    size = sum(soundfile.info(utterance.path).frames * np.dtype(np.int16).itemsize for utterance in utterances)
    message = rf"data\.memory_gb: the audio takes {size / 1e9:.3g} GB at 8000 Hz, got 2e-05; data\.on_dev"
    with pytest.raises(ConfigError, match=message):
        dataset(utterances, 2e-5, must_fit=True).preload()
    with pytest.raises(ConfigError, match=message):
        DeviceAudio(dataset(utterances, 2e-5), CPU)
    exact = dataset(utterances, size / 1e9, must_fit=True)
    assert len(exact) == 9 and exact.in_memory


def test_a_device_without_room_is_named(utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("tried to allocate")

    data = dataset(utterances)
    data.preload()
    monkeypatch.setattr(torch, "zeros", full)
    with pytest.raises(TrainingError, match=r"GB of audio do not fit on cpu: tried to allocate; set data\.on_device"):
        DeviceAudio(data, CPU)
