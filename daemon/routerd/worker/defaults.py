"""What a model's files say about how to use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..models.size import context_of


def context(config: dict[str, Any], tokenizer: Any) -> int:
    """Tokens of prompt and answer together."""
    return context_of(config, tokenizer.model_max_length)


def sampling(folder: Path) -> dict[str, Any]:
    """What the model's makers recommend where nobody asks for anything else."""
    try:
        config = json.loads((folder / "generation_config.json").read_text())
        wanted = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
        return {k: config[k] for k in wanted if config.get(k) is not None} if config.get("do_sample") else {}
    except (OSError, ValueError, AttributeError):
        return {}
