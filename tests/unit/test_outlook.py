"""What is known of a model from its folder, before anybody has loaded it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from routerd.config.schema import MlxSpec
from routerd.models.size import DEFAULT_CONTEXT, Weights, context_of, footprint, read_context
from routerd.supervisor.errors import ProcessFailedError
from routerd.supervisor.learned import Learned
from routerd.supervisor.outlook import outlook_of
from routerd.supervisor.sizing import size_of
from tests.support.tiny_model import make_tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path, context=4096)


@pytest.mark.parametrize(
    ("config", "tokenizer", "context"),
    [
        ({"max_position_embeddings": 8192}, None, 8192),
        ({"max_position_embeddings": 8192}, 2048, 8192),
        ({"text_config": {"max_position_embeddings": 131_072}}, 1e30, 131_072),
        ({"n_positions": 1024}, 1e30, 1024),
        ({}, 2048, 2048),
        ({}, 1e30, DEFAULT_CONTEXT),
        ({"max_position_embeddings": None}, None, DEFAULT_CONTEXT),
        ({"max_position_embeddings": "many"}, None, DEFAULT_CONTEXT),
    ],
)
def test_the_context_is_the_models_else_its_tokenizers(
    config: dict[str, Any], tokenizer: float | None, context: int
) -> None:
    assert context_of(config, tokenizer) == context


def test_the_context_is_read_from_the_folder(folder: Path) -> None:
    assert read_context(folder) == 4096
    (folder / "config.json").write_text("{}")
    assert read_context(folder) == DEFAULT_CONTEXT
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 777}))
    assert read_context(folder) == 777
    (folder / "tokenizer_config.json").unlink()
    assert read_context(folder) == DEFAULT_CONTEXT


@pytest.mark.parametrize("damage", ["[]", "{", '{"model_max_length": "long"}'])
def test_a_damaged_folder_has_no_context(folder: Path, damage: str) -> None:
    (folder / "tokenizer_config.json").write_text(damage)
    with pytest.raises(ValueError, match=r"."):
        read_context(folder)


def test_a_cap_makes_it_smaller_and_never_larger(folder: Path) -> None:
    assert outlook_of(MlxSpec(model="m", context=100), folder, Learned()).context == 100
    assert outlook_of(MlxSpec(model="m", context=10**6), folder, Learned()).context == 4096


def test_what_the_caches_cannot_hold_is_no_context(folder: Path) -> None:
    tight = MlxSpec(model="m", kv_tokens=1024, prompt_cache=0, concurrency=1)

    assert outlook_of(tight, folder, Learned()).context == 1024 - 256, "a cache that is full grows by a step"
    assert outlook_of(MlxSpec(model="m"), folder, Learned()).context == 4096


def test_the_ranks_of_a_group_hold_so_many_tokens(folder: Path) -> None:
    group = MlxSpec(model="m", kv_tokens=1000, hosts=("127.0.0.1", "127.0.0.1"))

    assert outlook_of(group, folder, Learned()).context == 1000


def test_a_configuration_that_is_not_understood_limits_nothing() -> None:
    strange = footprint({"model_type": "perceptron"}, Weights(10**6, 2))

    assert strange.estimated
    assert strange.longest(0) is None


def test_the_seconds_of_an_earlier_load_are_remembered(folder: Path) -> None:
    spec, learned = MlxSpec(model="m"), Learned()
    size = size_of(spec, folder, learned)
    assert size.footprint
    assert outlook_of(spec, folder, learned).load_s == 0
    learned.record(size.key, size.footprint, peak=1, load_s=4.5)

    assert outlook_of(spec, folder, learned).load_s == 4.5


def test_damaged_weights_are_no_outlook(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"<html>")
    with pytest.raises(ProcessFailedError):
        outlook_of(MlxSpec(model="m"), folder, Learned())
