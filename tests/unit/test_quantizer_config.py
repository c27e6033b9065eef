"""What a quantizer's configuration may say: keys of its kind, sizes it can have, memory it takes."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from audiocodec import machine
from audiocodec.build import build_quantizer
from audiocodec.config.levels import fsq_levels, nearest_fsq_sizes
from audiocodec.config.load import config_from_text
from audiocodec.config.quantizers import QUANTIZER_KINDS, table_bytes
from audiocodec.config.schema import QuantizerConfig
from audiocodec.errors import ConfigError


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config_from_text(f"quantizer: {text}\n", "a.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("size", "levels"),
    [  # arXiv 2309.15505, table 1, and the largest size of all kinds
        (240, [8, 6, 5]),
        (1000, [8, 5, 5, 5]),
        (4375, [7, 5, 5, 5, 5]),
        (15_360, [8, 8, 8, 6, 5]),
        (64_000, [8, 8, 8, 5, 5, 5]),
        (262_144, [8, 8, 8, 8, 8, 8]),
    ],
)
def test_fsq_levels_are_those_of_the_paper(size: int, levels: list[int]) -> None:
    assert list(fsq_levels(size) or ()) == levels


def test_sizes_with_levels_are_all_products_of_5_to_8_and_no_others() -> None:
    products = {
        math.prod(chosen): sorted(chosen, reverse=True)
        for count in range(1, 6)
        for chosen in itertools.combinations_with_replacement((5, 6, 7, 8), count)
    }
    for size in range(1, 5**5):  # five levels or fewer
        levels = fsq_levels(size)
        assert (list(levels) if levels else None) == products.get(size), size
    for size in (1024, 3000, 65):
        below, above = nearest_fsq_sizes(size, 262_144)
        assert below == max(n for n in products if n < size) and above == min(n for n in products if n > size)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kind: vqe}", "quantizer.kind: got 'vqe', need one of simvq, vq, vq_ema, vq_fc, fsq, lfq, vq_lc, kmeans"),
        (
            "{kind: fsq, codebook_size: 65536}",
            "quantizer.codebook_size: got 65536, but kind fsq needs a product of levels 5 to 8; nearest are 64000 "
            + "([8, 8, 8, 5, 5, 5]) and 67200 ([8, 8, 7, 6, 5, 5])",
        ),
        (
            "{kind: fsq, codebook_size: 2}",
            "quantizer.codebook_size: got 2, but kind fsq needs a product of levels 5 to",
        ),
        (
            "{kind: lfq, codebook_size: 1000}",
            "quantizer.codebook_size: got 1000, but kind lfq needs a power of two; nearest are 512 and 1024",
        ),
        (
            "{kind: lfq, codebook_size: 1024, codebook_dim: 8}",
            "quantizer.codebook_dim: got 8, but kind lfq with codebook_size 1024 needs at least 10",
        ),
        (
            "{kind: vq_fc, codebook_dim: 4}",
            "quantizer.codebook_dim: got 4, but kind vq_fc with low_dim 8 needs at least 8",
        ),
        ("{kind: vq_ema, codebook_decay: 1.0}", "quantizer.codebook_decay: got 1.0, need 0 to below 1"),
        ("{kind: lfq, entropy_temperature: 0}", "quantizer.entropy_temperature: got 0.0, need more than 0"),
        (
            "{first_stage: vq_lc}",
            "quantizer.first_stage: got 'vq_lc', but num_codebooks is 1: there is no stage after it",
        ),
        (
            "{distribution: latents, start: isotropic}",
            "quantizer.init: got 'isotropic', but with distribution latents: waterfill or covariance",
        ),
        (
            "{distribution: latent}",
            "quantizer.distribution: got 'latent', need one of gaussian, uniform, latents",
        ),
        ("{codebook_size: 262145}", "quantizer.codebook_size: got 262145, need 2 to 262144"),
    ],
)
def test_contradiction(text: str, message: str) -> None:
    assert any(line.partition(": ")[2].startswith(message) for line in problems(text))


SET = {
    "init": "covariance",
    "distribution": "uniform",
    "train_codebook": "true",
    "train_map": "false",
    "bias": "false",
    "map": "mlp",
    "zero_code": "true",
    "first_stage": "vq_lc",
    "gradient": "rotation",
    "codebook_init": "latents",
    "codebook_decay": "0.5",
    "replace_below": "1",
    "low_dim": "4",
    "entropy_weight": "1",
    "entropy_temperature": "1",
}
OF_KIND = {  # what each kind is made from, read off the constructors' documentation
    "simvq": "init distribution train_codebook train_map bias map zero_code first_stage gradient",
    "vq": "gradient codebook_init",
    "vq_ema": "gradient codebook_init codebook_decay replace_below",
    "vq_fc": "gradient codebook_init low_dim",
    "fsq": "",
    "lfq": "entropy_weight entropy_temperature",
    "vq_lc": "train_map bias map gradient",
    "kmeans": "",
}
FOR_ALL = {"kind", "num_codebooks", "codebook_size", "codebook_dim", "dropout", "stage_init"}


def test_every_key_is_for_all_kinds_or_known_to_be_for_some() -> None:
    assert {field.name for field in fields(QuantizerConfig)} == FOR_ALL | SET.keys()
    assert OF_KIND.keys() == set(QUANTIZER_KINDS)


@pytest.mark.parametrize("kind", QUANTIZER_KINDS)
@pytest.mark.parametrize("key", SET)
def test_a_key_of_another_kind_is_refused(key: str, kind: str) -> None:
    size = 1000 if kind == "fsq" else 1024
    text = f"\n  kind: {kind}\n  codebook_size: {size}\n  num_codebooks: 2\n  {key}: {SET[key]}"
    if key in OF_KIND[kind].split():
        config_from_text(f"quantizer: {text}\n", "a.yaml")
    else:
        (problem,) = problems(text)
        assert problem.startswith(f"a.yaml:5: quantizer.{key}: got ")
        assert f"but kind is {kind}: this key is for " in problem


@pytest.mark.parametrize("kind", ["simvq", "vq", "vq_ema", "vq_fc", "vq_lc", "kmeans"])
def test_the_estimate_counts_the_codebooks_that_are_made(kind: str) -> None:
    made = config_from_text(f"quantizer: {{kind: {kind}, num_codebooks: 3, codebook_size: 50, codebook_dim: 16}}", "a")
    tables = [t for t in build_quantizer(made).state_dict().values() if t.shape[:1] == (50,) and t.dim() == 2]
    stored = sum(t.nbytes for t in tables)
    projected = stored if kind in ("simvq", "vq_lc", "vq_fc") else 0
    assert table_bytes(made.quantizer, training=False) == stored + projected > 0
    assert table_bytes(made.quantizer, training=True) >= 2 * (stored + projected)


def test_free_memory_is_what_is_left_of_the_machine_or_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  900 kB\nMemAvailable:    500 kB\n")
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    cpu = torch.device("cpu")
    assert machine.free_bytes(cpu) == 500 * 1024  # no cgroup
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("300000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 50000\n")
    assert machine.free_bytes(cpu) == 500 * 1024  # one without limit
    (tmp_path / "memory.max").write_text("400000\n")
    assert machine.free_bytes(cpu) == 150_000
    (tmp_path / "meminfo").unlink()
    (tmp_path / "memory.max").unlink()
    assert machine.free_bytes(cpu) is None
