"""The tiny model as a GGUF file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""mlx-lm's names in llama.cpp's, written out a second time: the test must not share the table it tests."""


def gguf_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in NAMES:
        return f"{NAMES[stem]}.weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.weight"


def write_gguf(folder: Path, file: Path, **changes: Any) -> Path:
    """The model in ``folder`` as a GGUF file, as llama.cpp's converter would lay it out."""
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    special = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    tokens = {id_: text for text, id_ in tokenizer["model"]["vocab"].items()} | special
    metadata = {
        "general.architecture": "llama",
        "llama.embedding_length": mx.array(config["hidden_size"], mx.uint32),
        "llama.block_count": mx.array(config["num_hidden_layers"], mx.uint32),
        "llama.feed_forward_length": mx.array(config["intermediate_size"], mx.uint32),
        "llama.attention.head_count": mx.array(config["num_attention_heads"], mx.uint32),
        "llama.attention.head_count_kv": mx.array(config["num_key_value_heads"], mx.uint32),
        "llama.attention.layer_norm_rms_epsilon": mx.array(config["rms_norm_eps"], mx.float32),
        "llama.context_length": mx.array(config["max_position_embeddings"], mx.uint32),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [tokens[id_] for id_ in sorted(tokens)],
        "tokenizer.ggml.token_type": mx.array([3 if id_ in special else 1 for id_ in sorted(tokens)], mx.int32),
        "tokenizer.ggml.merges": [" ".join(merge) for merge in tokenizer["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": mx.array(config["eos_token_id"], mx.uint32),
        "tokenizer.chat_template": settings["chat_template"],
    }
    weights = mx.load(str(folder / "model.safetensors"))
    mx.save_gguf(str(file), {gguf_name(name): array for name, array in weights.items()}, metadata | changes)
    return file
