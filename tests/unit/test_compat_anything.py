"""Whatever stands in another system's block, it is read or refused with places, and nothing breaks."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from routerd.config.effective import effective
from routerd.config.load import ConfigFailedError, load

_words = st.sampled_from(["", "demo", "m", "claude-x", "a/b", "hub", "http://h/v1", "[", "routed", "a b", "${K}", "'"])
_scalars = st.one_of(st.none(), st.booleans(), st.integers(-1, 3), _words)
_keys = st.sampled_from(
    [
        "default",
        "model",
        "provider",
        "base_url",
        "api_key",
        "key_cmd",
        "key_env",
        "api_mode",
        "context_length",
        "match",
        "routes",
        "platforms",
        "by_source",
        "hub",
        "enabled",
        "models",
        "simple",
        "complex",
        "complexity_threshold",
    ]
)
_anything = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=5)),
    max_leaves=12,
)
_files = st.fixed_dictionaries(
    {},
    optional={
        "model": _anything,
        "providers": _anything,
        "custom_providers": _anything,
        "tiered_routing": _anything,
        "backends": st.one_of(st.just({"small": {"mlx": {"model": "demo"}}, "cloud": None}), _anything),
        "endpoints": st.one_of(st.just({"hub": {"fallback": ["small"]}}), _anything),
        "routes": _anything,
        "aliases": _anything,
        "default": st.one_of(st.just("small"), _anything),
    },
)


@given(_files)
def test_any_file_is_read_or_refused(file: dict[str, Any]) -> None:
    text = json.dumps(file)
    with contextlib.suppress(ConfigFailedError):
        config = load(text, "routes.yaml", {"TIER_CLOUD_MODEL": "x"}).config
        assert load(json.dumps(effective(config)), "shown").config.default == config.default


@given(_anything)
def test_any_block_of_hermes_is_read_or_refused(block: Any) -> None:
    with contextlib.suppress(ConfigFailedError):
        load(json.dumps({"model": block}), "routes.yaml")


@given(_anything)
def test_any_block_of_autobot_is_read_or_refused(block: Any) -> None:
    with contextlib.suppress(ConfigFailedError):
        load(json.dumps({"tiered_routing": block}), "routes.yaml")
