"""Language models over tokens: causal, normalised, the same with and without the cache, and as a plain Llama."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec.errors import LanguageModelError
from audiocodec.lm import export, files
from audiocodec.lm.generation import Sampler, continue_codes
from audiocodec.lm.network import LMConfig, TokenLM
from audiocodec.lm.scoring import nats_of, score, sequence_of

CODEC = "0011223344556677"


def model_of(sizes: tuple[int, ...], seed: int = 0, context: int = 64) -> TokenLM:
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    config = LMConfig(CODEC, sizes, dim=48, layers=2, heads=2, context=context, vector_dim=6)
    model = TokenLM(config, [random.normal(size=(size, 7)) for size in sizes])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "heads" in name or "linear" in name or "q_proj" in name:
                parameter.mul_(5)
    return model.eval()


def codes_of(sizes: tuple[int, ...], frames: int, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, frames) for size in sizes])


def test_probabilities_of_all_next_ids_add_up_to_one() -> None:
    model = model_of((512,))
    past = torch.tensor([[[513, 5, 511, 17]]])  # BOS and three codes
    with torch.inference_mode():
        every = torch.cat([past.expand(515, 1, 4), torch.arange(515)[:, None, None]], -1)
        nats = model(every)[:, 0, -1]
    assert (-nats).exp().sum().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("sizes", [(300,), (40, 300, 9)])
def test_it_sees_the_past_only(sizes: tuple[int, ...]) -> None:
    model = model_of(sizes)
    ids = torch.from_numpy(sequence_of(codes_of(sizes, 12), model.config))[None]
    changed = ids.clone()
    changed[:, :, 7:10] = torch.from_numpy(codes_of(sizes, 3, 5))
    with torch.inference_mode():
        assert torch.equal(model(ids)[..., :6], model(changed)[..., :6])
        assert not torch.allclose(model(ids)[..., 6:], model(changed)[..., 6:])


@pytest.mark.parametrize("sizes", [(300,), (40, 300, 9)])
def test_nats_of_long_utterances_see_half_a_context(sizes: tuple[int, ...]) -> None:
    model, codes = model_of(sizes, context=16), codes_of(sizes, 40)
    found = nats_of(model, codes)
    ids = torch.from_numpy(sequence_of(codes, model.config))[None]
    with torch.inference_mode():
        first = model(ids[..., :16])[0].numpy()
        later = model(ids[..., 16:32])[0].numpy()  # what the windows from step 16 on see
    for k in range(len(sizes)):
        assert found[k, : 15 - k] == pytest.approx(first[k, k:15], abs=1e-4)
        assert found[k, 23 - k : 31 - k] == pytest.approx(later[k, 7:15], abs=1e-4)
    total = score(model, [codes], 75.0)
    assert total.bits_per_token == pytest.approx(found.sum() / math.log(2) / codes.size)
    assert total.bits_per_second == pytest.approx(found.sum() / math.log(2) / 40 * 75)


@pytest.mark.parametrize("sizes", [(300,), (40, 300, 9)])
def test_the_cache_changes_nothing(sizes: tuple[int, ...]) -> None:
    """Greedy continuation against choosing, step by step, the ids of fewest nats by whole passes."""
    model, prompt = model_of(sizes), codes_of(sizes, 6)
    found = np.stack(list(continue_codes(model, prompt, 4, Sampler(0, 1, 0))), 1)
    assert found.shape == (len(sizes), 4)
    whole = np.concatenate([prompt, found], 1)
    ids = torch.from_numpy(sequence_of(whole, model.config))[None]
    for k, frame in itertools.product(range(len(sizes)), range(6, 10)):
        step = 1 + k + frame
        every = ids[..., : step + 1].repeat(sizes[k], 1, 1)
        every[:, k, step] = torch.arange(sizes[k])
        for later in range(k + 1, len(sizes)):  # chosen after it, in the same step
            every[:, later, step] = ids[0, later, step]
        digits = model.books()[k].digits
        with torch.inference_mode():
            nats = model(every)[:, k, -1]
        same_leading = (digits[: sizes[k], 0] == digits[whole[k, frame], 0]).nonzero()[:, 0]
        assert nats[whole[k, frame]] <= nats[same_leading].min() + 1e-4


def test_seeds_and_settings() -> None:
    model, prompt = model_of((300,)), codes_of((300,), 5)

    def run(*settings: float) -> list[int]:
        return [int(codes[0]) for codes in continue_codes(model, prompt, 12, Sampler(*settings))]  # type: ignore[arg-type]

    assert run(1.0, 1.0, 3) == run(1.0, 1.0, 3)
    assert run(1.0, 1.0, 3) != run(1.0, 1.0, 4)
    assert run(1.0, 1e-9, 3) == run(0, 1.0, 9)  # nucleus of one value
    assert len(set(run(100.0, 1.0, 0))) > 6


def test_continuation_beyond_the_context_goes_on() -> None:
    model = model_of((40, 9), context=16)
    found = list(continue_codes(model, codes_of((40, 9), 30), 40, Sampler(1, 0.9, 0)))
    assert len(found) == 40
    assert all(0 <= codes[0] < 40 and 0 <= codes[1] < 9 for codes in found)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (np.zeros((1, 4), int), r"the prompt's codes are \[1, 4\], the language model needs \[2, frames\]"),
        (np.zeros((2, 0), int), r"\[2, 0\]"),
        (np.array([[1], [9]]), "codebook 1 has 9 entries, the prompt's codes are 9 to 9"),
    ],
)
def test_bad_prompts(prompt: np.ndarray, message: str) -> None:
    with pytest.raises(LanguageModelError, match=message):
        next(iter(continue_codes(model_of((40, 9)), prompt, 4, Sampler(1, 1, 0))))
    with pytest.raises(LanguageModelError, match="need a temperature of 0 or more"):
        Sampler(-1, 1, 0)


def test_file(tmp_path: Path) -> None:
    model = model_of((40, 300))
    files.save(model, tmp_path / "lm")
    again = files.load(tmp_path / "lm")
    codes = codes_of((40, 300), 9)
    assert np.array_equal(nats_of(again, codes), nats_of(model, codes))
    assert again.config == model.config
    (tmp_path / "lm" / "config.json").write_text(json.dumps({"format": "x"}))
    with pytest.raises(LanguageModelError, match=r"config\.json: not a language model"):
        files.load(tmp_path / "lm")
    with pytest.raises(LanguageModelError, match="none"):
        files.load(tmp_path / "none")


def test_export_is_the_same_model_as_a_plain_llama(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, codes = model_of((512,)), codes_of((512,), 20)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)  # reserved features survive training
    model.train()
    for seed in range(20):
        batch = np.stack([sequence_of(codes_of((512,), 20, seed), model.config)])
        loss = model(torch.from_numpy(batch)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    export.export(model, tmp_path / "llama", 75.0)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "llama").eval()
    about = json.loads((tmp_path / "llama" / "audiocodec.json").read_text())
    tokens = [about["special"]["bos"]]
    for code in codes[0]:
        tokens += [about["codes"] + about["leading_digit_of_code"][code], int(code)]
    with torch.inference_mode():
        logs = plain(torch.tensor([tokens])).logits[0].double().log_softmax(-1)
    theirs = [-(logs[2 * t, tokens[2 * t + 1]] + logs[2 * t + 1, tokens[2 * t + 2]]).item() for t in range(20)]
    assert theirs == pytest.approx(nats_of(model, codes)[0].tolist(), abs=2e-3)
    text = "<bos> " + " ".join(f"<digit_{about['leading_digit_of_code'][code]}> <code_{code}>" for code in codes[0])
    assert AutoTokenizer.from_pretrained(tmp_path / "llama")(text)["input_ids"] == tokens
    drawn = plain.generate(
        torch.tensor([tokens[:3]]), max_new_tokens=8, do_sample=True, pad_token_id=about["special"]["pad"]
    )
    digits = [about["leading_digit_of_code"][code] for code in drawn[0, 4::2].tolist() if code < 512]
    assert [token - 512 for token in drawn[0, 3::2].tolist()][: len(digits)] == digits


def test_models_that_no_plain_llama_is() -> None:
    for sizes in ((40, 300), (200,)):
        with pytest.raises(LanguageModelError, match="a plain Llama needs one codebook of 257 to 65,536 entries"):
            export.export(model_of(sizes), Path("unused"), 75.0)
