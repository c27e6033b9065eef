"""The first weights of a run from a model: what fits, what it is worth, and when a quantizer goes on."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from audiocodec import model_file, model_places
from audiocodec.build import build_codec, build_discriminators
from audiocodec.codec.torch import Codec
from audiocodec.config.load import config_from_text
from audiocodec.config.schema import Config, QuantizerConfig
from audiocodec.errors import CheckpointError
from audiocodec.training.checkpoints.initial import take, take_codec, take_discriminators
from audiocodec.training.losses import DiscriminatorBundle

TINY = {
    "sample_rate": "8000",
    "model.encoder": "{strides: [4, 5], base_channels: 2, true_skip: true}",
    "model.decoder": "{dim: 8, layers: 1}",
    "quantizer.codebook_size": "16",
    "quantizer.codebook_dim": "4",
    "discriminator.channels": "2",
    "discriminator.stft_windows": "[128]",
    "train.warmup_autoencoder_steps": "5",
}
DISCRIMINATORS = "discriminators.safetensors"


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(3)


def config(overrides: dict[str, str] | None = None) -> Config:
    """The tiny configuration with some keys set."""
    sections: dict[str, list[str]] = {}
    for key, value in (TINY | (overrides or {})).items():
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append(f"{name}: {value}" if name else value)
    lines = [
        f"{name}: {{{', '.join(v)}}}" if name != "sample_rate" else f"{name}: {v[0]}" for name, v in sections.items()
    ]
    return config_from_text("\n".join(lines), "test")


def saved(folder: Path, overrides: dict[str, str] | None = None, notes: dict[str, object] | None = None) -> Path:
    """A model file of a codec with weights of its own, quantizer and statistics included."""
    made = config(overrides)
    codec = build_codec(made)
    codec.quantizer.initialize(torch.randn(200, made.quantizer.codebook_dim))
    if made.model.latent_scale:
        codec.scale.calibrate([torch.randn(2, made.quantizer.codebook_dim, 50) + 3])
    folder.mkdir(exist_ok=True)
    model_file.save(codec, made, folder / "model.safetensors", notes=notes)
    return folder / "model.safetensors"


def weights(codec: Codec, part: str = "") -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in codec.state_dict().items() if name.startswith(part)}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


@pytest.mark.parametrize("model", ["speech_24k", "tiny"])
def test_a_float16_model_codes_as_before_in_a_codec_with_weight_normalisation(
    model: str, tmp_path: Path, tiny_model_path: Path
) -> None:
    path = model_places.resolve(model if model == "speech_24k" else tiny_model_path)
    source = model_file.load(path)
    made = config_from_text(model_file.describe(path).config_text, "test")
    if model == "tiny":
        path = tmp_path / "half.safetensors"
        model_file.save(source, made, path, half=True)
        source = model_file.load(path)
    codec = build_codec(made)
    assert any("parametrizations" in name for name in codec.state_dict())
    taken, goes_on = take_codec(codec, made, path)
    assert goes_on and not taken.resized and not taken.fresh and not taken.unused
    assert sorted(taken.loaded) == sorted(source.state_dict())
    t = np.arange(6000) / 24_000
    wav = (0.1 * np.sin(2 * np.pi * 150 * t * (1 + t)) + 0.01 * np.random.default_rng(0).normal(size=6000)).astype("f4")
    codes = source.encode(wav)
    assert torch.equal(codec.eval().encode(wav), codes)
    expected = source.decode(codes)
    torch.testing.assert_close(codec.decode(codes), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


class Small(nn.Module):
    """A normalised convolution, a plain layer, a buffer."""

    def __init__(self, out: int, width: int, norm: bool = True) -> None:
        super().__init__()
        conv = nn.Conv1d(2, out, 3)
        self.conv = weight_norm(conv) if norm else conv
        self.linear = nn.Linear(width, 2, bias=False)
        self.register_buffer("count", torch.zeros(1))


def test_what_overlaps_is_cut_out_and_all_is_reported() -> None:
    module = Small(out=3, width=4)
    old_conv, old_linear = module.conv.weight.detach().clone(), module.linear.weight.detach().clone()
    tensors = {
        "conv.weight": torch.randn(2, 5, 2),
        "conv.bias": torch.tensor([1.0, 2.0, 3.0]),
        "linear.weight": torch.ones(2, 2, 1),
        "gone.b": torch.ones(1),
        "gone.a": torch.ones(1),
    }
    taken = take(module, tensors)
    assert taken.loaded == ["conv.bias"] and taken.resized == ["conv.weight"]
    assert sorted(taken.fresh) == ["count", "linear.weight"] and taken.unused == ["gone.a", "gone.b"]
    assert module.conv.bias.tolist() == [1.0, 2.0, 3.0] and torch.equal(module.linear.weight, old_linear)
    expected = old_conv.clone()  # [3, 2, 3]
    expected[:2] = 0  # the rows that were taken hear nothing else
    expected[:2, :2, :2] = tensors["conv.weight"][:, :2]
    torch.testing.assert_close(module.conv.weight.detach(), expected)
    lines = taken.lines()
    assert lines[0] == "loaded 1: conv" and lines[1] == "resized 1: conv.weight"
    assert lines[3] == "unused 2: gone.a, gone.b"
    with torch.no_grad():  # what was given is not what is trained
        for parameter in module.parameters():
            parameter.fill_(7.0)
    assert tensors["conv.bias"].tolist() == [1.0, 2.0, 3.0] and not bool((tensors["conv.weight"] == 7).any())


def test_weights_of_the_same_shape_are_copies() -> None:
    source = Small(out=3, width=4, norm=False)
    given = dict(source.state_dict())
    module = Small(out=3, width=4)
    assert sorted(take(module, given).loaded) == ["conv.bias", "conv.weight", "count", "linear.weight"]
    x = torch.randn(1, 2, 9)
    torch.testing.assert_close(module.conv(x), source.conv(x))
    before = source.conv.weight.detach().clone()
    with torch.no_grad():
        module.conv.parametrizations.weight.original1.add_(1.0)
    assert torch.equal(source.conv.weight, before)


WIDER = {
    "model.encoder": "{strides: [4, 5], base_channels: 2, true_skip: true, convnext_layers: 1, convnext_expansion: 5}",
    "model.decoder": "{kind: istft, dim: 8, layers: 1, expansion: 7}",
}
NARROWER = {name: value.replace("convnext_expansion: 5", "convnext_expansion: 2") for name, value in WIDER.items()}


def test_a_wider_network_begins_as_the_narrower_one(tmp_path: Path) -> None:
    """The same codes and sound before its first step, and all its units take part in the first."""
    path, made = saved(tmp_path, NARROWER | {"model.decoder": "{kind: istft, dim: 8, layers: 1}"}), config(WIDER)
    source, codec = model_file.load(path), build_codec(made)
    taken, goes_on = take_codec(codec, made, path)
    assert goes_on and not taken.fresh and len(taken.resized) == 6  # three tensors of each block
    wav = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (1, 1, 4000)).astype("f4"))
    codec.eval()
    assert torch.equal(codec.encode(wav), source.encode(wav))
    torch.testing.assert_close(codec.decoder(codec.embed(codec.encode(wav))), source.decode(source.encode(wav)))
    codec.decoder(codec.encoder(wav)).square().mean().backward()
    for block in (codec.decoder.blocks[0], next(m for m in codec.encoder.modules() if hasattr(m, "project"))):
        assert bool((block.project.weight.grad != 0).all())


@pytest.mark.parametrize("kind", ["istft", "seanet"])
def test_latents_begin_afresh_where_there_are_more_bits(kind: str, tmp_path: Path) -> None:
    """A quantizer leaves its latents no more dimensions than it has bits for; the layers around them are made anew for more."""
    decoder = {"model.decoder": f"{{kind: {kind}, dim: 8, layers: 1, base_channels: 2}}"}
    around = {"istft": "decoder.embed.", "seanet": "decoder.layers.0."}[kind]
    for size, started, fresh in (("64", True, True), ("8", True, False), ("64", False, False)):
        path = saved(tmp_path / size, decoder, {"quantizer_started": started})
        made = config(decoder | {"quantizer.codebook_size": size})
        taken, goes_on = take_codec(build_codec(made), made, path)
        begun = {name for name in taken.fresh if not name.startswith("quantizer.")}
        assert not goes_on and taken.loaded
        assert {name.split(".conv.")[0] + "." for name in begun if ".conv." in name} == (
            {"encoder.layers.8.", around} if fresh else set()
        )
        assert {"scale.mean", "scale.rms"} <= begun if fresh else not begun


def test_a_filter_of_nothing_stays_one_and_can_learn() -> None:
    """float16 rounds what a filter has left to zero; a normalised weight has no direction then."""
    source, module = Small(out=3, width=4, norm=False), Small(out=3, width=4)
    with torch.no_grad():
        source.conv.weight[1] = 0
    take(module, dict(source.state_dict()))
    x = torch.randn(1, 2, 9)
    torch.testing.assert_close(module.conv(x), source.conv(x))
    module.conv(x).sum().backward()
    gradient = module.conv.parametrizations.weight.original0.grad
    assert gradient is not None and bool(gradient.isfinite().all()) and float(gradient[1].abs()) > 0


ANEW = {  # keys of what a code means, with another value
    "model.encoder": "{strides: [4, 5], base_channels: 2, true_skip: true, activation: leaky_relu}",
    "model.latent_scale": "false",
    "quantizer.kind": "vq",
    "quantizer.codebook_size": "17",
    "quantizer.codebook_dim": "5",
    "quantizer.distribution": "latents",
    "quantizer.bias": "false",
    "quantizer.map": "mlp",
    "quantizer.zero_code": "true",
}
GOES_ON = {  # keys of how it is started and trained
    "model.encoder": "{strides: [4, 5], base_channels: 2, true_skip: true, convnext_expansion: 4}",
    "quantizer.init": "isotropic",
    "quantizer.train_codebook": "true",
    "quantizer.train_map": "false",
    "quantizer.gradient": "rotation",
    "model.decoder": "{dim: 9, layers: 1}",
    "train.steps": "9",
}
TWO = {"quantizer.num_codebooks": "2"}
FACTORISED = {"quantizer.kind": "vq_fc", "quantizer.low_dim": "3"}
CASES = {
    "the same": ({}, {}, True),
    **{key: ({}, {key: value}, False) for key, value in ANEW.items()},
    **{key: ({}, {key: value}, True) for key, value in GOES_ON.items()},
    "narrower blocks": (
        {"model.encoder": "{strides: [4, 5], base_channels: 2, true_skip: true, convnext_expansion: 4}"},
        {},
        False,
    ),
    "a bias less": ({"quantizer.bias": "true"}, {"quantizer.bias": "false"}, False),
    "a bend less": ({"quantizer.map": "mlp"}, {}, False),
    "low_dim": (FACTORISED, FACTORISED | {"quantizer.low_dim": "4"}, False),
    "codebook_init": (FACTORISED, FACTORISED | {"quantizer.codebook_init": "kmeans"}, True),
    "first_stage": (TWO, TWO | {"quantizer.first_stage": "vq_lc"}, False),
    "dropout": (TWO, TWO | {"quantizer.dropout": "0.5"}, True),
    "stage_init": (TWO, TWO | {"quantizer.stage_init": "latents"}, True),
    "a stage less": (TWO, {}, True),
    "a stage more": ({}, TWO, False),
    "averages": (
        {"quantizer.kind": "vq_ema"},
        {"quantizer.kind": "vq_ema", "quantizer.codebook_decay": "0.5", "quantizer.replace_below": "1"},
        True,
    ),
    "entropy": (
        {"quantizer.kind": "lfq"},
        {"quantizer.kind": "lfq", "quantizer.entropy_weight": "1", "quantizer.entropy_temperature": "1"},
        True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_quantizer_comes_whole_or_not_at_all(case: str, tmp_path: Path) -> None:
    theirs, ours, expected = CASES[case]
    path = saved(tmp_path, theirs)
    made = config(ours)
    codec = build_codec(made)
    before = weights(codec, "quantizer.")
    taken, goes_on = take_codec(codec, made, path)
    assert goes_on == expected
    source = {name: t for name, t in model_file.load(path).state_dict().items() if name in before}
    after = weights(codec, "quantizer.")
    assert equal(after, source if expected else before) and not equal(before, source)
    reported = taken.loaded if expected else taken.fresh
    assert before.keys() <= set(reported)


def test_every_key_of_a_quantizer_is_known_to_change_its_codes_or_not_to() -> None:
    keys = {key for theirs, ours, _ in CASES.values() for key in (theirs | ours)}
    assert {f"quantizer.{field.name}" for field in fields(QuantizerConfig)} == {k for k in keys if "quantizer." in k}


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ({"step": 9, "quantizer_started": False}, False),
        ({"step": 1, "quantizer_started": True}, True),  # it went on from the beginning
        ({"step": 5}, False),  # before there was such a note: the switch is in step 5, which has not been taken
        ({"step": 6}, True),
        ({}, True),
    ],
)
def test_a_quantizer_that_was_never_at_work_is_started(
    notes: dict[str, object], expected: bool, tmp_path: Path
) -> None:
    path, codec = saved(tmp_path, notes=notes), build_codec(config())
    assert take_codec(codec, config(), path)[1] == expected


def test_statistics_of_latents_stay_those_of_doing_nothing_where_there_is_no_scale(tmp_path: Path) -> None:
    path, made = saved(tmp_path), config({"model.latent_scale": "false"})
    codec = build_codec(made)
    taken, _ = take_codec(codec, made, path)
    assert {name for name in taken.fresh if name.startswith("scale.")} == {"scale.mean", "scale.rms", "scale.batches"}
    assert codec.scale.mean.tolist() == [0, 0, 0, 0] and codec.scale.rms.tolist() == [1]
    scaled = build_codec(config())
    take_codec(scaled, config(), path)
    torch.testing.assert_close(scaled.scale.mean, torch.full((4,), 3.0), rtol=0, atol=0.5)


def test_a_model_of_which_nothing_fits_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    wide = config(
        {
            "model.encoder": "{strides: [4, 5], base_channels: 3, kernel_size: 5}",
            "model.decoder": "{kind: seanet, base_channels: 3}",
            "quantizer.codebook_dim": "5",
        }
    )
    codec = build_codec(wide)
    with pytest.raises(CheckpointError, match=rf"{path}: none of its weights fit"):
        take_codec(codec, wide, path)


def test_a_damaged_model_is_refused_before_anything_is_taken(tmp_path: Path) -> None:
    path, codec = saved(tmp_path), build_codec(config())
    data = bytearray(path.read_bytes())
    data[-20] ^= 1  # in the weights
    path.write_bytes(data)
    before = weights(codec)
    with pytest.raises(CheckpointError, match="the file is damaged"):
        take_codec(codec, config(), path)
    assert equal(weights(codec), before)


def bundle(made: Config) -> DiscriminatorBundle:
    return DiscriminatorBundle(build_discriminators(made))


def test_discriminators_judge_as_before(tmp_path: Path) -> None:
    both = {
        "discriminator.kinds": "[ms_stft, mpd]",
        "discriminator.mpd_periods": "[2]",
        "discriminator.mpd_channels": "1",
    }
    path, source = saved(tmp_path, both), bundle(config(both))
    assert take_discriminators(bundle(config(both)), path) is None  # none beside the model
    file = tmp_path / DISCRIMINATORS
    save_file({name: tensor.contiguous() for name, tensor in source.state_dict().items()}, file)
    ours, wav = bundle(config(both)), torch.randn(1, 1, 400)
    before = ours(wav, wav)[0][0][0][0]
    taken = take_discriminators(ours, path)
    assert taken is not None and not taken.fresh and not taken.resized and not taken.unused
    for (a, _), (b, _) in zip(ours(wav, wav), source(wav, wav), strict=True):
        for (scores, features), (expected, hidden) in zip(a, b, strict=True):
            torch.testing.assert_close(scores, expected)
            torch.testing.assert_close(features, hidden)
    assert not torch.allclose(before, source(wav, wav)[0][0][0][0])
    fewer = take_discriminators(bundle(config()), path)  # one kind of the two
    assert fewer is not None and not fewer.fresh and all(".mpd." in name for name in fewer.unused) and fewer.unused
    other = take_discriminators(
        bundle(config({"discriminator.kinds": "[mpd]", "discriminator.mpd_channels": "2"})), path
    )
    assert other is not None and other.resized and other.fresh  # other widths, more periods


def test_discriminators_keep_the_gain_of_their_own_level(tmp_path: Path) -> None:
    """-24 dB is an RMS of 0.0631, -20 dB one of 0.1: each is brought to 1."""
    path, source = saved(tmp_path), bundle(config())
    save_file({name: tensor.contiguous() for name, tensor in source.state_dict().items()}, tmp_path / DISCRIMINATORS)
    ours = bundle(config({"data.level_db": "-20"}))
    taken = take_discriminators(ours, path)
    assert taken is not None and not taken.fresh and not taken.unused
    found = {name: float(gain) for part in (source, ours) for name, gain in part.state_dict().items() if "gain" in name}
    assert list(found.values()) == [pytest.approx(10.0)]  # one name: ours comes last
    assert float(source.state_dict()[next(iter(found))]) == pytest.approx(15.849, abs=1e-3)


def test_discriminators_without_gain_are_not_taken(tmp_path: Path) -> None:
    path, ours = saved(tmp_path), bundle(config())
    old = {name: t.contiguous() for name, t in bundle(config()).state_dict().items() if not name.endswith("gain")}
    save_file(old, tmp_path / DISCRIMINATORS)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    assert take_discriminators(ours, path) is None
    assert equal(dict(ours.state_dict()), before)


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_discriminators_that_cannot_be_read_are_refused(damage: str, tmp_path: Path) -> None:
    path, file = saved(tmp_path), tmp_path / DISCRIMINATORS
    state = {name: tensor.contiguous() for name, tensor in bundle(config()).state_dict().items()}
    if damage == "other":
        state.pop(max(state))
    save_file(state, file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="discriminators.safetensors: "):
        take_discriminators(bundle(config()), path)
