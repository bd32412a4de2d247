"""A small model of any of mlx-lm's architectures: random weights for a config.json."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from .tiny_model import CHATML, END, tiny_tokenizer

VOCABULARY = 384

Config = dict[str, Any]


def architectures() -> dict[str, Config]:
    """The configurations of tests/data/architectures.json: one for each architecture of mlx-lm.

    Left out are those that need Metal or another package, and phi3small, which writes beyond its memory on a CPU.
    """
    found: dict[str, Config] = json.loads((Path(__file__).parents[1] / "data/architectures.json").read_text())
    return found


def make_random_model(folder: Path, config: Config, *, weights: bool = True, seed: int = 1) -> Path:
    """Write a model of ``config``, whose vocabulary has `VOCABULARY` entries, to ``folder``, and return that.

    In 32 bits. Without ``weights`` there is one tensor that no model has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer(VOCABULARY, ["<|endoftext|>", "<|im_start|>", END])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "bos_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
        "chat_template": CHATML,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = config | {"eos_token_id": tokenizer.token_to_id(END)}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = _random(config, seed) if weights else {"nothing": mx.zeros(1)}
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, metadata={"format": "mlx"})
    return folder


def _random(config: Config, seed: int) -> dict[str, Any]:
    module = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    mx.random.seed(seed)
    model = module.Model(module.ModelArgs.from_dict(config))
    short = (mx.float16, mx.bfloat16)
    return {
        name: array.astype(mx.float32) if array.dtype in short else array
        for name, array in tree_flatten(model.parameters())
    }
