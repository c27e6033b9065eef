"""Quantizers: search, gradients, water-filled start, residual stages, scale; against plain numpy and closed forms."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from audiocodec.quantization.initialization import reverse_water_fill
from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.quantization.scale import LatentScale
from audiocodec.quantization.simvq import ClusteredSimVQ, SimVQ


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(7)


def bent(size: int, dim: int, **options: bool | str) -> SimVQ:
    """A quantizer whose map is no identity."""
    quantizer = SimVQ(size, dim, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        quantizer.map.weight.add_(0.3 * torch.randn(dim, dim))
        if quantizer.map.bias is not None:
            quantizer.map.bias.copy_(0.1 * torch.randn(dim))
    return quantizer


def correlated(count: int, dim: int) -> torch.Tensor:
    """Gaussian `[count, dim]` whose energy falls by half from one (rotated) direction to the next."""
    rotation = torch.linalg.qr(torch.randn(dim, dim))[0]
    return (torch.randn(count, dim) * 0.5 ** (torch.arange(dim) / 2)) @ rotation.T + 0.5


@pytest.mark.parametrize("size", [2, 1023, 1024, 1025, 262_144])
def test_the_search_finds_what_a_float64_loop_finds(size: int) -> None:
    quantizer, latents = bent(size, 4), torch.randn(2, 4, 20)
    table = quantizer.codebook.double().numpy() @ quantizer.map.weight.detach().double().numpy().T
    table += quantizer.map.bias.detach().double().numpy()
    codes = quantizer.encode(latents)
    assert codes.shape == (2, 1, 20)
    for item, row in zip(latents.double().numpy(), codes[:, 0].numpy(), strict=True):
        for latent, code in zip(item.T, row, strict=True):
            distances = ((table - latent) ** 2).sum(1)
            assert distances[code] <= distances.min() + 1e-5  # what float32 can tell apart
    np.testing.assert_allclose(quantizer.decode(codes)[0, :, 3], table[codes[0, 0, 3]], atol=1e-6)


def test_the_search_looks_into_every_tile_and_takes_the_lowest_of_equals() -> None:
    quantizer = SimVQ(9000, 2, train_codebook=True)
    with torch.no_grad():
        quantizer.codebook.fill_(5.0)
        quantizer.codebook[[10, 4500, 8999]] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        quantizer.codebook[8998] = quantizer.codebook[10]
    codes = quantizer.encode(torch.tensor([[[1.0, 0.1, -1.0], [0.0, 0.9, 0.0]]]))
    assert codes.tolist() == [[[10, 4500, 8999]]]


def stages_used(quantizer: ResidualQuantizer, codes: torch.Tensor, quantized: torch.Tensor) -> torch.Tensor:
    """How many stages each item `[B]` is made of: the number whose codes add up to what came out."""
    sums = [quantizer.decode(codes[:, :n]) for n in range(1, codes.shape[1] + 1)]
    fits = torch.stack([(quantized - total).abs().amax((1, 2)) < 1e-4 for total in sums])
    assert (fits.sum(0) == 1).all()
    return fits.int().argmax(0) + 1


def direct_losses(
    quantizer: ResidualQuantizer, maps: list[tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor, used: torch.Tensor
) -> torch.Tensor:
    """The same sum of losses in float64, each whole table projected with gradient, latents one by one."""
    total = torch.zeros((), dtype=torch.float64)
    for item, count in zip(x, used.tolist(), strict=True):
        for latent in item.T:
            residual, decoded = latent, torch.zeros_like(latent)
            for stage, (weight, bias) in list(zip(quantizer.stages, maps, strict=True))[:count]:
                table = stage.codebook.double() @ weight.T + bias
                chosen = table[(table - residual).square().sum(1).argmin()]
                total = total + (3 * (chosen - residual.detach()) ** 2 + 2 * (chosen.detach() - residual) ** 2).mean()
                residual, decoded = residual - chosen.detach(), decoded + chosen.detach()
            passed = latent + (decoded - latent).detach()
            total = total + (passed**3).mean()
    return total / (x.shape[0] * x.shape[2])


@pytest.mark.parametrize(
    ("count", "dropout", "bias"), [(1, 0.0, True), (1, 0.0, False), (3, 0.0, True), (3, 1.0, True)]
)
def test_gradients_are_those_of_the_direct_form(count: int, dropout: float, bias: bool) -> None:
    quantizer = ResidualQuantizer([bent(50, 6, bias=bias) for _ in range(count)], dropout).train()
    latents = torch.randn(6, 6, 5, requires_grad=True)
    out = quantizer(latents)
    (3 * out.codebook_loss + 2 * out.commitment_loss + (out.quantized**3).mean()).backward()
    x = latents.detach().double().requires_grad_()
    maps = [
        (
            stage.map.weight.detach().double().requires_grad_(),
            stage.map.bias.detach().double().requires_grad_() if bias else torch.zeros(6).double().requires_grad_(),
        )
        for stage in quantizer.stages
    ]
    used = stages_used(quantizer, out.codes, out.quantized.detach())
    assert len(used.unique()) == (3 if dropout else 1)
    direct_losses(quantizer, maps, x, used).backward()
    same = {"rtol": 1e-4, "atol": 1e-6, "check_dtype": False}
    torch.testing.assert_close(latents.grad, x.grad, **same)
    for stage, (weight, offset) in zip(quantizer.stages, maps, strict=True):
        torch.testing.assert_close(stage.map.weight.grad, weight.grad, **same)
        if bias:
            torch.testing.assert_close(stage.map.bias.grad, offset.grad, **same)
        assert stage.codebook.grad is None


MEMORY = """
import torch
from audiocodec.quantization.simvq import SimVQ

def held(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

def beyond(work):
    open("/proc/self/clear_refs", "w").write("5")  # VmHWM back to what is held now
    before = held("VmRSS")
    work()
    return held("VmHWM") - before

torch.set_num_threads(1)
quantizer, latents = SimVQ(262_144, 64), torch.randn(1, 64, 1024)
print(beyond(quantizer.table) - 4 * 262_144 * 64)
print(beyond(lambda: quantizer.encode(latents)))
with torch.no_grad():
    quantizer.map.weight.mul_(2)
print(beyond(lambda: quantizer.encode(latents)))
"""


def test_search_and_rebuilt_table_hold_at_most_64_mb_beyond_the_codebook() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    peaks = [int(line) for line in done.stdout.split()]  # first table, a search, a new table and a search
    assert len(peaks) == 3 and max(peaks) < 64e6, peaks


@pytest.mark.parametrize("bits", [0.5, 3, 12, 18])
def test_water_filling_of_equal_variances_is_shannons_formula(bits: float) -> None:
    codes, level = reverse_water_fill(torch.full((8,), 2.0), bits)
    expected = 2.0 * 2 ** (-2 * bits / 8)  # R = D/2 log2(variance / level)
    assert level == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(codes, 2.0 - expected, rtol=1e-9)


@pytest.mark.parametrize("bits", [1, 6, 18])
def test_water_filling_spends_all_bits_on_what_is_above_the_water(bits: float) -> None:
    variances = torch.tensor([9.0, 4.0, 1.0, 0.01, 0.0])
    codes, level = reverse_water_fill(variances, bits)
    above = [v for v in variances.tolist() if v > level]
    assert sum(0.5 * math.log2(v / level) for v in above) == pytest.approx(bits)
    np.testing.assert_allclose(codes, [max(0.0, v - level) for v in variances.tolist()], atol=1e-7)


def test_a_water_filled_start_uses_more_codes_and_errs_less_than_an_isotropic_one() -> None:
    latents, figures = correlated(4000, 16), {}
    for kind in ("waterfill", "isotropic"):
        quantizer = ResidualQuantizer([SimVQ(256, 16, init=kind)])
        quantizer.initialize(latents)
        out = quantizer(latents.T[None])
        figures[kind] = (len(out.codes.unique()), float(out.errors))
    assert figures["waterfill"][0] > figures["isotropic"][0]
    assert figures["waterfill"][1] < figures["isotropic"][1]


def stack(count: int, dropout: float = 0.0) -> tuple[ResidualQuantizer, torch.Tensor]:
    quantizer = ResidualQuantizer([SimVQ(128, 8) for _ in range(count)], dropout)
    latents = correlated(64 * 40, 8)
    quantizer.initialize(latents)
    return quantizer, latents.reshape(64, 40, 8).transpose(1, 2)


def test_each_residual_stage_reduces_the_error() -> None:
    quantizer, latents = stack(3)
    out = quantizer.eval()(latents)
    assert out.codes.shape == (64, 3, 40)
    assert 1 > out.errors[0] > out.errors[1] > out.errors[2] > 0
    measured = (latents - out.quantized).square().mean() / latents.square().mean()
    torch.testing.assert_close(out.errors[2], measured, rtol=1e-4, atol=0)


def test_fewer_codebooks_are_the_first_ones_and_decode_to_their_sum() -> None:
    quantizer, latents = stack(3)
    codes = quantizer.encode(latents)
    assert torch.equal(quantizer.encode(latents, 2), codes[:, :2])
    tables = [stage.table()[0] for stage in quantizer.stages]
    expected = tables[0][codes[:, 0]] + tables[1][codes[:, 1]]
    torch.testing.assert_close(quantizer.decode(codes[:, :2]), expected.transpose(1, 2))
    out = quantizer.eval()(latents, 2)
    torch.testing.assert_close(out.quantized, expected.transpose(1, 2), rtol=0, atol=1e-5)


def test_residual_dropout_leaves_stages_out_in_training_only() -> None:
    quantizer, latents = stack(3, dropout=1.0)
    out = quantizer.train()(latents)
    used = stages_used(quantizer, out.codes, out.quantized)
    assert (used.bincount(minlength=4)[1:] > 5).all()  # of 64 items about 21 each
    torch.testing.assert_close(
        quantizer.eval()(latents).quantized, quantizer.decode(quantizer.encode(latents)), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("dim", [2, 16, 128])
def test_losses_weigh_the_same_whatever_the_width(dim: int) -> None:
    stage = SimVQ(8, dim, bias=False)
    with torch.no_grad():
        stage.map.weight.zero_()
    latents = torch.randn(3, dim, 50)
    latents /= latents.square().mean().sqrt()
    out = ResidualQuantizer([stage])(latents)
    assert out.codebook_loss.item() == pytest.approx(1, rel=1e-5)
    assert out.commitment_loss.item() == pytest.approx(1, rel=1e-5)
    assert float(out.errors[0]) == pytest.approx(1, rel=1e-5)


def test_the_kept_table_follows_an_optimizer_step() -> None:
    quantizer, latents = bent(64, 4), torch.randn(1, 4, 30)
    before = quantizer.table()[0]
    assert quantizer.table()[0] is before  # kept while nothing changes
    optimizer = torch.optim.AdamW(quantizer.map.parameters(), lr=0.1)
    ResidualQuantizer([quantizer])(latents).codebook_loss.backward()
    optimizer.step()
    expected = quantizer.codebook @ quantizer.map.weight.detach().T + quantizer.map.bias.detach()
    torch.testing.assert_close(quantizer.table()[0], expected)
    assert (before - expected).abs().max() > 0.05
    torch.testing.assert_close(quantizer.table()[1], expected.square().sum(1) / 2)


def test_the_effective_codebook_follows_weights_made_in_inference_mode() -> None:
    with torch.inference_mode():
        quantizer = SimVQ(50, 4)
        before = quantizer.table()[0].clone()
        quantizer.map.weight.mul_(2)
        torch.testing.assert_close(quantizer.table()[0], 2 * before)


@pytest.mark.parametrize("distribution", ["gaussian", "uniform"])
def test_a_drawn_codebook_is_exact_in_float16(distribution: str) -> None:
    codebook = SimVQ(5000, 16, distribution=distribution).codebook
    assert torch.equal(codebook.half().float(), codebook)
    assert float(codebook.std()) == pytest.approx(0.25, rel=0.02)


@pytest.mark.parametrize("start", ["covariance", "waterfill"])
@pytest.mark.parametrize("size", [64, 300, 400])
def test_a_codebook_of_latents_holds_different_ones_exact_in_float16(size: int, start: str) -> None:
    latents, stage = correlated(300, 6), SimVQ(size, 6, distribution="latents", init=start)
    stage.initialize(latents)
    rows = stage.codebook
    assert torch.equal(rows.half().float(), rows)
    held, drawn = ({tuple(row) for row in table.half().tolist()} for table in (latents, rows))
    assert len(drawn) == size  # none twice
    assert len(drawn & held) == min(size, 300)  # all there are, where there are too few
    if size > 300:  # and the others lie near one
        away = torch.cdist(rows[300:], latents).min(1).values.square().mean() / 6
        assert 0 < float(away) < 0.05 * float(latents.var(0).mean())
    if start == "covariance":
        assert torch.equal(stage.table()[0], rows)


def test_a_large_codebook_of_latents_asks_for_as_many_of_them() -> None:
    for distribution, frames in (("latents", 50_000), ("gaussian", 40_000)):
        stages = [SimVQ(16, 2), SimVQ(50_000, 2, distribution=distribution)]
        assert ResidualQuantizer(stages).init_frames == frames
    assert SimVQ(16, 2, distribution="latents").init_frames == 40_000


def test_codebooks_of_latents_hold_what_each_stage_will_see() -> None:
    latents = correlated(200, 5)
    stages = [ClusteredSimVQ(8, 5, distribution="latents"), SimVQ(20, 5, distribution="latents", init="covariance")]
    ResidualQuantizer(stages).initialize(latents)
    centres, x = stages[0].codebook.double().numpy(), latents.double().numpy()
    nearest = ((x[:, None] - centres) ** 2).sum(2).argmin(1)
    left = x - centres[nearest]
    assert (left**2).mean() < 0.5 * x.var(0).mean()  # clusters, which latents drawn at random are not
    assert _furthest(stages[1], left) < 1e-3 < _furthest(stages[1], x)  # float16
    alike = [SimVQ(20, 5, distribution="latents") for _ in range(2)]
    ResidualQuantizer(alike, init_on_residual=False).initialize(latents)
    assert max(_furthest(stage, x) for stage in alike) < 1e-3


def _furthest(stage: SimVQ, vectors: np.ndarray) -> float:
    """How far a row is from all of `vectors [N, D]`, at most."""
    rows = stage.codebook.detach().double().numpy()
    return float(np.abs(rows[:, None] - vectors).max(2).min(1).max())


def test_scaled_latents_are_centred_and_of_unit_rms() -> None:
    scale, latents = LatentScale(5), 3 * torch.randn(4, 5, 60) + torch.arange(5.0)[:, None]
    out = scale.train()(latents)
    torch.testing.assert_close(out.mean((0, 2)), torch.zeros(5), rtol=0, atol=1e-5)
    assert float(out.square().mean().sqrt()) == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(scale.eval()(latents), out)  # after one batch the running values are that batch's
    fitted = LatentScale(5)
    fitted.calibrate([latents[:2], latents[2:]])
    torch.testing.assert_close(fitted.eval()(latents), out)


def test_a_long_training_has_statistics_that_float16_holds() -> None:
    scale, latents = LatentScale(2).train(), torch.randn(1, 2, 30)
    scale.batches.fill_(70_000.0)  # of a checkpoint that counted on
    wanted = torch.lerp(scale.mean, latents.mean((0, 2)), 0.01)
    scale(latents)
    torch.testing.assert_close(scale.mean, wanted)
    assert scale.batches.half().isfinite()


def test_a_scale_that_is_switched_off_passes_latents_on() -> None:
    scale, latents = LatentScale(5, active=False), 3 * torch.randn(4, 5, 60) + 2
    latents.requires_grad_()
    before = {name: tensor.clone() for name, tensor in scale.state_dict().items()}
    for out in (scale.train()(latents), scale.eval()(latents), scale.running(latents)):
        assert torch.equal(out, latents)
    (3 * scale.train()(latents)).sum().backward()
    assert torch.equal(latents.grad, torch.full_like(latents, 3.0))
    scale.calibrate([latents.detach()])
    assert all(torch.equal(tensor, before[name]) for name, tensor in scale.state_dict().items())


def test_shrinking_the_encoder_changes_nothing() -> None:
    latents = torch.randn(4, 5, 60)
    torch.testing.assert_close(LatentScale(5)(latents * 0.01), LatentScale(5)(latents), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_batch_that_is_not_finite_leaves_no_trace(value: float) -> None:
    scale = LatentScale(3).train()
    scale(torch.randn(2, 3, 10))
    before = {name: tensor.clone() for name, tensor in scale.state_dict().items()}
    bad = torch.randn(2, 3, 10)
    bad[0, 1, 2] = value
    for settled in (False, True):
        scale(bad, settled=settled)
        for name, tensor in scale.state_dict().items():
            assert torch.equal(tensor, before[name])
    first = LatentScale(3).train()
    first(bad)
    assert all(torch.equal(tensor, LatentScale(3).state_dict()[name]) for name, tensor in first.state_dict().items())


def test_a_settled_scale_gives_an_encoder_no_reason_to_grow() -> None:
    scale, latents = LatentScale(3).train(), torch.randn(4, 3, 50, requires_grad=True)
    scale.calibrate([2 * torch.randn(4, 3, 50)])
    (scale(latents, settled=True) * torch.randn(4, 3, 50)).sum().backward()
    centred = latents.detach() - latents.detach().mean((0, 2))[:, None]
    assert latents.grad is not None and latents.grad.abs().max() > 0.1
    assert abs(float((latents.grad * centred).sum())) < 1e-3  # along its size
    assert float(latents.grad.sum((0, 2)).abs().max()) < 1e-3  # along its mean


def test_a_settled_scale_uses_what_it_has_seen_and_goes_on_looking() -> None:
    scale, seen = LatentScale(2).train(), torch.randn(4, 2, 50) + torch.tensor([1.0, -2.0])[:, None]
    scale.calibrate([seen])
    scale.settle()
    centred = seen - seen.mean((0, 2))[:, None]
    rms = centred.square().mean().sqrt()
    latents = (5 * torch.randn(3, 2, 40) + 7).requires_grad_()
    out = scale(latents, settled=True)
    torch.testing.assert_close(out, (latents - seen.mean((0, 2))[:, None]) / rms)
    new = latents.detach().mean((0, 2))
    torch.testing.assert_close(scale.mean, 0.99 * seen.mean((0, 2)) + 0.01 * new)
