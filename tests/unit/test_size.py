"""What models need, against figures worked out by hand from published configurations.

Where mlx-lm does not do what the papers say, the figure is what its caches hold.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.models.errors import BrokenModelError
from routerd.models.size import BASE, PREFILL_LARGEST, TOKENIZER, Footprint, Weights, estimate, footprint, read_weights

MB = 1_000_000
BF16 = Weights(size=1000 * MB, dtype=2)

TINY = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
SMOLLM2_135M = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
}
LLAMA_3_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
QWEN3_06B = {
    "model_type": "qwen3",
    "hidden_size": 1024,
    "num_hidden_layers": 28,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "sliding_window": None,
    "use_sliding_window": False,
}
MISTRAL_7B = LLAMA_3_8B | {"model_type": "mistral", "sliding_window": 4096}
GEMMA_2_2B = {
    "model_type": "gemma2",
    "hidden_size": 2304,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 4096,
    "layer_types": ["sliding_attention", "full_attention"] * 13,
}
GEMMA_3_4B = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    },
    "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27},
}
GPT_OSS_20B = {
    "model_type": "gpt_oss",
    "hidden_size": 2880,
    "num_hidden_layers": 24,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
}
DEEPSEEK_V2_LITE = {
    "model_type": "deepseek_v2",
    "hidden_size": 2048,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}
DEEPSEEK_V3 = DEEPSEEK_V2_LITE | {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
}
MAMBA_28B = {
    "model_type": "mamba",
    "hidden_size": 2560,
    "intermediate_size": 5120,
    "num_hidden_layers": 64,
    "state_size": 16,
    "conv_kernel": 4,
}
GRANITE_4_TINY = {
    "model_type": "granitemoehybrid",
    "hidden_size": 1536,
    "num_hidden_layers": 40,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "layer_types": ["attention" if i in (5, 15, 25, 35) else "mamba" for i in range(40)],
    "mamba_n_heads": 48,
    "mamba_d_head": 64,
    "mamba_d_state": 128,
    "mamba_d_conv": 4,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
}
QWEN3_NEXT = {
    "model_type": "qwen3_next",
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "full_attention_interval": 4,
    "linear_num_key_heads": 16,
    "linear_key_head_dim": 128,
    "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
}
NEMOTRON_H_8B = {
    "model_type": "nemotron_h",
    "hidden_size": 4096,
    "num_hidden_layers": 52,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
    "mamba_num_heads": 128,
    "mamba_head_dim": 64,
    "ssm_state_size": 128,
    "n_groups": 8,
    "conv_kernel": 4,
}
JAMBA_V01 = {
    "model_type": "jamba",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "mamba_expand": 2,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
}
LFM2_350M = {
    "model_type": "lfm2",
    "hidden_size": 1024,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "conv_L_cache": 3,
    "layer_types": ["full_attention" if i in (2, 5, 8, 10, 12, 14) else "conv" for i in range(16)],
}


@pytest.mark.parametrize(
    ("config", "per_token"),
    [
        (SMOLLM2_135M, 23_040),  # 2 x 30 layers x 3 heads x 64 x 2 bytes; so measured
        (LLAMA_3_8B, 131_072),  # 2 x 32 x 8 x 128 x 2
        (QWEN3_06B, 114_688),  # 2 x 28 x 8 x 128 x 2: its heads are wider than 1024 / 16
        (MISTRAL_7B, 131_072),  # the window is not used to forget
        (GEMMA_2_2B, 106_496),  # 2 x 26 x 4 x 256 x 2, nor is this one
        (DEEPSEEK_V2_LITE, 276_480),  # 27 x 16 x (128 + 64 + 128) x 2: keys and values, not the latent
        (DEEPSEEK_V3, 70_272),  # 61 x (512 + 64) x 2: the latent
        (DEEPSEEK_V3 | {"model_type": "deepseek_v32", "index_head_dim": 128}, 101_504),  # 61 x (576 + 2 x 128) x 2
        ({"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12}, 36_864),  # 2 x 12 x 768 x 2
    ],
)
def test_layers_that_attend_to_everything(config: dict[str, Any], per_token: int) -> None:
    size = footprint(config, BF16)

    assert (size.kv_per_token, size.window, size.window_per_token) == (per_token, 0, 0)
    assert size.state_per_sequence == 0
    assert not size.estimated


def test_float32_weights_make_float32_caches() -> None:
    assert footprint(TINY, Weights(400_000, dtype=4)).kv_per_token == 512  # 2 x 2 x 2 x 16 x 4; so measured


@pytest.mark.parametrize(
    ("config", "per_token", "window", "window_per_token"),
    [
        (GEMMA_3_4B, 20_480, 1024, 118_784),  # 5 and 29 layers of 2 x 4 x 256 x 2
        (GPT_OSS_20B, 24_576, 128, 24_576),  # 12 and 12 of 2 x 8 x 64 x 2
        (
            LLAMA_3_8B | {"sliding_window": 8192, "layer_types": ["full_attention", "sliding_attention"] * 16},
            65_536,
            8192,
            65_536,
        ),
    ],
)
def test_layers_with_a_window(config: dict[str, Any], per_token: int, window: int, window_per_token: int) -> None:
    size = footprint(config, BF16)

    assert (size.kv_per_token, size.window, size.window_per_token) == (per_token, window, window_per_token)
    assert size.kv(65_536) == 65_536 * per_token + window * window_per_token


@pytest.mark.parametrize(
    ("config", "per_token", "state"),
    [
        (MAMBA_28B, 0, 64 * (3 * 5120 * 2 + 5120 * 16 * 4)),
        (GRANITE_4_TINY, 8192, 36 * (3 * (3072 + 2 * 128) * 2 + 3072 * 128 * 4)),
        (QWEN3_NEXT, 24_576, 36 * (3 * (2 * 2048 + 4096) * 2 + 4096 * 128 * 4)),
        (NEMOTRON_H_8B, 16_384, 24 * (3 * (8192 + 2 * 8 * 128) * 2 + 8192 * 128 * 4)),
        (JAMBA_V01, 16_384, 28 * (3 * 8192 * 2 + 8192 * 16 * 4)),
        (LFM2_350M, 12_288, 10 * 2 * 1024 * 2),
    ],
)
def test_layers_that_keep_a_state(config: dict[str, Any], per_token: int, state: int) -> None:
    size = footprint(config, BF16)

    assert (size.kv_per_token, size.state_per_sequence) == (per_token, state)
    assert size.kv(256, sequences=3) == 3 * (256 * per_token + state)
    assert not size.estimated


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "unheard_of"},
        {"model_type": "unheard_of", "num_hidden_layers": "many", "hidden_size": True, "text_config": 7},
        {"model_type": "llama", "num_hidden_layers": 32},
    ],
)
def test_a_configuration_that_says_too_little_is_taken_to_need_much(config: dict[str, Any]) -> None:
    size = footprint(config, BF16)

    assert size.estimated
    assert size.kv(4096) >= BF16.size


def test_an_unknown_kind_of_state_is_taken_to_be_large() -> None:
    config = {"model_type": "rwkv7", "num_hidden_layers": 24, "hidden_size": 2048, "head_dim": 64}
    real = 24 * (2048 * 64 * 4 + 2 * 2048 * 2)

    size = footprint(config, BF16)

    assert size.estimated
    assert size.kv_per_token == 0
    assert size.state_per_sequence >= real


def test_a_batch_is_padded_to_its_longest_in_steps_of_256() -> None:
    size = footprint(SMOLLM2_135M, BF16)

    assert size.kv(600) == 768 * 23_040
    assert size.kv(600, sequences=8) == 8 * 768 * 23_040
    assert size.kv(0, sequences=8) == 0


@given(
    lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=8),
    config=st.sampled_from([TINY, GEMMA_3_4B, GRANITE_4_TINY, DEEPSEEK_V2_LITE]),
)
def test_a_pool_is_enough_for_every_batch_whose_padded_lengths_fit_it(
    lengths: list[int], config: dict[str, Any]
) -> None:
    size = footprint(config, BF16)
    padded = -(-max(lengths) // 256) * 256

    assert size.pool(padded * len(lengths), concurrency=8) >= size.kv(max(lengths), len(lengths))


@given(pool=st.integers(0, 200_000), more=st.integers(0, 200_000), concurrency=st.integers(1, 64))
def test_more_room_never_needs_less(pool: int, more: int, concurrency: int) -> None:
    size = footprint(GEMMA_3_4B, BF16)

    assert size.needed(pool + more, concurrency, 0) >= size.needed(pool, concurrency, 0)
    assert size.needed(pool, concurrency + 1, 0) >= size.needed(pool, concurrency, 0)
    assert size.needed(pool, concurrency, more) >= size.needed(pool, concurrency, 0) >= size.base + size.weights


def test_scores_are_written_out_where_metal_cannot_fuse_them() -> None:
    def score(config: dict[str, Any], *, metal: bool) -> int:
        return footprint(config, BF16, metal=metal).score

    assert score(LLAMA_3_8B, metal=True) == 0
    assert score(LLAMA_3_8B, metal=False) == 32 * 2
    assert score(GEMMA_3_4B, metal=True) == 8 * 2  # heads of 256


def test_a_prefill_step_is_smaller_the_larger_the_model_and_experts_that_sleep_do_not_count() -> None:
    def step(config: dict[str, Any], size: int) -> int:
        return footprint(config, Weights(size, 2), metal=True).prefill_tokens

    assert step(LLAMA_3_8B, 16_000 * MB) == 312
    assert step(LLAMA_3_8B, 32_000 * MB) == 156
    assert step(GPT_OSS_20B, 32_000 * MB) == 8 * 156 + 2
    assert step(SMOLLM2_135M, 269 * MB) == PREFILL_LARGEST


# Workers without Metal, given 1 and 8 different prompts; the pool holds what they kept of them too. Measured
# is the highest resident size.
@pytest.mark.parametrize(
    ("config", "weights", "tokenizer", "pool", "concurrency", "measured"),
    [
        (SMOLLM2_135M, Weights(269 * MB, 2), 3_522_656, 1024, 1, 411 * MB),  # 895 MB reserved
        (SMOLLM2_135M, Weights(269 * MB, 2), 3_522_656, 8 * 1024, 8, 670 * MB),  # 1149
        (TINY, Weights(478_000, 4), 12_000, 4096, 1, 113 * MB),  # 193
        (TINY, Weights(478_000, 4), 12_000, 8 * 4096, 8, 184 * MB),  # 501
    ],
)
def test_what_was_measured_is_within_what_is_reserved(
    config: dict[str, Any], weights: Weights, tokenizer: int, pool: int, concurrency: int, measured: int
) -> None:
    size = footprint(config, weights, tokenizer, metal=False)

    assert measured <= size.needed(pool, concurrency, cache_limit=512 * 1024 * 1024) <= 4 * measured


def save(file: Path, tensors: dict[str, tuple[str, int]]) -> None:
    """A safetensors file, sparse: names with types and sizes in bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for name, (dtype, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [size], "data_offsets": [end, end + size]}
        end += size
    encoded = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(encoded)) + encoded)
        stream.truncate(8 + len(encoded) + end)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A model in two files, quantized, with the index that names them."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_3_8B))
    (tmp_path / "tokenizer.json").write_text("{}" + " " * 998)
    save(tmp_path / "model-00001-of-00002.safetensors", {"a.weight": ("U32", 4096), "a.scales": ("BF16", 256)})
    save(tmp_path / "model-00002-of-00002.safetensors", {"b.bias": ("BF16", 64), "gate.bias": ("F32", 128)})
    index = {
        "weight_map": {name: f"model-0000{i}-of-00002.safetensors" for name, i in (("a.weight", 1), ("b.bias", 2))}
    }
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path


def test_weights_are_counted_as_stored_and_caches_have_the_type_of_what_is_not_quantized(sharded: Path) -> None:
    assert read_weights(sharded) == Weights(size=4096 + 256 + 64 + 128, dtype=2)


def test_a_folder_is_weighed_without_loading_it(sharded: Path) -> None:
    size = estimate(sharded, metal=False)

    assert size == footprint(LLAMA_3_8B, Weights(4544, 2), 1000, metal=False)
    assert (size.weights, size.base) == (4544, BASE + 1000 * TOKENIZER)


def cut_short(folder: Path) -> None:
    file = folder / "model-00002-of-00002.safetensors"
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size - 1)


def cut_in_the_header(folder: Path) -> None:
    with (folder / "model-00001-of-00002.safetensors").open("r+b") as stream:
        stream.truncate(50)


def lose_one(folder: Path) -> None:
    (folder / "model-00001-of-00002.safetensors").unlink()


@pytest.mark.parametrize("damage", [cut_short, cut_in_the_header, lose_one])
def test_a_broken_model_is_not_weighed(sharded: Path, damage: Any) -> None:
    damage(sharded)

    with pytest.raises(BrokenModelError):
        estimate(sharded)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 7, struct.pack("<Q", 1 << 62) + b"{}", struct.pack("<Q", 2) + b"\xff\xff"]
)
def test_a_file_that_is_no_safetensors_is_broken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(BrokenModelError):
        read_weights(tmp_path)


@given(
    st.dictionaries(
        st.sampled_from(sorted({*QWEN3_NEXT, *JAMBA_V01, *DEEPSEEK_V3, *GEMMA_2_2B})),
        st.integers() | st.text() | st.booleans() | st.none() | st.lists(st.text(max_size=3), max_size=5),
    )
)
def test_any_configuration_has_a_footprint(config: dict[str, Any]) -> None:
    size = footprint(config, BF16)

    assert isinstance(size, Footprint)
    assert size.needed(4096, 8, 1000) >= BF16.size
