"""Codecs in the terms of Codec-SUPERB, DASB and lhotse: against the codec itself, its command line and the interfaces."""

from __future__ import annotations

import dataclasses
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import suites, tiny_codecs
from support.workspace import CHECKOUT

from audiocodec.cli.main import main
from audiocodec.errors import AudioError, ManifestError, UsageError
from audiocodec.integrations import codec_superb, dasb

RATE, HOP = 2400, tiny_codecs.HOP


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A tiny codec in place of the models of the package, and the suites' modules."""
    codec = tiny_codecs.make()
    for module in (codec_superb, dasb):
        monkeypatch.setattr(module, "load", lambda *_, **__: codec)
    with suites.installed():
        yield codec


def noise(seconds: float, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE))


# --- Codec-SUPERB


class Superb(codec_superb.CodecSuperb, suites.BaseCodec):
    pass


def item(wav: Any, rate: int = RATE) -> dict[str, Any]:
    return {"id": "a", "audio": {"array": wav, "sampling_rate": rate}}


def test_superb_codes_and_decodes_as_the_codec_does_at_its_level(tiny: Any) -> None:
    codec, wav = Superb(), noise(1.0)
    found = codec.synth(item(wav))
    gain = 10 ** (-24 / 20) / np.sqrt(np.mean(wav**2))  # the level that the configuration says, in dB full scale
    codes = tiny.encode((gain * wav).astype(np.float32))
    assert found["unit"].dtype == torch.int64 and found["unit"].shape == (2, 100)
    assert torch.equal(found["unit"], codes[0])
    expected = tiny.decode(codes, len(wav))[0, 0].numpy() / gain
    assert found["audio"]["array"].ndim == 1 and found["audio"]["array"].dtype == np.float32
    np.testing.assert_allclose(found["audio"]["array"], expected, rtol=1e-4, atol=1e-6)
    assert (codec.sampling_rate, codec.setting, codec.supports_decode) == (RATE, "audiocodec_speech_24k", True)


def test_superb_takes_other_rates_shapes_and_tensors_and_keeps_the_length() -> None:
    codec, wav = Superb(), noise(0.517)
    alone = codec.extract_unit(item(wav)).unit
    assert torch.equal(codec.extract_unit(item(torch.from_numpy(wav)[None])).unit, alone)
    twice = codec.extract_unit(item(noise(2.0), 2 * RATE))  # as many samples, half as long
    assert twice.unit.shape == (2, 100)
    assert len(codec.decode_unit(codec.extract_unit(item(wav)).stuff_for_synth)) == len(wav)


def test_superb_batches_are_their_items() -> None:
    codec, wavs = Superb(), [noise(0.5), noise(0.8, 1), noise(0.33, 2)]
    batch = codec.batch_extract_unit([item(wav) for wav in wavs])
    assert isinstance(batch, suites.BatchExtractedUnit) and batch.batch_size == 3
    decoded = codec.batch_decode_unit(batch)
    for wav, unit, back in zip(wavs, batch.units, decoded):
        single = codec.extract_unit(item(wav))
        assert torch.equal(unit, single.unit)
        assert np.array_equal(back, codec.decode_unit(single.stuff_for_synth))


def test_superb_knows_how_many_codebooks_there_are() -> None:
    class First(Superb):
        num_codebooks = 1

    assert First().is_1d() and not Superb().is_1d()
    assert First().setting == "audiocodec_speech_24k_1"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"id": "a"}, r"need \{\"audio\".*got keys \['id'\]"),
        ({"audio": {"path": "a.wav"}}, "got keys"),
        ("a.wav", "got str"),
        (item(np.zeros(0)), "need audio of shape"),
        (item(np.array([0.1, np.nan])), "NaN or infinite"),
        (item(np.zeros(100, np.int16)), "need float samples"),
        (item(noise(0.1), 0.5), "sample_rate 0.5"),
    ],
)
def test_superb_refuses_what_is_no_audio(data: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        Superb().extract_unit(data)


def test_superb_has_one_channel(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stereo = np.stack([noise(0.5), noise(0.5, 1)])
    mixed = Superb().extract_unit(item(stereo)).unit
    assert torch.equal(mixed, Superb().extract_unit(item(stereo.mean(0))).unit)
    monkeypatch.setattr(tiny, "channels", 2)
    assert Superb().extract_unit(item(stereo[0])).unit.shape == (2, 50)
    with pytest.raises(AudioError, match="the suite has one channel, got 2; array.mean"):
        Superb().extract_unit(item(stereo))


# --- DASB


class Dasb(dasb.DasbCodec, suites.DasbInterface):
    pass


def test_dasb_gives_every_form_of_the_signal(tiny: Any) -> None:
    codec, sig = Dasb(RATE), torch.from_numpy(noise(1.0)).float()[None].repeat(3, 1) * torch.tensor([[1], [0.5], [2]])
    every = torch.ones(3)
    toks, feats = codec._sig_to_toks(sig, every), codec._sig_to_feats(sig, every)
    assert toks.shape == (3, 100, 2) and feats.shape == (3, 100, 6)
    assert torch.equal(toks, tiny.encode(sig[:, None]).mT)
    torch.testing.assert_close(feats, tiny.latents(sig[:, None]).mT)
    embs = codec.embs()
    assert embs.shape == (2, 64, 6) == (codec.num_codebooks, codec.vocab_size, 6)
    looked_up = embs[0][toks[..., 0]] + embs[1][toks[..., 1]]
    torch.testing.assert_close(codec._sig_to_qfeats(sig, every), looked_up)
    torch.testing.assert_close(codec._toks_to_qfeats(toks, every), looked_up)
    torch.testing.assert_close(codec._toks_to_sig(toks, every), tiny.decode(toks.mT)[:, 0])


def test_dasb_modes(tiny: Any) -> None:
    sig = torch.from_numpy(noise(0.5)).float()[None]
    toks = Dasb(RATE, "encode")(sig)
    assert torch.equal(toks, tiny.encode(sig[:, None]).mT)
    torch.testing.assert_close(Dasb(RATE, "decode")(toks), Dasb(RATE)(sig))


def test_dasb_codes_each_item_of_a_padded_batch_as_alone() -> None:
    codec, length = Dasb(RATE), torch.tensor([1.0, 0.5])
    sig = torch.from_numpy(np.stack([noise(1.0), noise(1.0, 1)])).float()  # the padding of the second is loud
    short = sig[1:, : RATE // 2]
    one = torch.ones(1)
    for method in ("_sig_to_toks", "_sig_to_feats", "_sig_to_qfeats"):
        batch, alone = getattr(codec, method)(sig, length), getattr(codec, method)(short, one)
        torch.testing.assert_close(batch[1:, :50], alone, rtol=1e-4, atol=1e-5)
        assert not batch[1, 50:].any()
    toks = codec._sig_to_toks(sig, length)
    back = codec._toks_to_sig(toks, length)
    assert back.shape == (2, 100 * HOP) and not back[1, 50 * HOP :].any()
    torch.testing.assert_close(back[1:, : 50 * HOP], codec._toks_to_sig(toks[1:, :50], one), rtol=1e-4, atol=1e-5)


def test_dasb_keeps_the_size_of_a_batch_of_which_no_item_is_full() -> None:
    codec, length = Dasb(RATE), torch.tensor([0.5, 0.25])
    sig = torch.from_numpy(np.stack([noise(1.0), noise(1.0, 1)])).float()
    toks = codec._sig_to_toks(sig, length)
    assert toks.shape[:2] == codec._sig_to_feats(sig, length).shape[:2] == (2, 100)
    assert codec._sig_to_qfeats(sig, length).shape == codec._toks_to_qfeats(toks, length).shape == (2, 100, 6)
    assert codec._toks_to_sig(toks, length).shape == (2, 100 * HOP)


def test_dasb_with_fewer_codebooks(tiny: Any) -> None:
    codec, sig = Dasb(RATE, num_codebooks=1), torch.from_numpy(noise(0.5)).float()[None]
    assert codec.embs().shape == (1, 64, 6)
    assert torch.equal(codec._sig_to_toks(sig, torch.ones(1)), tiny.encode(sig[:, None], num_codebooks=1).mT)
    with pytest.raises(UsageError, match="num_codebooks 3: speech_24k has 1 to 2"):
        Dasb(RATE, num_codebooks=3)


# --- lhotse


def test_lhotse_cuts_get_tokens_that_follow_the_audio(tiny: Any, tmp_path: Path) -> None:
    import soundfile
    from lhotse import CutSet, NumpyFilesWriter, Recording

    from audiocodec.integrations.lhotse import add_tokens

    for name, seconds in (("a", 2.0), ("b", 1.0)):
        soundfile.write(tmp_path / f"{name}.wav", noise(seconds), RATE, subtype="FLOAT")
    whole = [Recording.from_file(tmp_path / f"{name}.wav").to_cut() for name in ("a", "b")]
    cuts = CutSet.from_cuts([*whole, whole[0].truncate(offset=0.5, duration=1.0).with_id("part")])
    with NumpyFilesWriter(tmp_path / "codes") as writer:
        coded = CutSet.from_cuts(add_tokens(cuts, tiny, writer))
    coded.to_file(tmp_path / "cuts.jsonl.gz")
    read = {cut.id: cut for cut in CutSet.from_file(tmp_path / "cuts.jsonl.gz")}
    assert len(read) == 3
    for cut in cuts:
        expected = tiny.encode(cut.load_audio()[0])[0].T
        found = read[cut.id].load_audio_tokens()
        assert found.dtype == np.int32 and np.array_equal(found, expected)
    first = read[whole[0].id]
    for offset, duration in ((0.5, 1.0), (1.0, 0.5)):  # hop 24 at 2400 Hz: 100 frames a second
        part = first.truncate(offset=offset, duration=duration).load_audio_tokens()
        begin, end = round(100 * offset), round(100 * (offset + duration))
        assert np.array_equal(part, first.load_audio_tokens()[begin:end])


def test_manifests_that_lhotse_writes_can_be_tokenized(tmp_path: Path) -> None:
    import soundfile
    from lhotse import CutSet, Recording, RecordingSet

    from audiocodec.tokenize.sources import manifest

    soundfile.write(tmp_path / "a.wav", noise(2.0), RATE)
    recording = Recording.from_file(tmp_path / "a.wav")
    part = recording.to_cut().truncate(offset=0.5, duration=1.0).with_id("part")
    CutSet.from_cuts([recording.to_cut(), part]).to_file(tmp_path / "cuts.jsonl.gz")
    RecordingSet.from_recordings([recording]).to_file(tmp_path / "recordings.jsonl")
    whole, cut = manifest.source(str(tmp_path / "cuts.jsonl.gz")).entries()
    assert (whole.id, cut.id, cut.start, cut.seconds) == (recording.to_cut().id, "part", 0.5, 1.0)
    assert [entry.id for entry in manifest.source(str(tmp_path / "recordings.jsonl")).entries()] == ["a"]


def test_cuts_become_a_data_folder(tmp_path: Path) -> None:
    import soundfile
    from lhotse import AudioSource, Recording, SupervisionSegment

    from audiocodec.integrations.lhotse import write_data_folder

    for name in ("a b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", noise(2.0), RATE)
    whole = Recording.from_file(tmp_path / "a b.wav", recording_id="a").to_cut().with_id("whole")
    said = SupervisionSegment("s", "c", 0.5, 1.0, speaker="ann")
    cut = Recording.from_file(tmp_path / "c.wav").to_cut()
    part = dataclasses.replace(cut, id="part", supervisions=[said]).truncate(offset=0.5, duration=1.0).with_id("part")
    write_data_folder([whole, part], tmp_path / "data")
    tables = {name: (tmp_path / "data" / name).read_text().splitlines() for name in ("wav.scp", "utt2spk", "segments")}
    assert tables["wav.scp"] == [f"c {tmp_path}/c.wav", f"whole {tmp_path}/a b.wav"]
    assert tables["utt2spk"] == ["part ann", "whole whole"]
    assert tables["segments"] == ["part c 0.5 1.5", "whole whole 0.0 -1"]
    assert main(["validate-data", str(tmp_path / "data"), "--deep"]) == 0
    soundfile.write(tmp_path / "stereo.wav", np.zeros((100, 2)), RATE)
    in_memory = dataclasses.replace(cut.recording, sources=[AudioSource("memory", [0], b"")])
    for bad, message in (
        (cut.append(cut), "is not of one recording"),
        (cut.perturb_speed(1.1), "is transformed when it is read"),
        (
            dataclasses.replace(cut, recording=in_memory),
            r"need a recording of one file, got sources \['memory'\]",
        ),
        (Recording.from_file(tmp_path / "stereo.wav").to_cut(), "need one channel, got 2"),
        (cut.with_id("a b"), "an id cannot be empty or hold white space"),
    ):
        with pytest.raises(ManifestError, match=message):
            write_data_folder([whole, bad], tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


def test_lhotse_names_the_cut_that_cannot_be_coded(tiny: Any, tmp_path: Path) -> None:
    import soundfile
    from lhotse import NumpyFilesWriter, Recording

    from audiocodec.integrations.lhotse import add_tokens

    soundfile.write(tmp_path / "a.wav", noise(0.5), RATE)
    gone = Recording.from_file(tmp_path / "a.wav").to_cut().with_id("gone")
    without = dataclasses.replace(gone, id="without", recording=None)
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    mix = gone.append(gone).with_id("mix")
    with NumpyFilesWriter(tmp_path / "codes") as writer:
        with pytest.raises(AudioError, match="cut gone: cannot read its audio"):
            list(add_tokens([gone], tiny, writer))
        with pytest.raises(AudioError, match="cut without: has no recording"):
            list(add_tokens([without], tiny, writer))
        with pytest.raises(AudioError, match="cut mix: a mix of cuts holds no tokens; cut.save_audio"):
            list(add_tokens([mix], tiny, writer))


# --- the guide


GUIDE = (CHECKOUT / "docs" / "guide" / "suites.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["SoundCodec", "audiocodecs", "lhotse"])
def test_code_of_the_guide_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = [block for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if f"from {name}" in block]
    (tmp_path / "egs").symlink_to(CHECKOUT / "egs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("audiocodec.loading.load", lambda *_: tiny_codecs.make())
    (tmp_path / "code.py").write_text(code.replace("24000", str(RATE)))
    made = runpy.run_path("code.py")
    if name == "SoundCodec":
        assert made["Codec"]().extract_unit(item(noise(0.5))).unit.shape == (2, 50)
    elif name == "audiocodecs":
        assert made["codec"](torch.zeros(1, RATE)).shape == (1, 100, 2)
    else:
        assert made["coded"][0].load_audio_tokens().shape[1] == 2
