"""What a model will need, known from its folder before it is loaded. Nothing here imports mlx."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from .caches import Config, kept_per_token, kept_state, layer_kinds
from .errors import BrokenModelError
from .folder import check_folder, read_json, read_tensors, weight_files

METAL = sys.platform == "darwin"
STEP = 256
"""Tokens by which mlx-lm's caches grow."""

BASE = 75_000_000
"""Bytes of a worker without a model: Python, mlx and transformers."""
TOKENIZER = 14
"""Bytes in memory for each byte of tokenizer.json: 11 to 13.5 measured, from 4 to 33 MB."""

DEFAULT_CONTEXT = 4096
"""Of a model that says nothing of its own."""

PREFILL_S = 0.25
PREFILL_LARGEST = 2048
"""A prefill step of the worker: at most this long, and of this many tokens, those of all its prompts together."""
FLOPS = {True: 2e13, False: 2e11}
"""With and without Metal, more than most machines reach, as it is for an upper bound."""
FUSED_HEADS = (64, 80, 128)
"""Sizes of an attention head for which Metal never writes out the scores."""
FREED = 20
"""Caches are copied as they grow and join; up to 10 times their own size was seen freed and kept for reuse."""


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

    def longest(self, pool: int) -> int | None:
        """Tokens of the longest sequence that ``pool`` bytes hold, as a worker counts it that has measured the
        caches; None where the configuration was not understood.

        A cache that is full grows by a whole step.
        """
        per_token = self.kv_per_token + self.window_per_token
        if self.estimated or not per_token:
            return None
        return max(0, ((pool - self.state_per_sequence) // (per_token * STEP) - 1) * STEP)

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

        ``pool_tokens`` are those of all caches, kept prompts included; ``cache_limit`` is the most that mlx may
        keep of freed buffers. An upper bound; test_size.py has what was measured beside it.
        """
        pool, freed = self.pool(pool_tokens, concurrency), self.freed(pool_tokens, concurrency, cache_limit)
        return self.base + self.weights + pool + self.scratch(pool_tokens) + freed

    def freed(self, pool_tokens: int, concurrency: int, cache_limit: int) -> int:
        """What mlx is planned to keep of freed buffers, ``cache_limit`` at most."""
        return min(cache_limit, FREED * self.pool(pool_tokens, concurrency))

    def _attended(self, tokens: int, sequences: int) -> int:
        return tokens * self.kv_per_token + min(tokens, sequences * self.window) * self.window_per_token


def estimate(folder: Path, *, metal: bool = METAL) -> Footprint:
    """The footprint of the model in ``folder``, from its configuration and the headers of its weights.

    Blocks on the disk, some milliseconds. Raises `BrokenModelError` for what `check_folder` refuses,
    and ``OSError``.
    """
    check_folder(folder)
    tokenizer = folder / "tokenizer.json"
    config = read_json(folder / "config.json")
    return footprint(config, read_weights(folder), tokenizer.stat().st_size if tokenizer.exists() else 0, metal=metal)


def read_context(folder: Path) -> int:
    """The context of the model in ``folder`` in tokens: prompt and answer together. Blocks on the disk.

    Raises ``OSError``, and ``ValueError`` where its configuration is damaged.
    """
    settings = folder / "tokenizer_config.json"
    try:
        limit = read_json(settings).get("model_max_length") if settings.exists() else None
        config = read_json(folder / "config.json")
    except BrokenModelError as error:
        raise ValueError(str(error)) from error
    if limit is not None and type(limit) not in (int, float):
        raise ValueError(f"{settings}: model_max_length is no number")
    return context_of(config, limit)


def context_of(config: Mapping[str, Any], tokenizer_limit: float | None) -> int:
    """The context, in tokens, of a model with this config.json; ``tokenizer_limit`` is what its tokenizer says."""
    # transformers says 10**30 where a tokenizer names no limit
    fallback = int(tokenizer_limit) if tokenizer_limit and tokenizer_limit < 10**9 else DEFAULT_CONTEXT
    return Config(config).number("max_position_embeddings", "n_positions", otherwise=fallback)


def read_weights(folder: Path) -> Weights:
    """Sum up the headers of the files of weights.

    An upper bound: mlx-lm drops some tensors, such as those that see images. Raises `BrokenModelError`.
    """
    tensors = [tensor for file in weight_files(folder) for tensor in read_tensors(file)]
    size = sum(tensor.size for tensor in tensors)
    floats = Counter(tensor.dtype for tensor in tensors if tensor.dtype in ("F32", "F16", "BF16"))
    return Weights(size, 4 if floats and max(floats, key=floats.__getitem__) == "F32" else 2)


def adapter_size(folder: Path) -> int:
    """The bytes of a fine-tuning's tensors, which its model holds beside its own. Raises `BrokenModelError`."""
    file = folder / "adapters.safetensors"
    if not file.is_file():
        hint = "an adapter is a folder that mlx-lm's training wrote: check its path"
        raise BrokenModelError(f"the adapter cannot be loaded: there is no {file}", hint=hint)
    return sum(tensor.size for tensor in read_tensors(file))


def footprint(config: Mapping[str, Any], weights: Weights, tokenizer: int = 0, *, metal: bool = METAL) -> Footprint:
    """The footprint of a model with this config.json, ``tokenizer`` being the bytes of its tokenizer.json.

    A configuration without layers and width is taken to keep as much for 4096 tokens as it weighs: most
    models keep less, some small quantized ones up to 1.4 times that.
    """
    c = Config(config)
    kinds, state = layer_kinds(c), kept_state(c, weights.dtype)
    full, sliding = kept_per_token(c)
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


def _prefill_tokens(c: Config, weights: Weights, flops: float) -> int:
    """A token costs about as many operations as it meets bytes of weights; experts that sleep it does not meet."""
    experts = c.number("num_experts", "num_local_experts", "n_routed_experts", otherwise=1)
    active = weights.size * min(experts, c.number("num_experts_per_tok", otherwise=experts)) // experts
    return max(1, min(PREFILL_LARGEST, int(PREFILL_S * flops / max(active, 1))))
