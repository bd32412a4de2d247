"""What a model's files say about how to use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DEFAULT_CONTEXT = 4096


def context(config: dict[str, Any], tokenizer: Any) -> int:
    """Tokens of prompt and answer together."""
    limit = config.get("max_position_embeddings") or config.get("text_config", {}).get("max_position_embeddings")
    # transformers says 10**30 where a tokenizer names no limit
    known = [int(n) for n in (limit, tokenizer.model_max_length) if n and n < 10**9]
    return known[0] if known else DEFAULT_CONTEXT


def sampling(folder: Path) -> dict[str, Any]:
    """What the model's makers recommend where nobody asks for anything else."""
    try:
        config = json.loads((folder / "generation_config.json").read_text())
        wanted = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
        return {k: config[k] for k in wanted if config.get(k) is not None} if config.get("do_sample") else {}
    except (OSError, ValueError, AttributeError):
        return {}
