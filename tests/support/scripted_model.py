"""A whole model that always writes one script: a real tokenizer and a real llama, whose blocks add nothing and whose
head knows, for each token, the one that follows it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

END = "<|im_end|>"
BEGIN = "<|begin|>"
CHAT = (
    "{% if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + (m.content or '') + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant' + opening | default('') + '<|begin|>' }}{% endif %}"
)
HERMES = "{# <tool_call>{{ tool_call.name }}</tool_call> <think></think> #}"


def make_scripted_model(
    folder: Path,
    script: Sequence[str | bytes],
    *,
    specials: Sequence[str] = (),
    template: str = CHAT + HERMES,
    end: str = END,
) -> Path:
    """Write a model to ``folder`` that answers everything with ``script``, then the end token ``end``.

    Each part of the script is one token, so no part may come twice; those in ``specials`` are special tokens, bytes
    may be parts of a character.
    """
    folder.mkdir(parents=True, exist_ok=True)
    assert len(set(script)) == len(script), "a token is followed by one other"
    tokenizer = _tokenizer(script, ["<|im_start|>", END, BEGIN, *specials])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": end,
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    ids = [tokenizer.token_to_id(part if part in specials else _letters(part)) for part in script]
    _write_weights(folder, tokenizer.get_vocab_size(), [*ids, tokenizer.token_to_id(end)])
    return folder


def _letters(part: str | bytes) -> str:
    """``part`` as byte-level tokenizers write it: printable bytes as they are, the others from U+0100 on."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = {byte: chr(0x100 + at) for at, byte in enumerate(byte for byte in range(256) if byte not in kept)}
    raw = part if isinstance(part, bytes) else part.encode()
    return "".join(moved.get(byte, chr(byte)) for byte in raw)


def _tokenizer(script: Sequence[str | bytes], specials: list[str]) -> Tokenizer:
    words = [_letters(bytes([byte])) for byte in range(256)]
    words += [_letters(part) for part in script if part not in specials]
    vocabulary = {word: at for at, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    return tokenizer


def _write_weights(folder: Path, vocabulary: int, script: list[int]) -> None:
    hidden = -(-vocabulary // 64) * 64
    config = {
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": 1,
        "intermediate_size": 64,
        "num_attention_heads": hidden // 64,
        "num_key_value_heads": hidden // 64,
        "rms_norm_eps": 1e-5,
        "vocab_size": vocabulary,
        "tie_word_embeddings": False,
        "max_position_embeddings": 4096,
        "eos_token_id": script[-1],
    }
    follows = dict.fromkeys(range(vocabulary), script[0])  # whatever the prompt ends with
    follows |= dict(pairwise(script))
    head = mx.zeros((vocabulary, hidden))
    head[mx.array(list(follows.values())), mx.array(list(follows))] = 1.0
    weights = dict(tree_flatten(Model(ModelArgs.from_dict(config)).parameters()))
    for name, array in weights.items():
        weights[name] = mx.ones_like(array) if "norm" in name else mx.zeros_like(array)
    weights |= {"model.embed_tokens.weight": mx.eye(vocabulary, hidden), "lm_head.weight": head}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config))
