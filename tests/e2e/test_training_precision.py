"""bfloat16: where it is used, what stays float32 under it, and what a processor without it does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.training_run import config, trainer

from audiocodec import machine
from audiocodec.build import build_codec
from audiocodec.cli.main import main
from audiocodec.codec.torch import Codec
from audiocodec.config.load import load_config
from audiocodec.training import precision
from audiocodec.training.losses import Steps

CPU = torch.device("cpu")
SAPPHIRE = "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx512f avx512_bf16 amx_bf16\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd sve bf16 i8mm\n"
HASWELL = "processor\t: 0\nflags\t\t: fpu sse4_2 avx2 f16c\n\nprocessor\t: 1\nflags\t\t: fpu avx512_bf16\n"


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands in place of /proc/cpuinfo; empty is for the test to fill."""
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


@pytest.mark.parametrize(
    ("text", "found", "reason"),
    [
        (SAPPHIRE, "bf16", ""),
        (GRAVITON, "bf16", ""),
        (HASWELL, "float32", "this processor has no instructions for it (avx512_bf16, amx_bf16): float32"),
        ("processor\t: 0\n", "float32", "does not tell whether this processor has it: float32"),
        (None, "float32", "does not tell whether this processor has it: float32"),
    ],
)
def test_bfloat16_is_used_where_the_processor_has_it(text: str | None, found: str, reason: str, cpuinfo: Path) -> None:
    if text is not None:
        cpuinfo.write_text(text)
    used, why = precision.usable("bf16", CPU)
    assert used == found and why.endswith(reason) and bool(why) == bool(reason)
    assert precision.usable("float32", CPU) == ("float32", "")
    assert precision.usable("bf16", torch.device("cuda")) == ("bf16", "")


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize(
    ("text", "dtype", "word"),
    [(SAPPHIRE, torch.bfloat16, "bf16"), (HASWELL, torch.float32, "float32")],
    ids=["with", "without"],
)
def test_a_run_says_what_it_computes_in(
    text: str, dtype: torch.dtype, word: str, tmp_path: Path, command: list[str], cpuinfo: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    cpuinfo.write_text(text)
    kinds: set[torch.dtype] = set()
    forward = Codec.forward

    def watched(codec: Codec, *args: object, **options: object) -> object:
        codec.encoder.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
        return forward(codec, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Codec, "forward", watched)
    assert main([*command, "--set", "train.precision=bf16", "--set", "train.log_interval=1"]) == 0
    log = (tmp_path / "exp" / "train.log").read_text()
    assert f"training on cpu in {word}, 1 process(es)" in log and f"; cpu, {word}: peak" in log
    assert (log.count("this processor has no instructions for it") == 1) == (word == "float32")
    assert dtype in kinds
    assert load_config(tmp_path / "exp" / "config.yaml").train.precision == "bf16"  # what was asked for


@pytest.mark.usefixtures("fresh_process")
def test_the_average_is_validated_in_the_float32_that_is_exported(tmp_path: Path, data: Path, cpuinfo: Path) -> None:
    cpuinfo.write_text(SAPPHIRE)
    made = config("train.steps=3 train.precision=bf16")
    run = trainer(made, tmp_path, data)
    run.run()
    wav = torch.randn(1, 1, 800, generator=torch.Generator().manual_seed(0)) * 0.05
    exported = build_codec(made).eval()
    exported.load_state_dict(run.parts.ema.average.state_dict())
    with torch.no_grad():
        assert torch.equal(run.parts.ema.average(wav).estimate, exported(wav).estimate)
        exported.load_state_dict(run.parts.raw_codec.state_dict())
        run.parts.raw_codec.eval()
        assert not torch.equal(run.parts.codec(wav).estimate, exported(wav).estimate)  # that one computes in bfloat16


def test_scale_quantizer_head_and_losses_stay_float32_under_autocast() -> None:
    """The same numbers to the last bit as outside of autocast, from the same input."""
    made = config("loss.loudness=1")
    torch.manual_seed(0)
    codec, steps = build_codec(made), Steps(made, CPU)
    raw, wav = torch.randn(2, 4, 30), 0.05 * torch.randn(2, 1, 600)
    features = torch.randn(2, 30, 8, dtype=torch.bfloat16)
    codec.quantizer.initialize(torch.randn(100, 4))
    codec.eval()
    estimate = wav + 0.01 * torch.randn_like(wav)

    def parts() -> dict[str, torch.Tensor]:
        scaled = codec.scale(raw.bfloat16())
        quantized = codec.quantizer(scaled)
        losses = steps.spectral(reference=wav, estimate=estimate)
        return {
            "scaled": scaled,
            "quantized": quantized.quantized,
            "commitment": quantized.commitment_loss,
            "head": codec.decoder.head(features),
            "loudness": steps.loudness(reference=wav, estimate=estimate),  # type: ignore[misc]
            **losses,
        }

    with torch.autocast("cpu", torch.bfloat16):
        under = parts()
        latents = codec.encoder(wav)
        whole = codec(wav)
    assert latents.dtype == torch.bfloat16  # the networks are what autocast is for
    assert whole.latents.dtype == whole.estimate.dtype == whole.quantizer.quantized.dtype == torch.float32
    for name, value in parts().items():
        assert under[name].dtype == torch.float32 and torch.equal(under[name], value), name


@pytest.mark.usefixtures("fresh_process")
def test_keeping_freed_memory_is_part_of_the_command(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[bool] = []
    monkeypatch.setattr("audiocodec.machine.keep_freed", lambda: called.append((tmp_path / "exp").exists()))
    assert main([*command, "--dry-run"]) == 0 and called == []
    assert main(command) == 0 and called == [False]  # before any audio is read
