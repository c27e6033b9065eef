"""Quantizers alone on frozen latents, the study's second half: what is measured, against numpy, and the page."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

RECIPE = Path(__file__).parents[2] / "egs" / "collapse" / "codec"
sys.path.insert(0, str(RECIPE / "local"))

from collapse.latent_page import write_page
from latents import Trial, look, read_trials, run

from audiocodec.build import build_quantizer
from audiocodec.config.load import load_config

PROFILE = RECIPE / "conf" / "cpu.yaml"
SMALL = ("quantizer.codebook_dim=4", "quantizer.codebook_size=16")


def _latents(count: int) -> torch.Tensor:
    """Three heaps of different size."""
    generator = torch.Generator().manual_seed(1)
    heaps = torch.tensor([[4.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 0, -2.0]])
    return heaps[torch.randint(3, (count,), generator=generator)] + torch.randn(count, 4, generator=generator) * 0.3


def test_every_trial_has_a_sound_configuration_and_a_name_of_its_own() -> None:
    trials = read_trials(RECIPE / "conf" / "latents.tsv")
    assert len({trial.name for trial in trials}) == len(trials) > 20
    for trial in trials:
        load_config(PROFILE, list(trial.overrides))


def test_errors_and_different_codes_are_those_of_a_search_by_hand() -> None:
    torch.manual_seed(0)
    quantizer = build_quantizer(load_config(PROFILE, [*SMALL, "quantizer.num_codebooks=2"])).eval()
    test, batch = _latents(3000), _latents(50)
    quantizer.initialize(test)
    found = look(quantizer, test, batch)

    tables = [table.detach().double().numpy() for table in quantizer.tables()]
    left, errors, different = test.double().numpy(), [], []
    seen = batch.double().numpy()
    for table in tables:
        left = left - table[np.square(left[:, None] - table).sum(-1).argmin(1)]
        codes = np.square(seen[:, None] - table).sum(-1).argmin(1)
        seen = seen - table[codes]
        errors.append(np.square(left).sum() / np.square(test.double().numpy()).sum())
        different.append(len(set(codes.tolist())) / 50)
    assert found["error"] == pytest.approx(errors, rel=1e-5)
    assert found["different"] == different


@pytest.mark.parametrize("kind", ["simvq", "vq", "vq_ema", "fsq"])
def test_training_lowers_the_error(kind: str) -> None:
    size = 25 if kind == "fsq" else 16
    overrides = ("quantizer.codebook_dim=4", f"quantizer.codebook_size={size}", f"quantizer.kind={kind}")
    start = {"simvq": ("quantizer.init=isotropic",), "vq_ema": ("quantizer.codebook_init=uniform",)}.get(kind, ())
    found = run(Trial("t", "label", "single", overrides + start), PROFILE, _latents(4000), _latents(900), 300)
    assert [look["step"] for look in found["looks"]] == [0, 10, 30, 100, 300]
    assert found["looks"][-1]["error"][0] < 0.9 * found["looks"][0]["error"][0]
    assert 1 / size <= found["usage"][0] <= 1 <= found["perplexity"][0] <= size


def test_the_page(tmp_path: Path) -> None:
    looks = [{"step": 0, "error": [0.5, 0.25], "different": [0.1, 0.2]}]
    looks += [{"step": 1000, "error": [0.4004, 0.2], "different": [0.125, 0.3]}]
    found = {"label": "start", "table": "residual", "stages": 2, "frames": 5000, "start_cpu_s": 1.26, "looks": looks}
    (tmp_path / "a.json").write_text(json.dumps({**found, "usage": [0.5, 1.0], "perplexity": [1234.4, 7.0]}))
    write_page(tmp_path, ["a", "missing"])
    assert (tmp_path / "RESULTS.md").read_text() == textwrap.dedent("""\
        ## Four stages of 1,024

        | start | error, step 0 | error, step 1,000 | different codes per frame, step 0 | step 1,000 | usage of 5,000 frames, % | perplexity | start, CPU s |
        |---|---|---|---|---|---|---|---|
        | start | 0.500 / 0.250 | 0.400 / 0.200 | 0.10 / 0.20 | 0.12 / 0.30 | 50.0 / 100.0 | 1,234 / 7 | 1.3 |

        ![Four stages of 1,024: error and different codes against steps](residual.png)
        """)
    assert (tmp_path / "residual.png").read_bytes().startswith(b"\x89PNG")
