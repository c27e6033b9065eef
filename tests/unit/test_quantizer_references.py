"""Each kind of quantizer against its paper's equations, written out in float64, and a library's implementation."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as LibraryKMeans
from torch import Tensor
from vector_quantize_pytorch import FSQ as LibraryFSQ
from vector_quantize_pytorch import LFQ as LibraryLFQ
from vector_quantize_pytorch import VectorQuantize

from audiocodec.codec.torch import CodecOutput
from audiocodec.quantization.fsq import FSQ
from audiocodec.quantization.gradient import rotate_through
from audiocodec.quantization.initialization import shrinking_map
from audiocodec.quantization.kmeans import kmeans
from audiocodec.quantization.lfq import LFQ, entropy_loss
from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.quantization.simvq import ClusteredSimVQ, SimVQ
from audiocodec.quantization.vq import EMAVQ, VQ, KMeans
from audiocodec.quantization.vq_fc import FactorisedVQ
from audiocodec.training.codebooks import CodebookUpdates

ALL = torch.ones(1, 1, 1)  # every item uses the stage


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(23)


def frames(latents: Tensor) -> Tensor:
    """`[B, D, T]` as `[N, D]`."""
    return latents.transpose(1, 2).flatten(0, 1)


# --- VQ, VQ-EMA, k-means, VQ-LC


def test_vq_has_the_losses_and_gradients_of_its_equation() -> None:
    """arXiv 1711.00937, equation 3, one latent at a time."""
    stage = VQ(30, 5, init="kmeans")
    stage.initialize(torch.randn(400, 5))
    latents = torch.randn(3, 5, 7, requires_grad=True)
    out = stage(latents, ALL)
    (2 * out.codebook_loss + 0.3 * out.commitment_loss).backward()
    table, x = stage.codebook.detach().double(), frames(latents.detach()).double()
    codebook_gradient, latent_gradient = torch.zeros_like(table), torch.zeros_like(x)
    for n, latent in enumerate(x):
        code = int(((table - latent) ** 2).sum(1).argmin())
        assert code == int(out.codes[:, 0].flatten()[n])
        codebook_gradient[code] += 2 * 2 * (table[code] - latent) / x.numel()
        latent_gradient[n] = 0.3 * 2 * (latent - table[code]) / x.numel()
    same = {"rtol": 1e-5, "atol": 1e-7, "check_dtype": False}
    torch.testing.assert_close(stage.codebook.grad, codebook_gradient, **same)
    torch.testing.assert_close(frames(latents.grad), latent_gradient, **same)


def test_vanilla_vq_starts_within_one_over_its_size_of_zero() -> None:
    stage = VQ(50, 4)
    stage.initialize(10 + torch.randn(100, 4))
    assert 0.9 / 50 < float(stage.codebook.detach().abs().max()) <= 1 / 50
    assert abs(float(stage.codebook.detach().mean())) < 0.004


def moved_by_the_equation(table: Tensor, counts: Tensor, steps: list[tuple[Tensor, Tensor]], decay: float) -> Tensor:
    """arXiv 1711.00937, equations 6 to 8: running counts and sums, their ratio the codes; float64, a latent at a time."""
    counts, sums = counts.double().clone(), table.double() * counts.double()[:, None]
    for latents, codes in steps:
        n, s = torch.zeros_like(counts), torch.zeros_like(sums)
        for latent, code in zip(latents.double(), codes.tolist(), strict=True):
            n[code] += 1
            s[code] += latent
        counts, sums = decay * counts + (1 - decay) * n, decay * sums + (1 - decay) * s
    return sums / counts[:, None]


def test_the_moving_codebook_follows_its_equations() -> None:
    stage = EMAVQ(12, 3, decay=0.8)
    stage.initialize(torch.randn(200, 3))
    table, counts, steps = stage.codebook.clone(), stage.counts.clone(), []
    for step in range(5):
        latents = torch.randn(40, 3) + step
        codes = stage.encode(latents.T[None])[0, 0]
        steps.append((latents, codes))
        stage.update(latents, codes, seed=0)
    expected = moved_by_the_equation(table, counts, steps, 0.8)
    assert float((expected - table).abs().max()) > 0.5
    torch.testing.assert_close(stage.codebook, expected, rtol=1e-4, atol=1e-5, check_dtype=False)


def test_the_moving_codebook_is_the_librarys() -> None:
    stage = EMAVQ(12, 3, decay=0.8)
    stage.initialize(torch.randn(200, 3))
    library = VectorQuantize(dim=3, codebook_size=12, decay=0.8, eps=0.0, threshold_ema_dead_code=0).train()
    library._codebook.embed.data.copy_(stage.codebook[None])
    library._codebook.embed_avg.data.copy_(stage.codebook[None])
    library._codebook.cluster_size.data.copy_(stage.counts[None])
    latents = torch.randn(1, 60, 3)
    quantized, codes, _ = library(latents)
    out = stage(latents.transpose(1, 2), ALL)
    assert torch.equal(out.codes[:, 0], codes)
    torch.testing.assert_close(out.chosen.transpose(1, 2), quantized)
    assert float(out.codebook_loss) == 0
    torch.testing.assert_close(out.commitment_loss, (quantized - latents).square().mean())
    stage.update(latents[0], codes[0], seed=0)
    torch.testing.assert_close(stage.counts, library._codebook.cluster_size[0])
    torch.testing.assert_close(stage.codebook, library._codebook.embed[0], rtol=1e-4, atol=1e-5)


def test_a_moving_codebook_counts_the_frames_of_items_that_use_its_stage() -> None:
    stack = ResidualQuantizer([EMAVQ(8, 3, decay=0.9) for _ in range(2)], dropout=1.0).train()
    stack.initialize(torch.randn(100, 3))
    latents = torch.randn(12, 3, 5)
    out = stack(latents)
    first_only = (out.quantized - stack.decode(out.codes[:, :1])).abs().amax((1, 2)) < 1e-5
    assert 0 < int(first_only.sum()) < 12
    updates = CodebookUpdates(stack)
    updates.add(CodecOutput(latents, latents, out))
    updates.apply(lambda tensor: tensor, seed=0)
    updates.apply(lambda tensor: tensor, seed=0)  # nothing is left
    counted = [float(stage.counts.sum()) for stage in stack.stages]
    assert counted == pytest.approx([0.9 * 8 + 0.1 * 60, 0.9 * 8 + 0.1 * 5 * int((~first_only).sum())])


def test_a_code_nothing_chooses_stays_where_it_is_for_ever() -> None:
    stage = EMAVQ(3, 2, decay=0.5)
    stage.codebook.copy_(torch.tensor([[0.0, 0.0], [50.0, 50.0], [1.0, 1.0]]))
    latents = torch.randn(20, 2)
    for _ in range(200):
        stage.update(latents, stage.encode(latents.T[None])[0, 0], seed=0)
    assert stage.codebook[1].tolist() == [50.0, 50.0]
    assert torch.isfinite(stage.codebook).all()


def test_dead_codes_move_to_latents_of_the_batch_and_live_ones_stay() -> None:
    stage = EMAVQ(4, 2, decay=0.5, replace_below=0.75)
    stage.codebook.copy_(torch.tensor([[0.0, 0.0], [50.0, 50.0], [-50.0, 0.0], [5.0, 5.0]]))
    latents = torch.cat([0.01 * torch.randn(20, 2), 5 + 0.01 * torch.randn(20, 2)])
    codes = stage.encode(latents.T[None])[0, 0]
    moved = [stage.codebook.clone() for _ in range(2)]
    for table, seed in zip(moved, (1, 1), strict=True):
        again = EMAVQ(4, 2, decay=0.5, replace_below=0.75)
        again.load_state_dict(stage.state_dict())
        again.update(latents, codes, seed)
        table.copy_(again.codebook)
        assert again.counts.tolist() == [10.5, 0.75, 0.75, 10.5]  # 0.5 + 0.5 x 20; the threshold: a new life
    assert torch.equal(moved[0], moved[1])  # the same on every process
    assert float(moved[0][0].norm()) < 0.1 and float((moved[0][3] - 5).norm()) < 0.1
    for row in (1, 2):  # seen in no frame: count 0.5
        assert (latents == moved[0][row]).all(1).any()
    assert not torch.equal(moved[0][1], moved[0][2])


@pytest.mark.parametrize("count", [5, 16])
def test_kmeans_moves_its_centres_as_a_library_does(count: int) -> None:
    latents = torch.randn(60, 6)[torch.randint(60, (3000,))] * 3 + 0.4 * torch.randn(3000, 6)
    torch.manual_seed(5)
    first = latents[torch.randperm(3000)[:count]]
    library = LibraryKMeans(count, init=first.double().numpy(), n_init=1, max_iter=4, tol=0, algorithm="lloyd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that four rounds are not the end
        expected = library.fit(latents.double().numpy()).cluster_centers_
    torch.manual_seed(5)
    torch.testing.assert_close(kmeans(latents, count, rounds=4).double().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_centre_that_nothing_is_nearest_to_is_used_again() -> None:
    latents = torch.cat([torch.zeros(990, 2), 5 + torch.randn(10, 2)])  # nearly all of the first centres are equal
    centres = kmeans(latents, 8)
    assert len(torch.cdist(latents, centres).argmin(1).unique()) == 8


def test_kmeans_with_fewer_latents_than_centres_keeps_every_latent() -> None:
    latents = torch.randn(20, 3)
    centres = kmeans(latents, 50)
    assert centres.shape == (50, 3) and torch.equal(centres[:20], latents)
    assert len(centres.unique(dim=0)) == 50
    assert float(torch.cdist(centres, latents).amin(1).max()) < 1.5


def test_clusters_are_frozen_and_only_their_map_learns() -> None:
    stage = ClusteredSimVQ(20, 4)
    data = torch.randn(500, 4)
    stage.initialize(data)
    centres = torch.cdist(stage.codebook, data)
    assert float(stage.codebook.std()) > 0.5 and float(centres.amin(1).max()) < 1  # in the midst of the latents
    assert torch.equal(stage.table()[0], stage.codebook)
    ResidualQuantizer([stage])(torch.randn(2, 4, 30)).codebook_loss.backward()
    assert stage.codebook.grad is None and float(stage.map.weight.grad.abs().sum()) > 0


def test_frozen_clusters_take_no_gradient_and_give_none() -> None:
    stage = KMeans(20, 4)
    stage.initialize(torch.randn(500, 4))
    out = ResidualQuantizer([stage]).train()(torch.randn(2, 4, 30, requires_grad=True))
    assert list(stage.parameters()) == []
    assert not (out.quantized.requires_grad or out.codebook_loss.requires_grad or out.commitment_loss.requires_grad)


# --- factorised


def test_factorised_codes_are_those_of_the_cosine() -> None:
    """Improved VQGAN: `argmax cos(z, e)` in the low dimension; both at norm 1 in the losses and in what is decoded."""
    stage = FactorisedVQ(40, 6, low_dim=3)
    stage.initialize(torch.randn(300, 6))
    latents = torch.randn(2, 6, 9)
    out = stage(latents, ALL)
    low = frames(latents).double() @ stage.down.weight.detach().double().T + stage.down.bias.detach().double()
    table = stage.codebook.detach().double()
    losses = []
    for n, z in enumerate(low):
        cosines = [float(z @ e / z.norm() / e.norm()) for e in table]
        best = int(np.argmax(cosines))
        assert int(out.codes.flatten()[n]) == best
        code = table[best] / table[best].norm()
        losses.append(float((z / z.norm() - code).square().sum()))
        decoded = code @ stage.up.weight.detach().double().T + stage.up.bias.detach().double()
        torch.testing.assert_close(frames(out.chosen)[n].detach(), decoded, rtol=1e-4, atol=1e-5, check_dtype=False)
    assert float(out.codebook_loss.detach()) == pytest.approx(np.mean(losses), rel=1e-4)
    assert float(out.commitment_loss.detach()) == pytest.approx(np.mean(losses), rel=1e-4)
    out.codebook_loss.backward()
    assert stage.down.weight.grad is None and float(stage.codebook.grad.abs().sum()) > 0


def test_factorised_codes_are_the_librarys() -> None:
    stage = FactorisedVQ(40, 6, low_dim=3)
    stage.initialize(torch.randn(300, 6))
    library = VectorQuantize(dim=6, codebook_size=40, codebook_dim=3, use_cosine_sim=True).eval()
    library._codebook.embed.data.copy_(torch.nn.functional.normalize(stage.codebook.detach(), dim=-1)[None])
    library.project_in.load_state_dict(stage.down.state_dict())
    library.project_out.load_state_dict(stage.up.state_dict())
    latents = torch.randn(2, 30, 6)
    quantized, codes, _ = library(latents)
    assert torch.equal(stage.encode(latents.transpose(1, 2))[:, 0], codes)
    torch.testing.assert_close(stage.decode(codes[:, None]).transpose(1, 2), quantized, rtol=1e-4, atol=1e-5)


# --- FSQ


@pytest.mark.parametrize("levels", [(8, 8, 8, 5, 5, 5), (8, 6, 5), (7, 5, 5, 5, 5)])
def test_fsq_is_the_librarys(levels: tuple[int, ...]) -> None:
    stage, library = FSQ(levels, 10), LibraryFSQ(list(levels))
    low = 2 * torch.randn(4, 25, len(levels), requires_grad=True)
    quantized, codes = library(low)
    squashed = stage.squash(low)
    assert torch.equal(stage.choose(squashed), codes.long())
    torch.testing.assert_close(stage.values(codes.long()), quantized)
    (expected,) = torch.autograd.grad(quantized.pow(3).sum(), low)
    (found,) = torch.autograd.grad(stage.through(squashed, stage.values(codes.long())).pow(3).sum(), low)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_fsq_rounds_what_the_paper_bounds() -> None:
    """arXiv 2309.15505, its listing, one number at a time."""
    levels = (8, 5, 6)
    stage, low = FSQ(levels, 5), 2 * torch.randn(50, 3)
    for z, code in zip(low.double().tolist(), stage.choose(stage.squash(low)).tolist(), strict=True):
        expected, basis = 0, 1
        for value, count in zip(z, levels, strict=True):
            half = (count - 1) * 1.001 / 2
            offset = 0.5 if count % 2 == 0 else 0.0
            digit = round(math.tanh(value + math.atanh(offset / half)) * half - offset) + count // 2
            expected, basis = expected + digit * basis, basis * count
        assert code == expected


def test_every_fsq_code_decodes_to_a_place_of_its_own_that_is_coded_as_itself() -> None:
    stage = FSQ((5, 6, 7), 3)
    codes = torch.arange(210)
    values = stage.values(codes)
    assert len(values.unique(dim=0)) == 210 and float(values.abs().max()) == 1
    assert torch.equal(stage.choose(values), codes)


# --- LFQ


def entropy_of_all_codes(low: Tensor, temperature: float) -> tuple[float, float]:
    """Mean entropy of `p(s | z) ~ exp(2 z . s / temperature)` over all 2^n sign patterns, and that of the mean."""
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=low.shape[1])), dtype=torch.float64)
    probabilities = (2 * low.double() @ signs.T / temperature).softmax(1)

    def entropy(p: Tensor) -> Tensor:
        return -(p * p.clamp(min=1e-300).log()).sum(-1)

    return float(entropy(probabilities).mean()), float(entropy(probabilities.mean(0)))


@pytest.mark.parametrize(("bits", "temperature"), [(1, 1.0), (2, 0.5), (7, 1.0), (10, 3.0), (10, 0.01)])
def test_the_entropy_loss_is_that_over_all_codes(bits: int, temperature: float) -> None:
    low = 0.5 * torch.randn(60, bits)
    each, mean = entropy_of_all_codes(low, temperature)
    assert float(entropy_loss(low, temperature)) == pytest.approx(each - mean, rel=1e-4, abs=1e-5)


def test_lfq_is_the_librarys() -> None:
    stage, latents = LFQ(64, 6, entropy_weight=0.1, temperature=0.7), 0.3 * torch.randn(1, 6, 50)
    with torch.no_grad():
        for layer in (stage.down, stage.up):
            layer.weight.copy_(torch.eye(6))
            layer.bias.zero_()
    library = LibraryLFQ(dim=6, codebook_size=64, entropy_loss_weight=0.1, commitment_loss_weight=0.25).train()
    (quantized, codes, loss), parts = library(latents.transpose(1, 2), 1 / 0.7, True)
    out = stage(latents, ALL)
    assert torch.equal(out.codes[:, 0], codes)
    torch.testing.assert_close(out.chosen.transpose(1, 2), quantized)
    assert float(out.commitment_loss.detach()) == pytest.approx(float(parts.commitment.detach()), rel=1e-5)
    # The library cuts logarithms off at 1e-5, which the mean over 64 codes feels a little.
    total = out.codebook_loss + 0.25 * out.commitment_loss
    assert float(total.detach()) == pytest.approx(float(loss.detach()), rel=1e-3)


def test_the_entropy_of_the_largest_codebook_holds_no_latents_times_codes() -> None:
    """2,000 latents times 262,144 codes would be 2 GB."""
    low = torch.randn(2000, 18, requires_grad=True)
    held: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t.nbytes) or t, lambda t: t):
        loss = entropy_loss(low, 1.0)
    loss.backward()
    assert torch.isfinite(low.grad).all()
    assert max(held) <= 4 * 2000 * 512 and sum(held) < 100e6


# --- gradients


def rotation_by_matrix(latent: Tensor, code: Tensor) -> Tensor:
    """The gradient map of arXiv 2410.06424 built as two Householder reflections, `[D, D]`."""
    size, eye = float(code.norm() / latent.norm()), torch.eye(len(latent), dtype=torch.float64)
    e, q = latent / latent.norm(), code / code.norm()
    middle = (e + q) / (e + q).norm()
    to_middle = eye - 2 * torch.outer(middle, middle)  # takes e to -q
    flip = eye - 2 * torch.outer(q, q)  # takes -q to q
    return size * flip @ to_middle


def test_the_rotation_trick_is_the_product_of_two_reflections() -> None:
    latents, codes = torch.randn(2, 5, 4, requires_grad=True), torch.randn(2, 5, 4, requires_grad=True)
    carried = rotate_through(latents, codes)
    torch.testing.assert_close(carried, codes)
    weights = torch.randn(2, 5, 4)
    (carried * weights).sum().backward()
    assert codes.grad is None
    for x, c, w, found in zip(*(frames(t.detach()) for t in (latents, codes, weights, latents.grad)), strict=True):
        expected = rotation_by_matrix(x.double(), c.double()).T @ w.double()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, check_dtype=False)


def test_the_rotation_trick_is_the_librarys() -> None:
    from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to

    latents, codes, weights = (torch.randn(30, 6) for _ in range(3))
    ours, theirs = latents.clone().requires_grad_(), latents.clone().requires_grad_()
    (rotate_through(ours.T[None], codes.T[None])[0].T * weights).sum().backward()
    (rotate_to(theirs, codes) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rotation", [False, True])
def test_a_stack_carries_the_gradient_by_the_chain_rule_once(rotation: bool) -> None:
    """Straight through it is 1, not 1 a stage; rotated it is `J1 + J2 (I - J1)`."""
    stack = ResidualQuantizer([VQ(20, 4, init="kmeans", rotation=rotation) for _ in range(2)])
    stack.initialize(torch.randn(400, 4))
    latents, weights = torch.randn(1, 4, 6, requires_grad=True), torch.randn(1, 4, 6)
    out = stack(latents)
    (out.quantized * weights).sum().backward()
    for n, weight in enumerate(frames(weights).double()):
        first, second = (frames(trace.entered)[n].double() for trace in out.stages)
        codes = [frames(trace.chosen)[n].double() for trace in out.stages]
        eye = torch.eye(4, dtype=torch.float64)
        j1, j2 = ((rotation_by_matrix(x, c) if rotation else eye) for x, c in zip((first, second), codes, strict=True))
        expected = (j1 + j2 @ (eye - j1)).T @ weight
        torch.testing.assert_close(frames(latents.grad)[n], expected, rtol=1e-4, atol=1e-5, check_dtype=False)


def test_residual_fsq_has_the_gradient_of_its_direct_form() -> None:
    stack = ResidualQuantizer([FSQ((5, 5), 3), FSQ((5, 5), 3)])
    stack.initialize(torch.randn(400, 3))
    latents = torch.randn(2, 3, 8, requires_grad=True)
    stack(latents).quantized.pow(3).sum().backward()
    x = latents.detach().double().requires_grad_()
    left, total = x.transpose(1, 2), 0
    for stage in stack.stages:
        z = left @ stage.down.weight.detach().double().T + stage.down.bias.detach().double()
        bounded = z.tanh() * 2 * 1.001
        rounded = bounded + (bounded.round() - bounded).detach()
        step = rounded / 2 @ stage.up.weight.detach().double().T + stage.up.bias.detach().double()
        left, total = left - step, total + step
    total.pow(3).sum().backward()
    torch.testing.assert_close(latents.grad, x.grad, rtol=1e-3, atol=1e-4, check_dtype=False)
    assert all(float(p.grad.abs().sum()) > 0 for p in stack.parameters())


# --- SimVQ's options


def test_an_mlp_map_is_its_equation_and_starts_as_the_linear_one() -> None:
    stage = SimVQ(30, 5, bend=True)
    stage.initialize(torch.randn(300, 5) * torch.arange(1.0, 6))
    linear = stage.codebook @ stage.map.weight.T + stage.map.bias
    torch.testing.assert_close(stage.table()[0], linear.detach())
    with torch.no_grad():
        stage.bend[2].weight.add_(torch.randn(5, 5))
    c = stage.codebook.detach().double()
    first, _, last = (part for part in stage.bend)
    inner = c @ first.weight.detach().double().T + first.bias.detach().double()
    inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))  # GELU
    bent = c + inner @ last.weight.detach().double().T + last.bias.detach().double()
    expected = bent @ stage.map.weight.detach().double().T + stage.map.bias.detach().double()
    torch.testing.assert_close(stage.table()[0], expected, rtol=1e-4, atol=1e-5, check_dtype=False)


def test_a_zero_code_is_zero_whatever_the_map_does() -> None:
    stage = SimVQ(30, 5, zero_code=True)
    stage.initialize(3 + torch.randn(300, 5))
    near, far = torch.full((1, 5, 2), 0.01), torch.full((1, 5, 2), 3.0)
    assert stage.encode(near).flatten().tolist() == [0, 0]
    assert float(stage.decode(stage.encode(near)).abs().max()) == 0
    stage(near, ALL).codebook_loss.backward()
    assert float(stage.map.weight.grad.abs().sum()) == 0  # nothing to learn for it
    assert 0 not in stage.encode(far)


@pytest.mark.parametrize(
    ("kind", "share"), [("covariance", 1.0), ("kmeans", None), ("isotropic", None), ("published", None)]
)
def test_starts_give_the_codebook_the_covariance_they_promise(kind: str, share: float | None) -> None:
    latents = torch.randn(3000, 4) * torch.tensor([3.0, 1.0, 0.3, 0.1]) + 2
    stage = SimVQ(4000, 4, init=kind, distribution="gaussian") if kind != "kmeans" else SimVQ(500, 4, init=kind)
    stage.initialize(latents)
    found = torch.cov(stage.table()[0].T)
    if kind == "covariance":
        torch.testing.assert_close(found, torch.cov(latents.T), rtol=0.15, atol=0.1)
    elif kind == "kmeans":  # centres spread less than what they are centres of, and in the same shape
        assert 0.5 < float(found[0, 0] / 9) < 1.1 and float(found[0, 0]) > 20 * float(found[2, 2])
    elif kind == "isotropic":
        torch.testing.assert_close(found, float(latents.var(0).mean()) * torch.eye(4), rtol=0.1, atol=0.3)
    else:  # torch's: uniform within dim ** -0.5, whatever the latents
        assert float(stage.map.weight.detach().abs().max()) <= 0.5
    if kind != "published":
        torch.testing.assert_close(stage.table()[0].mean(0), torch.full((4,), 2.0), rtol=0, atol=0.4)


@pytest.mark.parametrize(("codes", "count"), [(4, 3000), (64, 64), (3000, 3000)])
def test_a_codebook_of_latents_shrinks_to_the_water_filled_covariance(codes: int, count: int) -> None:
    """Variances less the water level along the latents' own directions; the level by its closed form, in numpy."""
    latents = torch.randn(count, 5) * torch.tensor([3.0, 1.0, 0.5, 0.2, 0.05]) @ torch.randn(5, 5) + 2
    x = latents.double().numpy()
    variances, directions = np.linalg.eigh(np.cov(x.T, bias=True))
    for wet in range(1, 6):  # directions above the water: log2(level) = mean log2(variance) - 2 R / wet
        level = 2 ** (np.log2(variances[-wet:]).mean() - 2 * np.log2(codes) / wet)
        if wet == 5 or level >= variances[-wet - 1]:
            break
    expected = directions * np.maximum(variances - level, 0) @ directions.T
    weight, bias = (tensor.double().numpy() for tensor in shrinking_map(latents, codes))
    mapped = x @ weight.T + bias
    np.testing.assert_allclose(np.cov(mapped.T, bias=True), expected, atol=1e-5 * variances[-1])
    np.testing.assert_allclose(mapped.mean(0), x.mean(0), atol=1e-4)
    np.testing.assert_allclose(weight, weight.T, atol=1e-6)  # towards the mean, without a turn
    if codes == count:  # as many codes as latents: all of them, and so the codebook has that covariance
        stage = SimVQ(codes, 5, distribution="latents")
        stage.initialize(latents)
        table = stage.table()[0].double().numpy()
        np.testing.assert_allclose(np.cov(table.T, bias=True), expected, atol=1e-3 * variances[-1])


def test_a_zero_code_among_latents_costs_one_of_them() -> None:
    latents = 3 + torch.randn(300, 5)
    stage = SimVQ(30, 5, distribution="latents", init="covariance", zero_code=True)
    stage.initialize(latents)
    table = stage.table()[0]
    assert not table[0].any() and torch.equal(table[1:], stage.codebook[1:])
    assert float(torch.cdist(stage.codebook, latents).min(1).values.max()) < 0.01
    assert stage.encode(torch.full((1, 5, 1), 0.01)).item() == 0


def test_stages_may_all_start_at_the_latents_scale() -> None:
    latents, norms = torch.randn(2000, 6), {}
    for on_residual in (True, False):
        stack = ResidualQuantizer([SimVQ(256, 6) for _ in range(3)], init_on_residual=on_residual)
        stack.initialize(latents)
        norms[on_residual] = [float(stage.map.weight.detach().norm()) for stage in stack.stages]
    assert norms[True][0] > 1.3 * norms[True][1] > 1.3 * 1.3 * norms[True][2]
    assert norms[False][2] == pytest.approx(norms[False][0], rel=0.05)
