"""A small real model that says one sentence, whatever it is asked: agents' prompts are long, and need an answer."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.support.tiny_model import CHATML, END, TOOLS

DOCUMENTS = Path(__file__).parents[2] / "docs"
WIDTH = 64


def make_talker(folder: Path, sentence: str, *, context: int) -> Path:
    """Write the model to ``folder`` and return it. ``sentence`` may hold no token twice: each calls for the next."""
    folder.mkdir(parents=True)
    tokenizer = _tokenizer()
    end = tokenizer.token_to_id(END)
    assert end is not None
    ids = [*tokenizer.encode("\n").ids, *tokenizer.encode(sentence).ids, end]
    assert len(set(ids)) == len(ids), f"a token comes twice in {tokenizer.encode(sentence).tokens}"
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "chat_template": TOOLS + CHATML}
    config = {
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-5,
        "vocab_size": tokenizer.get_vocab_size(),
        "tie_word_embeddings": False,
        "max_position_embeddings": context,
        "eos_token_id": ids[-1],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps(config))
    mx.save_safetensors(str(folder / "model.safetensors"), _weights(config, ids), metadata={"format": "mlx"})
    return folder


def _weights(config: dict[str, object], ids: list[int]) -> dict[str, mx.array]:
    """The layer adds nothing, so a token's embedding alone decides which follows."""
    mx.random.seed(0)
    weights = dict(tree_flatten(Model(ModelArgs.from_dict(config)).parameters()))
    embedding = mx.random.normal(weights["model.embed_tokens.weight"].shape)
    head = mx.zeros(embedding.shape)
    for token, following in pairwise(ids):
        head[following] = embedding[token]
    silent = ("self_attn.o_proj.weight", "mlp.down_proj.weight")
    weights |= {name: mx.zeros(value.shape) for name, value in weights.items() if name.endswith(silent)}
    return weights | {"model.embed_tokens.weight": embedding, "lm_head.weight": head}


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=4096, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train([str(file) for file in DOCUMENTS.glob("*.md")], trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in ("<|im_start|>", END)])
    return tokenizer
