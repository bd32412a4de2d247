"""What a GGUF file's names and metadata mean in mlx-lm's terms. No tensor is touched here."""

from __future__ import annotations

import re
from typing import Any

from ..models.errors import BrokenModelError

TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
READABLE = "llama models with tensors in Q4_0, Q4_1, Q8_0, F16 or F32 can be converted"
ELSEWHERE = "use a model in mlx-lm's own format, as the mlx-community folders on Hugging Face are"


def unsupported(what: str) -> BrokenModelError:
    """The one error of a file that is whole and of a kind we cannot convert."""
    return BrokenModelError(f"{what}: only {READABLE}", hint=ELSEWHERE)


def parts(metadata: dict[str, Any]) -> int:
    """How many parts the file is one of."""
    return _int(metadata.get("split.count", 1))


def tensor_name(name: str) -> str:
    """``blk.3.attn_q.weight`` -> ``model.layers.3.self_attn.q_proj.weight``. Raises `BrokenModelError`."""
    if match := re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|scales|biases|bias)", name):
        layer, part, kind = match.groups()
        if part in LAYER:
            return f"model.layers.{layer}.{LAYER[part]}.{kind}"
    elif match := re.fullmatch(r"(\w+)\.(weight|scales|biases)", name):
        part, kind = match.groups()
        if part in TOP:
            return f"{TOP[part]}.{kind}"
    raise unsupported(f"the file has a tensor {name}")


def config(metadata: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """config.json for a file with ``metadata`` and the translated tensor ``names``.

    Raises `BrokenModelError` for architectures other than llama, and where a needed key is missing.
    """
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise unsupported(f"the file holds a {architecture} model")
    try:
        return _llama(metadata, names)
    except KeyError as exc:
        raise BrokenModelError(f"the file's metadata lacks {exc}") from exc


def _llama(metadata: dict[str, Any], names: set[str]) -> dict[str, Any]:
    hidden, heads = _int(metadata["llama.embedding_length"]), _int(metadata["llama.attention.head_count"])
    theta = metadata.get("llama.rope.freq_base")
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": hidden,
        "num_hidden_layers": _int(metadata["llama.block_count"]),
        "intermediate_size": _int(metadata["llama.feed_forward_length"]),
        "num_attention_heads": heads,
        "num_key_value_heads": _int(metadata.get("llama.attention.head_count_kv", heads)),
        "head_dim": _int(metadata.get("llama.rope.dimension_count", hidden // heads)),
        "rms_norm_eps": float(metadata["llama.attention.layer_norm_rms_epsilon"]),
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        "rope_theta": 10000.0 if theta is None else float(theta),
        # llama.cpp stores the query and key rows in the order that this kind of rotation wants.
        "rope_traditional": True,
        "max_position_embeddings": _int(metadata["llama.context_length"]),
        "tie_word_embeddings": "lm_head.weight" not in names,
        "attention_bias": "model.layers.0.self_attn.q_proj.bias" in names,
        "eos_token_id": _int(metadata["tokenizer.ggml.eos_token_id"]),
    }


def _int(value: Any) -> int:
    # mx.load gives numbers as arrays of one element
    return int(value.item() if hasattr(value, "item") else value)
