"""A language model as a plain `LlamaForCausalLM`: the folder that vLLM, llama.cpp and `transformers` load without our code.

Tokens are the codes, then the leading digits, then PAD, BOS and EOS. A sequence is BOS, then two tokens for each frame: the
leading digit of the code, and the code. After a digit only codes that begin with it have a probability above e**-30, after a code only
digits and specials: features that no layer writes to say which position it is and what the digit was (`LMConfig.reserved`),
and the output matrix weighs them more than anything else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from audiocodec.errors import LanguageModelError
from audiocodec.files import write_text
from audiocodec.lm.network import SPECIALS, TokenLM, bits_of

DECISIVE = 300.0  # weight of the reserved features in the output matrix


def export(model: TokenLM, folder: Path, frame_rate: float) -> None:
    """Write `config.json`, `model.safetensors`, a tokenizer and `audiocodec.json`, which says what the tokens are.

    Args:
        model: of one codebook.
        folder: is made.
        frame_rate: of the codec, Hz.

    Raises:
        LanguageModelError: a model of several codebooks, or of a codebook of 256 entries or fewer.
    """
    if not model.config.reserved:
        raise LanguageModelError(
            f"a plain Llama needs one codebook of 257 to 65,536 entries, this model has {list(model.config.codebook_sizes)}"
        )
    plain = as_llama(model)
    plain.save_pretrained(folder)
    names = token_names(model)
    _tokenizer(names).save_pretrained(folder)
    special = dict(zip(("pad", "bos", "eos"), range(len(names) - SPECIALS, len(names))))
    about = {
        "codec": model.config.codec,
        "frame_rate": frame_rate,
        "codes": model.config.codebook_sizes[0],
        "leading_digits": model.config.digits[0][0] - SPECIALS,
        "leading_digit_of_code": model.books()[0].digits[: model.config.codebook_sizes[0], 0].tolist(),
        "special": special,
        "sequence": "bos, then for each frame: leading digit (codes + its value), code; eos",
    }
    write_text(folder / "audiocodec.json", json.dumps(about) + "\n")


def as_llama(model: TokenLM) -> Any:
    """The same model with an embedding and an output row for every token."""
    config = LlamaConfig(**model.body.config.to_dict())
    names = token_names(model)
    config.vocab_size, config.tie_word_embeddings = len(names), False
    config.pad_token_id, config.bos_token_id, config.eos_token_id = range(len(names) - SPECIALS, len(names))
    plain = LlamaForCausalLM(config)
    body = {name: tensor for name, tensor in model.body.state_dict().items() if name != "embed_tokens.weight"}
    embeddings, outputs = _embeddings(model), _outputs(model)
    plain.model.load_state_dict({**body, "embed_tokens.weight": embeddings})
    plain.lm_head.load_state_dict({"weight": outputs})
    plain.train(False)
    return plain


def token_names(model: TokenLM) -> list[str]:
    """What each token is called."""
    digits = model.config.digits[0][0] - SPECIALS
    codes = [f"<code_{code}>" for code in range(model.config.codebook_sizes[0])]
    return [*codes, *(f"<digit_{digit}>" for digit in range(digits)), "<pad>", "<bos>", "<eos>"]


def _embeddings(model: TokenLM) -> Tensor:
    size, digits = model.config.codebook_sizes[0], model.config.digits[0][0] - SPECIALS
    words = model.config.vocabulary
    with torch.inference_mode():
        codes = model.embed_step(
            torch.cat([torch.arange(size), torch.tensor([words.pad, words.bos, words.eos])])[None, None]
        )[0]
        leading = model.embed_digits([torch.arange(digits)[None, :, None]])[0]
    return torch.cat([codes[:size], leading, codes[size:]])


def _outputs(model: TokenLM) -> Tensor:
    book, reserved = model.books()[0], model.config.reserved
    size, digits = model.config.codebook_sizes[0], model.config.digits[0][0] - SPECIALS
    with torch.inference_mode():
        first, second = book.heads.parameters()
        of_code = book.digits[:size]
        codes, leading = second[of_code[:, 1]].clone(), first.clone()
        codes[:, 0] -= DECISIVE
        codes[:, 1:reserved] += DECISIVE * bits_of(of_code[:, 0], reserved - 1)
        leading[:, 0] += DECISIVE
    return torch.cat([codes, leading[:digits], leading[digits:]])


def _tokenizer(names: list[str]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")
