"""Configuration files: values by the schema's types, and every problem at once with its place."""

import dataclasses
import re

import pytest
import torch
import yaml

from audiocodec import constants
from audiocodec.config import checks, quantizers
from audiocodec.config.load import config_from_text, dump_config, load_config
from audiocodec.config.plain import config_from_json, config_to_json
from audiocodec.config.schema import Config, DataConfig, TrainConfig
from audiocodec.errors import ConfigError
from audiocodec.tokens import layout


def problems(text, source="a.yaml"):
    with pytest.raises(ConfigError) as caught:
        config_from_text(text, source)
    return str(caught.value).splitlines()


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


# --- values


def test_keys_set_in_a_file_are_set_and_the_rest_keeps_its_default():
    text = "sample_rate: 16000\nmodel:\n  causal: true\n  encoder:\n    strides: [2, 4, 5, 5]\n"
    config = config_from_text(text, "a.yaml")
    assert (config.sample_rate, config.model.causal, config.hop_length) == (16000, True, 200)
    assert config.model.encoder.strides == (2, 4, 5, 5)
    back = dataclasses.replace(config, sample_rate=Config().sample_rate, model=Config().model)
    assert back == Config()


@pytest.mark.parametrize(
    ("written", "value"),
    [("1e-4", 0.0001), ("5E-4", 0.0005), ("0.001", 0.001), ("1", 1.0), (".5", 0.5), ("+1.e+2", 100.0), ("1_0.5", 10.5)],
)
def test_every_way_to_write_a_number_is_a_float(written, value):
    rate = config_from_text(f"train:\n  learning_rate: {written}\n", "a.yaml").train.learning_rate
    assert type(rate) is float
    assert rate == value


@pytest.mark.parametrize("written", ["no", "yes", "on", "off", "true", "012", "1:30", "1e-4", "2001-01-01", "-"])
def test_text_keys_keep_what_is_written(written):
    assert config_from_text(f"name: {written!s}x\n", "a.yaml").name == f"{written}x"
    assert config_from_text(f"name: '{written}'\n", "a.yaml").name == written
    if written != "-":
        assert config_from_text(f"name: {written}\n", "a.yaml").name == written


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seed: 1.5", "seed: expected a whole number, got '1.5'"),
        ("seed: 1e3", "seed: expected a whole number, got '1e3'; write 1000"),
        ("seed: 012", "seed: expected a whole number, got '012'"),
        ("seed: 0x10", "seed: expected a whole number, got '0x10'"),
        ("seed: 1:30", "seed: expected a whole number, got '1:30'"),
        ("seed: yes", "seed: expected a whole number, got 'yes'"),
        ('seed: "5"', "seed: expected a whole number, got the text '5'; remove the quotes"),
        ("seed:", "seed: expected a whole number, got no value"),
        ("seed: ~", "seed: expected a whole number, got no value"),
        ("seed: [1]", "seed: expected a whole number, got a list"),
        ("seed: {a: 1}", "seed: expected a whole number, got a section of keys"),
        ("seed: !secret 1", "seed: YAML tags are not supported"),
        ("seed: " + "9" * 5000, "seed: expected a whole number, got one of 5000 digits"),
        ("name:", "name: expected text, got no value"),
        ("name: null", "name: expected text, got no value"),
        ("model: 3", "model: expected a section of keys, got '3'"),
        ("model:", "model: expected a section of keys, got no value"),
        ("model: {causal: yes}", "model.causal: expected true or false, got 'yes'; write true"),
        ("model: {causal: off}", "model.causal: expected true or false, got 'off'; write false"),
        ("model: {causal: 1}", "model.causal: expected true or false, got '1'"),
        ("train: {learning_rate: fast}", "train.learning_rate: expected a number, got 'fast'"),
        ("train: {learning_rate: .inf}", "train.learning_rate: expected a number, got '.inf'"),
        ("train: {learning_rate: 1e999}", "train.learning_rate: expected a finite number, got '1e999'"),
        ("train: {betas: [0.5]}", "train.betas: expected 2 values, got 1"),
        ("train: {betas: 0.5}", "train.betas: expected a list such as [0.1, 0.2], got '0.5'"),
        ("model: {encoder: {strides: 8}}", "model.encoder.strides: expected a list such as [1, 2], got '8'"),
        ("model: {encoder: {strides: [2, [3]]}}", "model.encoder.strides: expected a whole number, got a list"),
        ("model: !!python/object:os.system {}", "model: expected a section of keys, got the YAML tag"),
    ],
)
def test_mistyped_value(line, message):
    (problem,) = problems(line)
    assert problem.startswith(f"a.yaml:1: {message}")


def test_standard_tag_changes_nothing_for_the_type_of_the_schema_decides():
    assert config_from_text("seed: !!float 1", "a.yaml").seed == 1


# --- keys


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "quantizer:\n  codebook_sise: 4\n",
            "a.yaml:2: quantizer.codebook_sise: unknown key; did you mean 'codebook_size'?",
        ),
        ("Seed: 4\n", "a.yaml:1: Seed: unknown key; did you mean 'seed'?"),
        ("codebook_size: 4\n", "a.yaml:1: codebook_size: unknown key; did you mean 'quantizer.codebook_size'?"),
        ("model:\n  stride: 4\n", "a.yaml:2: model.stride: unknown key; did you mean 'model.encoder.strides'?"),
        ("hop_length: 4\n", "a.yaml:1: hop_length: unknown key; it follows from other keys and cannot be set"),
        ("model:\n  zzz: 4\n", "a.yaml:2: model.zzz: unknown key; expected one of encoder, decoder, causal"),
        ("model:\n  extends: b\n", "a.yaml:2: model.extends: unknown key"),
        ("seed: 1\nname: x\nseed: 1\n", "a.yaml:3: seed: duplicate key, first on line 1"),
        ("model: {causal: true}\ntrain: {}\nmodel: {}\n", "a.yaml:3: model: duplicate key, first on line 1"),
        ("<<: {seed: 1}\n", "a.yaml:1: <<: unknown key"),
        ("? [a]\n: 1\n", "a.yaml:1: top level: a key must be a plain word, got a list"),
    ],
)
def test_wrong_key(text, message):
    (problem,) = problems(text)
    assert problem.startswith(message)


def test_all_problems_are_shown_at_once():
    text = (
        "name: x\n"
        "quantizer:\n"
        "  num_codebooks: 0\n"  # line 3: cross-check
        "  num_codebooks: 8\n"  # line 4: duplicate
        "  codebook_dims: 8\n"  # line 5: unknown
        "  bias: yes\n"  # line 6: mistyped
        "train:\n"
        "  precision: fp16\n"  # line 8: not a choice
        "  ema_decay: 1.0\n"  # line 9: out of range
    )
    lines = problems(text, "conf/x.yaml")
    assert {line.split(": ")[0] for line in lines} == {f"conf/x.yaml:{n}" for n in (3, 4, 5, 6, 8, 9)}
    assert len(lines) == 6
    assert "conf/x.yaml:8: train.precision: got 'fp16', need one of float32, bf16" in lines


# --- cross-checks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model:\n  encoder:\n    strides: [2, 0]\n", "a.yaml:3: model.encoder.strides: got 0, need at least 1"),
        ("model:\n  encoder:\n    strides: []\n", "a.yaml:3: model.encoder.strides: need at least one stride"),
        ("quantizer:\n  codebook_size: 1\n", "a.yaml:2: quantizer.codebook_size: got 1, need 2 to 262144"),
        ("quantizer:\n  dropout: 0.5\n", "a.yaml:2: quantizer.dropout: got 0.5, but num_codebooks is 1"),
        ("discriminator:\n  kinds: [mpd, foo]\n", "a.yaml:2: discriminator.kinds: got 'foo', need one of ms_stft, mpd"),
        # only the other half of a contradiction is in the file: its place is the one that helps
        ("loss:\n  mel_windows: [512]\n", "a.yaml:2: loss.mel_bands: got 4 entries for 1 mel_windows"),
        ("train:\n  bad_steps_before_cut: 9\n", "a.yaml:2: train.bad_steps_before_rollback: got 6, need more than"),
        ("data:\n  segment_seconds: 0\n", "a.yaml:2: data.segment_seconds: got 0.0, need more than 0"),
        (
            "discriminator:\n  kinds: []\ndata:\n  segment_seconds: 0.02\n",
            "a.yaml:4: data.segment_seconds: 640 samples, under half of 2048",
        ),
        (
            "data:\n  segment_seconds: 0.05\n",
            "a.yaml:2: discriminator.stft_windows: got 2048, more than the 1280 samples of data.segment_seconds",
        ),
        (
            "discriminator:\n  stft_windows: [256, 24001]\n",
            "a.yaml:2: discriminator.stft_windows: got 24001, more than the 24000 samples",
        ),
        ("discriminator:\n  stft_windows: []\n", "a.yaml:2: discriminator.stft_windows: is empty, but"),
        ("discriminator: {kinds: [mpd], mpd_periods: []}\n", "a.yaml:1: discriminator.mpd_periods: is empty, but"),
        ("loss: {mel: 0, stft: 0}\n", "a.yaml:1: loss.mel: mel, stft and waveform are all 0"),
        (
            "loss: {mel_windows: [], mel_bands: []}\n",
            "a.yaml:1: loss.mel_windows: is empty, but the weight loss.mel is",
        ),
        ("loss: {stft_windows: []}\n", "a.yaml:1: loss.stft_windows: is empty, but the weight loss.stft is 1.0"),
        ("loss: {mel_windows: [64, 64], mel_bands: [8, 9]}\n", "a.yaml:1: loss.mel_windows: got one twice in [64, 64]"),
        ("seed: 100000000000\n", "a.yaml:1: seed: got 100000000000, need at most 4294967295"),
        ("quantizer:\n  num_codebooks: 300\n", "a.yaml:2: quantizer.num_codebooks: got 300, need at most 255"),
        ("sample_rate: 3000000\n", "a.yaml:1: sample_rate: got 3000000, need at most 1000000"),
        ("train:\n  clip_norm: 0\n", "a.yaml:2: train.clip_norm: got 0.0, need more than 0"),
        ("train:\n  discriminator_clip_norm: 0\n", "a.yaml:2: train.discriminator_clip_norm: got 0.0, need more"),
        ("train:\n  betas: [0.5, 1]\n", "a.yaml:2: train.betas: got [0.5, 1.0], need 0 to below 1"),
    ],
)
def test_contradiction_is_shown_where_it_was_written(text, message):
    (problem,) = problems(text)
    assert problem.startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        "loss: {mel: 0, mel_windows: [], mel_bands: []}\n",
        "loss: {stft: 0, stft_windows: []}\n",
        "loss: {mel: 0, stft: 0, waveform: 1}\n",
        "discriminator: {kinds: [mpd], stft_windows: []}\n",
        "discriminator: {kinds: [], stft_windows: [], mpd_periods: []}\n",
        "discriminator: {kinds: [mpd], stft_windows: [30000]}\n",
        "discriminator: {stft_windows: [24000]}\n",  # as long as the segment: one frame
        "seed: 4294967295\nsample_rate: 1000000\nquantizer: {num_codebooks: 255}\n",
    ],
)
def test_what_looks_odd_but_works_is_taken(text):
    """As it stands: read again from its own file it is the same, and not the default."""
    made = config_from_text(text, "a.yaml")
    assert made != Config()
    assert config_from_text(dump_config(made), "b.yaml") == made
    for section, keys in yaml.safe_load(text).items():
        written = keys if isinstance(keys, dict) else {"": keys}
        for key, value in written.items():
            found = getattr(getattr(made, section), key) if key else getattr(made, section)
            assert (list(found) if isinstance(value, list) else found) == value


def test_limits_are_those_of_the_files_a_codec_makes():
    assert checks.MAX_CODEBOOKS == layout.MAX_CODEBOOKS
    assert quantizers.MAX_CODEBOOK_SIZE <= layout.MAX_CODEBOOK_SIZE
    assert constants.MIN_RATE <= Config().sample_rate <= constants.MAX_RATE
    with pytest.raises(ConfigError, match="sample_rate"):
        config_from_text(f"sample_rate: {constants.MAX_RATE + 1}", "test")


def test_the_seed_of_every_step_fits_torch():
    """As the trainer computes it, at the largest seed, for a billion steps and 4,095 processes."""
    torch.Generator().manual_seed((checks.MAX_SEED * 1_000_003 + 10**9) * 4096 + 4095)
    with pytest.raises((RuntimeError, ValueError), match="verflow"):
        torch.Generator().manual_seed((10**11 * 1_000_003) * 4096)


def test_cross_check_that_only_follows_from_a_mistyped_value_is_left_out():
    (problem,) = problems("loss:\n  mel_windows: [512, x]\n  mel_bands: [40, 80]\n")
    assert problem.startswith("a.yaml:2: loss.mel_windows: expected a whole number")


def test_every_number_of_the_schema_has_a_lower_limit():
    """-1e9 is nonsense for every number; a new key must not be forgotten."""
    unlimited = []
    for section, cls in [("train", TrainConfig), ("data", DataConfig)]:
        for item in dataclasses.fields(cls):
            if isinstance(item.default, (int, float)) and not isinstance(item.default, bool):
                value = -(10**9)
                try:
                    config_from_text(f"{section}:\n  {item.name}: {value}\n", "a.yaml")
                except ConfigError:
                    continue
                unlimited.append(item.name)
    assert unlimited == []


# --- YAML and files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nname: [a\nb: 2\n", "a.yaml:3: not YAML: while parsing a flow sequence"),
        ("seed: 1\n\tname: a\n", "a.yaml:2: not YAML: "),
        ("seed: 1\nname: \x01\n", "a.yaml:2: not YAML: character '\\x01' is not allowed"),
        ("seed: 1\n---\nseed: 2\n", "a.yaml:2: not YAML: expected a single document"),
        ("name: *gone\n", "a.yaml:1: not YAML: found undefined alias"),
        ("- 1\n", "a.yaml:1: expected keys and values, got a list"),
        ("\n\njust text\n", "a.yaml:3: expected keys and values, got 'just text'"),
        ("", "a.yaml: is empty"),
        ("# nothing\n", "a.yaml: is empty"),
        ("a: " + "[" * 5000, "a.yaml: not YAML: nested too deeply"),
    ],
)
def test_not_yaml(text, message):
    (problem,) = problems(text)
    assert problem.startswith(message)


def test_file_that_is_missing_a_folder_or_not_text(tmp_path):
    with pytest.raises(ConfigError, match=r"^no/such\.yaml: no such configuration; the package has .*\bsimvq_24k, "):
        load_config("no/such.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"name: \xff")
    with pytest.raises(ConfigError, match=r"a\.yaml: not UTF-8 text \(byte 6"):
        load_config(tmp_path / "a.yaml")


def test_a_name_is_a_configuration_of_the_package_unless_it_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("simvq_24k").quantizer.codebook_size == 4096
    write(tmp_path, child="extends: simvq_24k\nseed: 7\n")
    assert (load_config("child.yaml").seed, load_config("child.yaml").quantizer.codebook_size) == (7, 4096)
    (tmp_path / "simvq_24k").write_text("quantizer: {codebook_size: 128}\n")
    assert load_config("simvq_24k").quantizer.codebook_size == 128


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("conf/mini.yaml", "mini"),
        ("speech_24k_small", "speech_24k"),
        ("speech_24k_residual_small.yaml", "speech_24k_residual"),
    ],
)
def test_what_has_moved_is_refused_with_its_new_name(given, name):
    with pytest.raises(ConfigError, match=rf"^{given}: no such configuration; the package has it as --config {name}$"):
        load_config(given)


@pytest.mark.parametrize(
    ("old", "name"),
    [("mini", "mini"), ("speech_24k_residual_small", "speech_24k_residual"), ("speech_24k", "speech_24k_gpu")],
)
def test_the_old_folder_of_the_configurations_is_understood(old, name, tmp_path):
    assert load_config(tmp_path / f"recipes/conf/{old}.yaml") == load_config(name)


def test_keys_that_have_another_name_now_are_read_under_the_old_one(tmp_path):
    write(tmp_path, old="quantizer: {start: isotropic, stage_start: latents}\n")
    old = load_config(tmp_path / "old.yaml", ["quantizer.start=kmeans"])
    assert (old.quantizer.init, old.quantizer.stage_init) == ("kmeans", "latents")
    text = config_to_json(old).replace('"init"', '"start"').replace('"stage_init"', '"stage_start"')
    assert '"start"' in text and config_from_json(text, "header") == old
    with pytest.raises(ConfigError, match=r"quantizer\.init: duplicate key"):
        write(tmp_path, twice="quantizer: {start: isotropic, init: kmeans}\n")
        load_config(tmp_path / "twice.yaml")


def test_byte_order_mark_is_ignored(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfseed: 7\n")
    assert load_config(tmp_path / "a.yaml").seed == 7


# --- extends


def test_child_wins_key_by_key_over_parent_and_grandparent(tmp_path):
    (tmp_path / "base").mkdir()
    write(tmp_path / "base", old="seed: 1\nname: old\ntrain: {steps: 10, batch_size: 2}\n")
    write(tmp_path / "base", mid="name: mid\nextends: old.yaml\ntrain: {steps: 20}\n")
    write(tmp_path, new="extends: base/mid.yaml\ntrain: {batch_size: 3}\n")
    config = load_config(tmp_path / "new.yaml")
    assert (config.seed, config.name, config.train.steps, config.train.batch_size) == (1, "mid", 20, 3)


def test_problems_of_parent_and_child_come_together_each_with_its_file(tmp_path):
    write(tmp_path, base="sead: 1\ntrain:\n  ema_decay: 2\n", new="extends: base.yaml\nname: [x]\n")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "new.yaml")
    places = [line.split(": ")[0].rpartition("/")[2] for line in str(caught.value).splitlines()]
    assert places == ["base.yaml:1", "new.yaml:2", "base.yaml:3"]


def test_extends_cycle_missing_parent_and_two_parents(tmp_path):
    write(tmp_path, a="extends: b.yaml\n", b="seed: 1\nextends: c.yaml\n", c="extends: ./b.yaml\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:1: extends: .*b\.yaml: extends itself, through b\.yaml <- c\.yaml"):
        load_config(tmp_path / "a.yaml")
    write(tmp_path, a="name: x\nextends: gone.yaml\nsead: 1\n")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "a.yaml")
    missing, unknown = str(caught.value).splitlines()
    assert re.search(r"a\.yaml:2: extends: .*gone\.yaml: cannot be read: No such file", missing)
    assert "a.yaml:3: sead: unknown key" in unknown
    write(tmp_path, a="extends: [b.yaml, c.yaml]\n")
    with pytest.raises(ConfigError, match=r"a\.yaml:1: extends: expected one file name, got a list"):
        load_config(tmp_path / "a.yaml")
    write(tmp_path, a='extends: "\\0"\n')
    with pytest.raises(ConfigError, match=r"a\.yaml:1: extends: .*cannot be read"):
        load_config(tmp_path / "a.yaml")


# --- overrides


def test_overrides_win_over_the_file_and_the_last_over_the_first(tmp_path):
    write(tmp_path, a="seed: 1\nname: x\ntrain: {learning_rate: 1e-3}\n")
    overrides = ["seed=2", "train.learning_rate=1e-4", "model.encoder.strides=[2, 4]", "seed=3"]
    config = load_config(tmp_path / "a.yaml", [*overrides, "data.train=dir #1: 'a'", "name="])
    assert (config.seed, config.train.learning_rate, config.model.encoder.strides) == (3, 1e-4, (2, 4))
    assert (config.data.train, config.name) == ("dir #1: 'a'", "")
    config = load_config(tmp_path / "a.yaml", ["model={causal: true, decoder: {kind: seanet}}"])
    assert (config.model.causal, config.model.decoder.kind) == (True, "seanet")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "--set seed: expected key=value, for example train.steps=1000"),
        ("=1", "--set =1: expected key=value"),
        ("train.stes=1", "--set train.stes=1: train.stes: unknown key; did you mean 'steps'?"),
        ("seed.x=1", "--set seed.x=1: seed.x: unknown key; there are none below a whole number"),
        ("seed=x", "--set seed=x: seed: expected a whole number, got 'x'"),
        ("seed=", "--set seed=: seed: expected a whole number, got no value"),
        ("seed=[", "--set seed=[: not YAML: "),
        ("seed=1\nname: x", "--set seed=1"),
        ("train=1", "--set train=1: train: expected a section of keys, got '1'"),
        ("model={causal: true, foo: 1}", "--set model={causal: true, foo: 1}: model.foo: unknown key"),
        ("model={causal: true, causal: true}", "--set model={causal: true, causal: true}: model.causal: duplicate key"),
        ("extends=b.yaml", "--set extends=b.yaml: extends: belongs in a file"),
        ("train.ema_decay=1", "--set train.ema_decay=1: train.ema_decay: got 1.0, need 0 to below 1"),
    ],
)
def test_wrong_override_is_labelled_as_such(tmp_path, override, message):
    write(tmp_path, a="seed: 1\ntrain:\n  ema_decay: 0.5\n")
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        load_config(tmp_path / "a.yaml", [override])


# --- dump


@pytest.mark.parametrize(
    "name",
    [
        "",
        "no",
        "~",
        "1e-4",
        "5",
        "a: b",
        "# x",
        "'",
        '"',
        "é\u0085\u2028x",
        " x ",
        "a\nb\n",
        "<<",
        "=",
        "!x",
        "🎵",
        "- a",
    ],
)
def test_dumped_configuration_loads_equal(name):
    config = config_from_text("model: {encoder: {strides: [3, 7]}}\nloss: {mel: 1e-7, stft: 1e+14}\n", "a.yaml")
    config = dataclasses.replace(config, name=name, data=DataConfig(train=name, segment_seconds=1 / 3))
    assert config_from_text(dump_config(config), "dump") == config


def test_dump_names_every_key():
    text = dump_config(Config())
    for item in dataclasses.fields(TrainConfig):
        assert f"  {item.name}: " in text
