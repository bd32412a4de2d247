"""What a model will need, known from its folder before it is loaded. Nothing here imports mlx.

The rules are those of mlx-lm's own caches (``models/*.py``, 0.32), which differ from the papers in
places; where it is not known what a model keeps, the larger of the possible sizes is taken.
"""

from __future__ import annotations

import json
import struct
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from .errors import BrokenModelError
from .folder import DOWNLOAD_AGAIN, check_folder

METAL = sys.platform == "darwin"
STEP = 256
"""Tokens by which mlx-lm's caches grow."""

BASE = 75_000_000
"""Bytes of a worker without a model: Python, mlx and transformers."""
TOKENIZER = 14
"""Bytes in memory for each byte of tokenizer.json: 11 to 13.5 measured, from 4 to 33 MB."""

PREFILL_S = 0.25
PREFILL_LARGEST = 2048
"""A prefill step of the worker: at most this long, and of this many tokens, those of all its prompts together."""
FLOPS = {True: 2e13, False: 2e11}
"""With and without Metal, more than most machines reach, as it is for an upper bound."""
FUSED_HEADS = (64, 80, 128)
"""Sizes of an attention head for which Metal never writes out the scores."""
FREED = 20
"""Caches are copied as they grow and join; up to 10 times their own size was seen freed and kept for reuse."""

# fmt: off
ROTATING = frozenset({
    "afmoe", "cohere2", "exaone4", "exaone_moe", "gemma3", "gemma3_text", "gemma3n", "gemma3n_text", "gemma4",
    "gemma4_text", "gpt_oss", "llama", "mellum", "ministral3", "mistral", "muse_glimmer", "olmo3", "spark2_5",
    "step3p5",
})
"""Model types whose sliding layers keep only their window; all others keep every token."""
LATENT = frozenset({
    "bailing_hybrid", "bailing_moe_v3", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa",
    "joyai_llm_flash", "kimi_k2", "kimi_k3", "kimi_linear", "kimi_vl", "mistral4",
})
"""Model types with MLA that keep the latent. All others, deepseek_v2 among them, keep the keys and
values made from it: 9 times as much in DeepSeek-V2-Lite."""
SIDE_BY_SIDE = frozenset({
    "baichuan_m1", "bailing_hybrid", "bailing_moe_linear", "bailing_moe_v3", "falcon_h1", "kimi_k3", "kimi_linear",
    "plamo2",
})
"""Model types whose layers have a state and attention, or of which it is not looked up which layer has which."""
# fmt: on
ABSENT = {
    "gemma3": {"num_attention_heads": 8, "num_key_value_heads": 4},
    "gemma3_text": {"head_dim": 256, "sliding_window": 512, "sliding_window_pattern": 6},
}
"""What published configurations leave out, and mlx-lm fills in."""
KINDS = {"sliding_attention": "sliding", "M": "state", "mamba": "state", "linear_attention": "state", "conv": "state"}
KINDS |= {"recurrent": "state", "-": "none", "E": "none", "mlp": "none", "moe": "none"}


class Weights(Struct, frozen=True):
    """The tensors of a folder: bytes of all as stored, and of one value of those that are not quantized."""

    size: int
    dtype: int


class Footprint(Struct, frozen=True, kw_only=True):
    """What one worker needs, in bytes.

    ``kv_per_token`` is of the layers that attend to everything, ``window_per_token`` of those that keep
    the last ``window`` tokens, ``state_per_sequence`` of those that keep no tokens at all.
    ``context`` is the longest sequence and ``prefill_tokens`` the largest prefill step, in tokens;
    ``activations_per_token`` and ``score``, of a pair of tokens, are what that computes with. ``estimated``:
    the configuration was not understood, and part of this is a guess on the high side.
    """

    weights: int
    base: int
    kv_per_token: int
    window: int
    window_per_token: int
    state_per_sequence: int
    context: int
    prefill_tokens: int
    activations_per_token: int
    score: int
    estimated: bool

    def kv(self, tokens: int, sequences: int = 1) -> int:
        """The caches of a batch of ``sequences`` whose longest has ``tokens``: all are padded to it."""
        padded = -(-tokens // STEP) * STEP
        return sequences * (self._attended(padded, 1) + self.state_per_sequence)

    def pool(self, tokens: int, concurrency: int) -> int:
        """The most that up to ``concurrency`` sequences keep, whose padded lengths add up to ``tokens``."""
        return self._attended(tokens, concurrency) + concurrency * self.state_per_sequence

    def scratch(self, tokens: int) -> int:
        """What prefill takes on top, at most, within a pool of ``tokens``.

        Activations are six times the hidden and three times the feed-forward size, attention scores (where
        they are written out) every pair of a step's tokens and a sequence's. A sliding layer keeps a step
        beyond its window until the next.
        """
        step, longest = min(self.prefill_tokens, tokens), min(self.context, tokens)
        return step * (self.activations_per_token + self.window_per_token + longest * self.score)

    def needed(self, pool_tokens: int, concurrency: int, cache_limit: int) -> int:
        """What to reserve before a load: the process at its largest.

        ``pool_tokens`` are those of all caches, kept prompts included; ``cache_limit`` is what mlx may keep of
        freed buffers. An upper bound; test_size.py has what was measured beside it.
        """
        pool = self.pool(pool_tokens, concurrency)
        return self.base + self.weights + pool + self.scratch(pool_tokens) + min(cache_limit, FREED * pool)

    def _attended(self, tokens: int, sequences: int) -> int:
        return tokens * self.kv_per_token + min(tokens, sequences * self.window) * self.window_per_token


def estimate(folder: Path, *, metal: bool = METAL) -> Footprint:
    """The footprint of the model in ``folder``, from its configuration and the headers of its weights.

    Blocks on the disk, some milliseconds. Raises `BrokenModelError` for what `check_folder` refuses,
    and ``OSError``.
    """
    check_folder(folder)
    tokenizer = folder / "tokenizer.json"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return footprint(config, read_weights(folder), tokenizer.stat().st_size if tokenizer.exists() else 0, metal=metal)


def read_weights(folder: Path) -> Weights:
    """Sum up the headers of every ``model*.safetensors``, as mlx-lm loads them all.

    An upper bound: mlx-lm drops some tensors, such as those that see images. Raises `BrokenModelError`.
    """
    tensors = [tensor for file in sorted(folder.glob("model*.safetensors")) for tensor in _tensors(file)]
    size = sum(tensor.data_offsets[1] - tensor.data_offsets[0] for tensor in tensors)
    floats = Counter(tensor.dtype for tensor in tensors if tensor.dtype in ("F32", "F16", "BF16"))
    return Weights(size, 4 if floats and max(floats, key=floats.__getitem__) == "F32" else 2)


class _Tensor(Struct):
    dtype: str
    data_offsets: tuple[int, int]


def _tensors(file: Path) -> list[_Tensor]:
    try:
        entries = msgspec.json.decode(_header(file), type=dict[str, msgspec.Raw])
        return [msgspec.json.decode(raw, type=_Tensor) for name, raw in entries.items() if name != "__metadata__"]
    except (struct.error, ValueError) as exc:
        raise BrokenModelError(f"{file} is no safetensors file: {exc}", hint=DOWNLOAD_AGAIN) from exc


def _header(file: Path) -> bytes:
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > file.stat().st_size:
            raise ValueError("its header is cut short")
        return stream.read(length)


class _Config:
    """A config.json, what it nests for its language model laid over the rest."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        nested = raw.get("text_config")
        self.values = {**raw, **(nested if isinstance(nested, dict) else {})}
        self.types = {str(raw.get("model_type")), str(self.values.get("model_type"))}
        for model_type in sorted(self.types & ABSENT.keys()):
            self.values = {**ABSENT[model_type], **self.values}

    def number(self, *names: str, otherwise: int = 0) -> int:
        """The first of ``names`` that is a positive whole number, of no more than any model has of anything."""
        found = (self.values.get(name) for name in names)
        return next((n for n in found if type(n) is int and 0 < n <= 10_000_000), otherwise)

    def list(self, *names: str) -> list[str]:
        """The first of ``names`` that is a list, or a string of letters."""
        found = (self.values.get(name) for name in names)
        return next(([str(item) for item in value] for value in found if isinstance(value, list | str) and value), [])

    @property
    def layers(self) -> int:
        return self.number("num_hidden_layers", "n_layer", "n_layers", "num_layers")

    @property
    def hidden(self) -> int:
        return self.number("hidden_size", "n_embd", "d_model")

    @property
    def heads(self) -> int:
        return self.number("num_attention_heads", "n_head", "n_heads")

    @property
    def head_dim(self) -> int:
        return self.number("head_dim") or self.hidden // max(self.heads, 1)


def footprint(config: Mapping[str, Any], weights: Weights, tokenizer: int = 0, *, metal: bool = METAL) -> Footprint:
    """The footprint of a model with this config.json, ``tokenizer`` being the bytes of its tokenizer.json.

    A configuration without layers and width is taken to keep as much for 4096 tokens as it weighs: most
    models keep less, some small quantized ones up to 1.4 times that.
    """
    c = _Config(config)
    kinds, state = _kinds(c), _state(c, weights.dtype)
    full, sliding = _attended(c)
    understood = c.layers and c.hidden and (full or not (kinds["full"] or kinds["sliding"]))
    intermediate = c.number("intermediate_size", "n_inner", "ffn_dim", otherwise=4 * c.hidden)
    fused = metal and c.head_dim in FUSED_HEADS
    return Footprint(
        weights=weights.size,
        base=BASE + TOKENIZER * tokenizer,
        kv_per_token=kinds["full"] * full * weights.dtype if understood else -(-weights.size // 4096),
        window=c.number("sliding_window") if kinds["sliding"] else 0,
        window_per_token=kinds["sliding"] * sliding * weights.dtype,
        # The states that are known keep 16 to 256 numbers for each of the hidden size.
        state_per_sequence=kinds["state"] * (state or 256 * 4 * c.hidden),
        context=c.number("max_position_embeddings", "n_positions", otherwise=10_000_000),
        prefill_tokens=_prefill_tokens(c, weights, FLOPS[metal]),
        activations_per_token=(6 * c.hidden + 3 * intermediate) * weights.dtype,
        score=0 if fused else c.heads * weights.dtype,
        estimated=not understood or bool(kinds["state"] and not state),
    )


def _prefill_tokens(c: _Config, weights: Weights, flops: float) -> int:
    """A token costs about as many operations as it meets bytes of weights; experts that sleep it does not meet."""
    experts = c.number("num_experts", "num_local_experts", "n_routed_experts", otherwise=1)
    active = weights.size * min(experts, c.number("num_experts_per_tok", otherwise=experts)) // experts
    return max(1, min(PREFILL_LARGEST, int(PREFILL_S * flops / max(active, 1))))


def _kinds(c: _Config) -> Counter[str]:
    """How many layers attend to all tokens (``full``), to a window (``sliding``), or keep a ``state``."""
    named = c.list("layer_types", "layers_block_type", "hybrid_override_pattern")
    count = (len(named) or c.layers) - c.number("num_kv_shared_layers")
    kinds = [KINDS.get(name, "full") for name in named[:count]] or _periodic(c, count)
    rotating = c.types & ROTATING and c.number("sliding_window")
    return Counter("full" if kind == "sliding" and not rotating else kind for kind in kinds)


def _periodic(c: _Config, count: int) -> list[str]:
    """The kinds of layers that are not listed one by one, but follow a rule."""
    if pattern := c.number("sliding_window_pattern"):
        return ["full" if (i + 1) % pattern == 0 else "sliding" for i in range(count)]
    if period := c.number("attn_layer_period"):
        return ["full" if i % period == c.number("attn_layer_offset") else "state" for i in range(count)]
    if c.number("linear_key_head_dim"):
        period = c.number("full_attention_interval", otherwise=4)
        return ["full" if (i + 1) % period == 0 else "state" for i in range(count)]
    if not c.heads:
        return ["state"] * count
    return ["full"] * count + ["state"] * (count if c.types & SIDE_BY_SIDE else 0)


def _attended(c: _Config) -> tuple[int, int]:
    """Numbers that a layer keeps for each token: one that attends to everything, and a sliding one."""
    if latent := c.number("kv_lora_rank"):
        rope = c.number("qk_rope_head_dim")
        if c.types & LATENT:
            # DeepSeek-V3.2's indexer keeps keys of its own, and as many zeros for values.
            return latent + rope + 2 * c.number("index_head_dim"), 0
        return c.heads * (c.number("qk_nope_head_dim") + rope + c.number("v_head_dim", otherwise=c.head_dim)), 0
    heads = c.number("num_key_value_heads", "num_kv_heads", otherwise=c.heads)
    wide = c.number("num_global_key_value_heads", otherwise=heads) * c.number("global_head_dim", otherwise=c.head_dim)
    return 2 * wide, 2 * heads * c.head_dim


def _state(c: _Config, dtype: int) -> int:
    """Bytes that a layer without attention keeps for a sequence: the tail of a convolution, in the model's
    type, and a recurrent state, in float32. 0 where the layer is of no known kind."""
    size = c.number("mamba_d_state", "ssm_state_size", "state_size")
    tail = (c.number("conv_L_cache", "mamba_d_conv", "conv_kernel", "linear_conv_kernel_dim") or 4) - 1
    if c.number("conv_L_cache"):
        return tail * c.hidden * dtype
    if key_dim := c.number("linear_key_head_dim"):
        values = c.number("linear_num_value_heads") * c.number("linear_value_head_dim")
        keys = c.number("linear_num_key_heads") * key_dim
        return tail * (2 * keys + values) * dtype + values * key_dim * 4
    inner = c.number("mamba_n_heads", "mamba_num_heads", "num_heads")
    inner *= c.number("mamba_d_head", "mamba_head_dim", "head_dim")
    if size and inner:  # Mamba-2
        groups = c.number("mamba_n_groups", "n_groups", otherwise=1)
        return tail * (inner + 2 * groups * size) * dtype + inner * size * 4
    inner = c.number("mamba_expand") * c.hidden or c.number("intermediate_size")
    return size and inner * (tail * dtype + size * 4)
