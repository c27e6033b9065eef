"""The classes for transformers: the same tokens as the codec's, and the checks that transformers makes of its own models.

The common tests of transformers are no part of its package; those that apply to a codec are done here again (configuration,
saving and loading, initialisation, signature, determinism, tuples, batches, feature extractor). docs/guide/hub.md names
those that do not.
"""

from __future__ import annotations

import copy
import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support import tiny_models
from support.hub_server import serving, use
from support.workspace import run
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioTokenization

import audiocodec
from audiocodec import AudioError, CheckpointError, ConfigError, TokenFileError, UsageError, model_file
from audiocodec.integrations.transformers import AudioCodecConfig, AudioCodecFeatureExtractor, AudioCodecModel

HOP, RATE = 320, 24_000
LENGTHS = [9 * HOP, 3 * HOP + 1, 1]


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


WAVS = [noise(n, seed) for seed, n in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def codec(tiny_model_path: Path) -> audiocodec.Codec:
    return audiocodec.load(tiny_model_path, runtime="torch")


@pytest.fixture(scope="module")
def folder(codec: audiocodec.Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `save_pretrained` of the tiny model writes."""
    return codec.save_pretrained(tmp_path_factory.mktemp("transformers") / "folder")


@pytest.fixture(scope="module")
def model(folder: Path) -> AudioCodecModel:
    return AutoModel.from_pretrained(folder)


@pytest.fixture(scope="module")
def batch(folder: Path) -> Any:
    """Three items of unequal length, padded."""
    return AutoFeatureExtractor.from_pretrained(folder)(WAVS, sampling_rate=RATE, return_tensors="pt")


# --- the same codec


def test_a_folder_gives_the_classes(folder: Path, model: AudioCodecModel, codec: audiocodec.Codec) -> None:
    assert type(model) is type(AutoModelForAudioTokenization.from_pretrained(folder)) is AudioCodecModel
    assert type(AutoFeatureExtractor.from_pretrained(folder)) is AudioCodecFeatureExtractor
    assert not model.training and model.codec.fingerprint == codec.fingerprint
    config = AutoConfig.from_pretrained(folder)
    assert (config.sampling_rate, config.hop_length, config.frame_rate) == (RATE, HOP, 75)
    assert (config.num_quantizers, config.codebook_size, config.fingerprint) == (2, 64, codec.fingerprint.hex())


def test_tokens_and_audio_are_those_of_the_codec(model: AudioCodecModel, codec: audiocodec.Codec, batch: Any) -> None:
    """Of each item alone: padding changes nothing."""
    assert batch["input_values"].shape == (3, 1, 9 * HOP) and batch["padding_mask"].sum(1).tolist() == LENGTHS
    encoded = model.encode(**batch)
    assert encoded.audio_codes.shape == (3, 2, 9) and encoded.audio_codes_lengths.tolist() == [9, 4, 1]
    decoded = model.decode(encoded.audio_codes, batch["padding_mask"])
    assert decoded.audio_values.shape == (3, 1, 9 * HOP) and decoded.audio_lengths.tolist() == LENGTHS
    for wav, codes, frames, found in zip(WAVS, encoded.audio_codes, (9, 4, 1), decoded.audio_values[:, 0]):
        alone = codec.encode(wav)
        assert torch.equal(codes[:, :frames], alone[0]) and not codes[:, frames:].any()
        assert torch.equal(found[: len(wav)], codec.decode(alone, len(wav))[0, 0]) and not found[len(wav) :].any()
    both = model(**batch)
    assert torch.equal(both.audio_codes, encoded.audio_codes) and torch.equal(both.audio_values, decoded.audio_values)


def test_without_a_mask_and_with_fewer_codebooks(model: AudioCodecModel, codec: audiocodec.Codec) -> None:
    wav = torch.from_numpy(np.stack([noise(5 * HOP), noise(5 * HOP, 1)]))  # two rows: a batch, no stereo
    codes = codec.encode(wav[:, None], num_codebooks=1)
    for values in (wav, wav[:, None]):
        found = model.encode(values, num_quantizers=1)
        assert torch.equal(found.audio_codes, codes) and found.audio_codes_lengths.tolist() == [5, 5]
    assert torch.equal(model.decode(codes).audio_values, codec.decode(codes))
    assert model.decode(codes).audio_lengths.tolist() == [5 * HOP] * 2


@pytest.mark.parametrize("quantizer", ["simvq", "fsq", "lfq", "vq_ema", "semantic_first"])
@pytest.mark.parametrize("network", ["voiced", "seanet"])
def test_every_kind_of_codec(network: str, quantizer: str, tmp_path: Path) -> None:
    """What no file holds, such as windows and levels, is computed again: transformers builds models without values."""
    made = tiny_models.config(tiny_models.NETWORKS[network], tiny_models.QUANTIZERS[quantizer])
    codec = audiocodec.load(tiny_models.save(made, tmp_path / "model.safetensors"), runtime="torch")
    model = AutoModel.from_pretrained(codec.save_pretrained(tmp_path / "folder"))
    wav = torch.from_numpy(tiny_models.noise(500))
    assert torch.equal(model.encode(wav[None]).audio_codes, codec.encode(wav))
    assert torch.equal(model.decode(codec.encode(wav)).audio_values, codec.decode(codec.encode(wav)))
    fresh = AudioCodecModel(model.config)  # with random weights, but with buffers
    names = dict(fresh.named_buffers()).keys() - fresh.state_dict().keys()
    assert all(torch.equal(fresh.get_buffer(name), model.get_buffer(name)) for name in names)


def test_from_a_hub_without_code_of_the_repository(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as hub:
        use(hub, tmp_path / "cache", monkeypatch)
        hub.add("org/codec", folder)
        model = AutoModel.from_pretrained("org/codec", cache_dir=tmp_path / "cache")
        asked = [line.rpartition("/")[2] for line in hub.asked if line.startswith("GET") and "/resolve/" in line]
    assert model.config.fingerprint == model.codec.fingerprint.hex()
    assert "model.safetensors" in asked and not any(name.endswith(".py") for name in asked)


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub, of its HTTP library
def test_the_model_pushes_the_same_folder(
    model: AudioCodecModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as hub:
        use(hub, tmp_path / "cache", monkeypatch)
        model.push_to_hub("org/codec")
        (files,) = hub.repos["org/codec"].commits
    assert files == {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="call push_to_hub"):
        model.save_pretrained(tmp_path / "again", push_to_hub=True)


REMOTE = r"""
import sys
from transformers import AutoFeatureExtractor, AutoModel
for trust in (None, False):
    try:
        AutoModel.from_pretrained(sys.argv[1], trust_remote_code=trust)
        print("loaded")
    except ValueError as error:
        print("\nrefused", "trust_remote_code=True" in str(error), "audiocodec" in sys.modules)
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
extractor = AutoFeatureExtractor.from_pretrained(sys.argv[1], trust_remote_code=True)
print(type(model).__module__, type(extractor).__name__, model.codec.fingerprint.hex())
"""


def test_remote_code_runs_only_when_it_is_trusted(folder: Path, tmp_path: Path, codec: audiocodec.Codec) -> None:
    """In a process that has not imported ours; the code of the folder only imports it."""
    import sys

    done = run([sys.executable, "-c", REMOTE, folder], tmp_path, env={"HF_HOME": str(tmp_path / "home")})
    refused, module = "refused True False", "audiocodec.integrations.transformers.model"
    said = [line for line in done.stdout.splitlines() if line.endswith("False") or "AudioCodec" in line]
    assert said == [refused, refused, f"{module} AudioCodecFeatureExtractor {codec.fingerprint.hex()}"]


# --- checks that transformers makes of its own models


def test_configuration(folder: Path, tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert {**again.to_dict(), "_name_or_path": ""} == {**config.to_dict(), "_name_or_path": ""}
    assert json.loads(config.to_json_string())["model_type"] == "audiocodec"
    assert AudioCodecConfig().sampling_rate == 24_000  # of the defaults
    assert AudioCodecConfig(codec=config.codec).codec_config == config.codec_config
    with pytest.raises(ConfigError, match=r"sampling_rate is 16000, the codec in there has 24000"):
        AudioCodecConfig(sampling_rate=16_000)
    with pytest.raises(ConfigError, match="nonsense"):
        AudioCodecConfig(codec={"nonsense": 1})


def test_save_and_load(model: AudioCodecModel, folder: Path, tmp_path: Path, batch: Any) -> None:
    """The same files, whichever class writes them; one folder serves both."""
    model.save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "preprocessor_config.json", "modeling_audiocodec.py", "README.md"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name
    again = AudioCodecModel.from_pretrained(tmp_path / "again")
    assert torch.equal(again(**batch).audio_values, model(**batch).audio_values)
    assert audiocodec.load(tmp_path / "again").fingerprint == model.codec.fingerprint


def test_warnings_stay_with_the_model(codec: audiocodec.Codec, tmp_path: Path) -> None:
    """Whoever saves a model from before quantization, however often, and by whichever class."""
    notes = {"quantizer_started": False, "step": 3}
    model_file.save(codec, codec.config, tmp_path / "model.safetensors", notes=notes)
    first = audiocodec.load(tmp_path / "model.safetensors", runtime="torch").save_pretrained(tmp_path / "first")
    AutoModel.from_pretrained(first).save_pretrained(tmp_path / "second")
    for folder in (first, tmp_path / "second"):
        assert model_file.describe(folder).warning.startswith("saved at step 3, before quantization started")
        assert "Warning: saved at step 3" in (folder / "README.md").read_text()


def test_initialisation(model: AudioCodecModel) -> None:
    """Random weights hang on the seed alone, and no value is left unset."""
    made = []
    with torch.random.fork_rng():
        for _ in range(2):
            torch.manual_seed(0)
            made.append(AutoModel.from_config(model.config))
    first, second = (found.state_dict() for found in made)
    assert first.keys() == model.state_dict().keys()
    assert all(torch.equal(first[name], second[name]) and first[name].isfinite().all() for name in first)


def test_signature_determinism_and_tuples(model: AudioCodecModel, batch: Any) -> None:
    for method in (model.forward, model.encode):
        assert list(inspect.signature(method).parameters)[:2] == ["input_values", "padding_mask"]
    assert list(inspect.signature(model.decode).parameters)[:2] == ["audio_codes", "padding_mask"]
    first, second = model(**batch), model(**batch, return_dict=False)
    assert isinstance(second, tuple) and len(second) == len(first) == 4
    assert all(torch.equal(a, b) for a, b in zip(first.to_tuple(), second))
    codes, frames = model.encode(**batch, return_dict=False)
    wav, lengths = model.decode(codes, batch["padding_mask"], return_dict=False)
    assert torch.equal(codes, first.audio_codes) and torch.equal(wav, first.audio_values)
    assert frames.tolist() == [9, 4, 1] and lengths.tolist() == LENGTHS


def test_a_copy_has_a_codec_of_its_own(model: AudioCodecModel, batch: Any) -> None:
    before = model(**batch)
    other = copy.deepcopy(model)
    assert other.codec.encoder is other.encoder and other.codec.encoder is not model.encoder
    with torch.no_grad():
        other.scale.rms.mul_(3)
    assert not torch.equal(other(**batch).audio_codes, before.audio_codes)
    assert torch.equal(model(**batch).audio_codes, before.audio_codes)


# --- feature extractor


def test_feature_extractor(folder: Path, tmp_path: Path) -> None:
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    extractor.save_pretrained(tmp_path)
    assert AudioCodecFeatureExtractor.from_pretrained(tmp_path).to_dict() == extractor.to_dict()
    assert AudioCodecFeatureExtractor().sampling_rate == 24_000
    one = extractor(WAVS[1], sampling_rate=RATE, return_tensors="np")
    assert one["input_values"].shape == (1, 1, LENGTHS[1]) and one["input_values"].dtype == np.float32
    np.testing.assert_array_equal(one["input_values"][0, 0], WAVS[1])
    lists = extractor([wav.tolist() for wav in WAVS], sampling_rate=RATE, return_tensors="np")
    np.testing.assert_array_equal(lists["input_values"][1, 0, : LENGTHS[1]], WAVS[1])
    assert not lists["input_values"][1, 0, LENGTHS[1] :].any()
    cut = extractor(
        WAVS, sampling_rate=RATE, padding="max_length", max_length=100, truncation=True, return_tensors="pt"
    )
    assert cut["input_values"].shape == (3, 1, 100) and cut["padding_mask"].sum(1).tolist() == [100, 100, 1]


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (WAVS[0], 16_000, "sampling_rate 16000: this codec needs 24000 Hz; resample the audio"),
        (
            np.zeros((2, 100), np.float32),
            RATE,
            r"need float samples of shape \[S\], or a list of such, got float32 \[2, 100\]",
        ),
        (np.zeros(100, np.int16), RATE, r"got int16 \[100\]"),
        ([], RATE, r"got float64 \[0\]"),
        ([WAVS[0], WAVS[1][:0]], RATE, r"got float32 \[0\]"),
    ],
)
def test_audio_that_is_refused(audio: Any, rate: int, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        AudioCodecFeatureExtractor()(audio, sampling_rate=rate)


def test_items_of_several_lengths_are_a_tensor_with_padding_only() -> None:
    items = [np.zeros(100, np.float32), np.zeros(90, np.float32)]
    listed = AudioCodecFeatureExtractor()(items, sampling_rate=RATE, padding=False)
    assert [part.shape for part in listed["input_values"]] == [(1, 100), (1, 90)]
    with pytest.raises(AudioError, match="use padding=True"):
        AudioCodecFeatureExtractor()(items, sampling_rate=RATE, padding=False, return_tensors="pt")


# --- bad input


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[0, 1, 1], [1, 1, 1]], r"need a padding_mask of ones, then zeros \(padding_side 'right'\)"),
        ([[1, 0, 1], [1, 1, 1]], "of ones, then zeros"),
        ([[0, 0, 0], [1, 1, 1]], "with at least one 1 an item"),
        ([[1, 1], [1, 1]], r"need a padding_mask of shape \[2, 3\], got \[2, 2\]"),
        ([[1, 1, 1]], r"got \[1, 3\]"),
    ],
)
def test_masks_that_are_refused(model: AudioCodecModel, mask: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        model.encode(torch.zeros(2, 1, 3), torch.tensor(mask))


def test_what_the_codec_refuses_is_refused(model: AudioCodecModel) -> None:
    with pytest.raises(AudioError, match="NaN or infinite"):
        model.encode(torch.full((1, 1, 500), float("nan")))
    with pytest.raises(AudioError, match=r"num_codebooks 3: this codec has 1 to 2"):
        model.encode(torch.zeros(1, 1, 500), num_quantizers=3)
    with pytest.raises(TokenFileError, match="codes outside 0 to 63"):
        model.decode(torch.full((1, 2, 4), 64))
    with pytest.raises(AudioError, match=r"need a padding_mask of shape"):
        model.decode(torch.zeros(2, 2, 4, dtype=torch.int64), torch.ones(1, 1280))
    with pytest.raises(UsageError, match=r"in torch.float16: its tokens are defined in float32"):
        copy.deepcopy(model).half().encode(torch.zeros(1, 1, 500))


def test_weights_that_are_not_those_of_the_configuration(folder: Path, other_model_path: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    cases = {
        "renamed": ({f"x.{name}": tensor for name, tensor in weights.items()}, r"missing \(.*unexpected \("),
        "other": (load_file(other_model_path), r"the weights have fingerprint \w{16}, config.json says \w{16}"),
    }
    for name, (tensors, message) in cases.items():
        shutil.copytree(folder, tmp_path / name)
        save_file(tensors, tmp_path / name / "model.safetensors", {"format": "pt"})
        with pytest.raises(CheckpointError, match=message):
            AutoModel.from_pretrained(tmp_path / name)
