"""Average and codebook statistics of a run: numbers by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audiocodec.build import build_codec
from audiocodec.codec.torch import CodecOutput
from audiocodec.config.schema import Config, QuantizerConfig
from audiocodec.quantization.base import QuantizerOutput
from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.quantization.simvq import SimVQ
from audiocodec.training.ema import EMA
from audiocodec.training.monitor.statistics import CodebookStatistics, effective_dimension


class Tiny(nn.Module):
    """One weight and one buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("mean", torch.zeros(1))
        self.quantizer = nn.Linear(1, 1)

    def put(self, weight: float, mean: float) -> None:
        with torch.no_grad():
            self.weight.fill_(weight)
            self.get_buffer("mean").fill_(mean)


def test_the_average_after_two_updates() -> None:
    codec = Tiny()
    ema = EMA(codec, decay=0.9)  # type: ignore[arg-type]
    codec.put(11.0, 22.0)
    ema.update(codec)  # type: ignore[arg-type]  # keeps 2 / 11
    assert ema.average.weight.item() == pytest.approx(9.0)
    assert ema.average.mean.item() == pytest.approx(18.0)
    codec.put(1.0, 2.0)
    ema.update(codec)  # type: ignore[arg-type]  # keeps 3 / 12
    assert ema.average.weight.item() == pytest.approx(3.0)
    assert ema.average.mean.item() == pytest.approx(6.0)
    assert codec.weight.item() == 1.0 and codec.weight.requires_grad and not ema.average.weight.requires_grad


def test_the_average_keeps_no_more_than_its_decay() -> None:
    codec = Tiny()
    ema = EMA(codec, decay=0.1)  # type: ignore[arg-type]
    codec.put(10.0, 0.0)
    ema.update(codec)  # type: ignore[arg-type]
    assert ema.average.weight.item() == pytest.approx(9.0)


def test_a_started_quantizer_is_taken_over_whole() -> None:
    codec = Tiny()
    ema = EMA(codec, decay=0.9)  # type: ignore[arg-type]
    with torch.no_grad():
        codec.quantizer.weight.fill_(7.0)
    codec.put(5.0, 5.0)
    ema.copy_quantizer(codec)  # type: ignore[arg-type]
    assert ema.average.quantizer.weight.item() == 7.0
    assert ema.average.weight.item() == 0.0


def test_frozen_weights_are_not_averaged_but_taken_over_with_the_quantizer() -> None:
    codec = Tiny()
    codec.weight.requires_grad_(False)
    codec.quantizer.weight.requires_grad_(False)
    ema = EMA(codec, decay=0.5)  # type: ignore[arg-type]
    before = ema.average.weight.clone(), ema.average.quantizer.weight.clone()
    versions = ema.average.weight._version, ema.average.quantizer.weight._version
    with torch.no_grad():
        codec.quantizer.bias.add_(11.0)
    codec.put(11.0, 22.0)
    ema.update(codec)  # type: ignore[arg-type]  # keeps 2 / 11
    assert ema.average.weight.equal(before[0]) and ema.average.quantizer.weight.equal(before[1])
    assert (ema.average.weight._version, ema.average.quantizer.weight._version) == versions  # not even written to
    assert ema.average.mean.item() == pytest.approx(18.0)  # buffers and trained weights beside them are
    assert (ema.average.quantizer.bias - codec.quantizer.bias).item() == pytest.approx(-2.0)
    with torch.no_grad():
        codec.quantizer.weight.fill_(7.0)
    ema.copy_quantizer(codec)  # type: ignore[arg-type]
    assert ema.average.quantizer.weight.item() == 7.0
    assert ema.average.quantizer.bias.equal(codec.quantizer.bias)


@pytest.mark.parametrize("kind", ["simvq", "vq", "vq_ema", "vq_lc", "kmeans"])
def test_the_average_of_a_quantizer_follows_whatever_moves_it(kind: str) -> None:
    """A decay of 0: the average is the codec itself, frozen codebooks as they were when the quantizer was started."""
    codec = build_codec(Config(quantizer=QuantizerConfig(kind=kind, codebook_size=16, codebook_dim=8)))
    ema = EMA(codec, decay=0.0)
    codec.quantizer.initialize(torch.randn(64, 8))
    ema.copy_quantizer(codec)
    with torch.no_grad():
        for parameter in codec.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    stage = codec.quantizer.stages[0]
    stage.update(torch.randn(32, 8), torch.randint(16, (32,)), seed=0)  # moves buffers where there are averages
    codec.scale.mean.add_(1.0)
    ema.update(codec)
    for name, tensor in codec.state_dict().items():
        assert torch.equal(ema.average.state_dict()[name], tensor), name


def output(codes: list[list[int]], errors: list[float]) -> CodecOutput:
    """One item of `[K][T]` codes."""
    latents = torch.zeros(1, 2, len(codes[0]))
    zero = torch.zeros(())
    stages = tuple((latents, latents) for _ in codes)
    quantized = QuantizerOutput(latents, torch.tensor(codes)[None], zero, zero, torch.tensor(errors), stages)
    return CodecOutput(torch.zeros(1, 1, 8), latents, quantized)


def test_codebook_statistics_add_up_over_batches() -> None:
    statistics = CodebookStatistics(2, 4, torch.device("cpu"))
    assert statistics.summary() == {}
    statistics.add(output([[0, 0, 0, 0], [1, 2, 3, 0]], [0.5, 0.25]))
    statistics.add(output([[1, 1, 1, 1], [1, 2, 3, 0]], [0.3, 0.15]))
    values = statistics.summary()
    assert values["codebook/0/usage"] == pytest.approx(0.5)  # codes 0 and 1, of 4
    assert values["codebook/1/usage"] == pytest.approx(1.0)
    assert values["codebook/0/perplexity"] == pytest.approx(2.0)
    assert values["codebook/1/perplexity"] == pytest.approx(4.0)
    assert values["codebook/0/different_per_frame"] == pytest.approx(0.25)  # one code in four frames
    assert values["codebook/1/different_per_frame"] == pytest.approx(1.0)
    assert values["codebook/0/relative_error"] == pytest.approx(0.4)
    assert values["codebook/1/relative_error"] == pytest.approx(0.2)
    statistics.reset()
    assert statistics.summary() == {}


def test_effective_dimension_by_hand() -> None:
    corners = torch.tensor([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]])
    assert float(effective_dimension(corners + 5)) == pytest.approx(2)  # two directions of equal variance
    assert float(effective_dimension(corners * torch.tensor([3.0, 1, 1]))) == pytest.approx(100 / 82)  # 9 and 1


def test_effective_dimension_is_that_of_each_stage() -> None:
    """A line of codes, then a plane: what the first leaves is what the second sees."""
    line = torch.tensor([[4.0, 0, 0], [-4, 0, 0]])
    plane = torch.tensor([[0, 1.0, 1], [0, 1, -1], [0, -1, 1], [0, -1, -1]])
    first, second = SimVQ(2, 3, bias=False), SimVQ(4, 3, bias=False)
    with torch.no_grad():
        first.codebook.copy_(line)
        second.codebook.copy_(plane)
    latents = (line[:, None] + plane[None]).reshape(8, 3).T[None]
    out = ResidualQuantizer([first, second])(latents)
    statistics = CodebookStatistics(2, 4, torch.device("cpu"))
    for _ in range(2):
        statistics.add(CodecOutput(torch.zeros(1, 1, 8), latents, out))
    values = statistics.summary()
    assert values["codebook/0/effective_dimension_residual"] == pytest.approx(324 / 258)  # variances 16, 1, 1
    assert values["codebook/0/effective_dimension_codes"] == pytest.approx(1)
    assert values["codebook/1/effective_dimension_residual"] == pytest.approx(2)
    assert values["codebook/1/effective_dimension_codes"] == pytest.approx(2)
