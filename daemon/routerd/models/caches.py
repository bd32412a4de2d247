"""What mlx-lm's caches keep of each layer of a model, told from its configuration.

The rules are those of ``mlx_lm/models/*.py`` (0.32), which differ from the papers in places; where it is not known
what a layer keeps, the larger of the possible sizes is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

MOST_LAYERS = 10_000
"""A configuration that says more is broken; it is not to cost minutes to find out."""
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


class Config:
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
        return min(self.number("num_hidden_layers", "n_layer", "n_layers", "num_layers"), MOST_LAYERS)

    @property
    def hidden(self) -> int:
        return self.number("hidden_size", "n_embd", "d_model")

    @property
    def heads(self) -> int:
        return self.number("num_attention_heads", "n_head", "n_heads")

    @property
    def head_dim(self) -> int:
        return self.number("head_dim") or self.hidden // max(self.heads, 1)


def layer_kinds(c: Config) -> Counter[str]:
    """How many layers attend to all tokens (``full``), to a window (``sliding``), or keep a ``state``."""
    named = c.list("layer_types", "layers_block_type", "hybrid_override_pattern")
    count = (len(named) or c.layers) - c.number("num_kv_shared_layers")
    kinds = [KINDS.get(name, "full") for name in named[:count]] or _periodic(c, count)
    rotating = c.types & ROTATING and c.number("sliding_window")
    return Counter("full" if kind == "sliding" and not rotating else kind for kind in kinds)


def _periodic(c: Config, count: int) -> list[str]:
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


def kept_per_token(c: Config) -> tuple[int, int]:
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


def kept_state(c: Config, dtype: int) -> int:
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
