"""First configurations, the models of tiers that the environment gives, and where each value is from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.config.effective import HIDDEN, effective, origin
from routerd.config.load import ConfigFailedError, Loaded, load
from routerd.config.presets import PRESETS, render
from routerd.routing.decide import decide
from routerd.routing.features import Features
from routerd.routing.table import compile_table
from routerd_client.chat import ChatRequest, Message
from tests.support.view import FakeView

TIERS = "backends: {local_fast: , local_heavy: {mlx: {pin: true}}, cloud: {}}\ndefault: local_fast\n"


def loaded(text: str, **environ: str) -> Loaded:
    return load(text, "routes.yaml", environ)


def models(config: Loaded) -> dict[str, tuple[str, str]]:
    specs = {name: (backend.kind, backend.mlx or backend.http) for name, backend in config.config.backends.items()}
    return {name: (kind, spec.model) for name, (kind, spec) in specs.items() if spec}


# presets

_references = st.sampled_from(
    ["demo", "org/name", "~/models/x", "./a.gguf", "claude-haiku-4-5", "grok-4", "gemma2:2b", "/primary"]
)


@given(st.sampled_from(list(PRESETS)), st.lists(_references, max_size=3))
def test_every_preset_is_without_mistakes_and_warnings(name: str, given: list[str]) -> None:
    text = render(name, given[: PRESETS[name].places])
    assert [note for note in loaded(text).warnings if "(yet)" not in note.message] == []
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("name", "endpoints", "default"),
    [
        ("two", ["primary", "secondary"], "primary"),
        ("mlx-stack", ["fast", "standard", "longctx"], "standard"),
        ("autobot", ["simple", "complex", "auto"], "auto"),
        ("timmy", ["auto", "heavy"], "auto"),
    ],
)
def test_a_preset_has_exactly_these_endpoints(name: str, endpoints: list[str], default: str) -> None:
    config = loaded(render(name)).config
    assert (list(config.endpoints), config.default) == (endpoints, default)


def test_models_are_taken_in_the_order_of_the_names_and_the_last_takes_the_rest() -> None:
    config = loaded(render("mlx-stack", ["org/a", "org/b"])).config
    assert [config.endpoints[name].fallback for name in ("fast", "standard", "longctx")] == [
        ("a", "b"),
        ("b", "a"),
        ("b",),
    ]


def test_a_model_whose_name_an_endpoint_has_gets_another() -> None:
    assert list(loaded(render("two", ["/models/primary", "/models/routed"])).config.backends) == [
        "primary-2",
        "routed-2",
    ]


def test_what_is_no_model_or_one_too_many_is_told() -> None:
    with pytest.raises(ValueError, match="'nonsense' is not known here"):
        render("two", ["nonsense"])
    with pytest.raises(ValueError, match="use for 2 models, not 3"):
        render("two", ["demo"] * 3)


@pytest.mark.parametrize(
    ("prompt", "first"),
    [("Walk to the next room", "local_fast"), ("Plan the optimal path to become Hortator", "local_heavy")],
)
def test_the_tiers_of_the_preset_timmy_are_chosen_as_documented(prompt: str, first: str) -> None:
    table = compile_table(loaded(render("timmy")).config)
    decision = decide(table, Features(ChatRequest(messages=[Message("user", prompt)])), FakeView()).decision
    order = [candidate.backend for candidate in decision.candidates]
    assert (order[0], order[-1]) == (first, "cloud")


def test_the_examples_of_the_document_are_without_mistakes() -> None:
    text = (Path(__file__).parents[2] / "docs/compat.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert [loaded(block).warnings for block in blocks] == [[], []]


# tiers


def test_tiers_that_nobody_names_have_their_own_models() -> None:
    assert models(loaded(TIERS)) == {
        "local_fast": ("mlx", "mlx-community/Meta-Llama-3.1-8B-Instruct-4bit"),
        "local_heavy": ("mlx", "mlx-community/Hermes-3-Llama-3.1-70B-4bit"),
        "cloud": ("anthropic", "claude-haiku-4-5"),
    }


def test_the_environment_names_the_models_that_the_file_leaves_out() -> None:
    given = {
        "TIER_LOCAL_FAST_MODEL": "org/fast",
        "TIER_LOCAL_HEAVY_MODEL": "llama3.1:70b",
        "TIER_CLOUD_MODEL": "gpt-4o",
    }
    config = loaded(TIERS, **given)
    assert models(config) == {
        "local_fast": ("mlx", "org/fast"),
        "local_heavy": ("mlx", "mlx-community/Meta-Llama-3.1-70B-Instruct-4bit"),
        "cloud": ("openai", "gpt-4o"),
    }
    assert config.config.backends["local_heavy"].mlx
    assert config.config.backends["local_heavy"].mlx.pin


def test_what_the_file_names_stays() -> None:
    text = "backends: {local_fast: {mlx: {model: demo}}, other: {mlx: {model: demo}}}\ndefault: local_fast\n"
    assert loaded(text, TIER_LOCAL_FAST_MODEL="org/x").config == loaded(text).config


def test_a_blank_variable_names_nothing() -> None:
    assert loaded(TIERS, TIER_CLOUD_MODEL=" ").config == loaded(TIERS).config


def test_an_api_of_the_files_own_gets_the_name_as_it_is() -> None:
    text = "backends: {local_fast: {openai: {base_url: 'http://127.0.0.1:11434/v1'}}}\ndefault: local_fast\n"
    assert models(loaded(text)) == {"local_fast": ("openai", "llama3.1:8b")}
    assert models(loaded(text, TIER_LOCAL_FAST_MODEL="x"))["local_fast"] == ("openai", "x")


def test_a_variable_that_names_no_model_is_told_at_the_backend() -> None:
    with pytest.raises(ConfigFailedError) as failed:
        loaded(TIERS, TIER_CLOUD_MODEL="nonsense")
    assert "routes.yaml:1:66: backends.cloud: TIER_CLOUD_MODEL names 'nonsense'" in str(failed.value)


def test_only_the_tiers_names_may_leave_their_model_out() -> None:
    with pytest.raises(ConfigFailedError, match="a kind is needed"):
        loaded("backends: {small: {}}\ndefault: small\n")


# what is in force, and where it is from

FULL = """
backends:
  small: {mlx: {model: demo, keep_alive: 90s}}
  api: {openai: {model: m, base_url: "https://h/v1", api_key: {env: KEY}, timeouts: {total: 1h}}}
endpoints:
  mixed: {fallback: [{weighted: {small: 3, api: 1}}, small], escalate_on: [refusal]}
routes:
  - {match: {platform: hub, not: {client: x}, chars: {below: 10}}, use: mixed, set: {temperature: 0, priority: normal}}
  - {match: {}, use: small, set: {stop: ["on", "1", ": "]}}
default: mixed
aliases: {"gpt-*": routed, "*": mixed}
"""


@pytest.mark.parametrize("text", [FULL, TIERS, *(render(name) for name in PRESETS)])
def test_what_is_in_force_loads_as_the_same_again(text: str) -> None:
    config = loaded(text).config
    assert loaded(json.dumps(effective(config))).config == config


def test_no_secret_is_in_what_is_in_force() -> None:
    text = """
backends:
  a: {openai: {model: m, api_key: sk-secret, headers: {Authorization: sk-secret}}}
  b: {openai: {model: m, api_key: {command: [vault, sk-secret]}}}
routes: [{match: {}, use: a, set: {api_key: sk-secret}}]
default: a
"""
    shown = effective(loaded(text).config)
    assert "sk-secret" not in json.dumps(shown)
    assert shown["backends"]["a"]["openai"]["api_key"] == HIDDEN
    assert shown["backends"]["b"]["openai"]["api_key"] == {"command": ["vault", HIDDEN]}


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("backends.small.mlx.model", "r.yaml:3"),
        ("backends.small.mlx.pin", "default"),
        ("backends.api.openai.timeouts.total", "r.yaml:4"),
        ("backends.api.openai.timeouts.stall", "default"),
        ("endpoints.mixed.fallback.0.weighted.small", "r.yaml:6"),
        ("routes.0.match.context.platform", "r.yaml:8"),
        ("routes.0.match.not.client", "r.yaml:8"),
        ("default", "r.yaml:10"),
        ("sticky.expires", "default"),
    ],
)
def test_each_value_has_its_place_or_is_a_default(path: str, where: str) -> None:
    assert origin(loaded(FULL), tuple(path.split(".")), "r.yaml") == where


def test_translated_values_say_from_what() -> None:
    text = 'model:\n  default: demo\n  platforms:\n    discord: {model: m, base_url: "http://h/v1"}\n'
    config = loaded(text)
    expected = {
        "default": "hermes model.default, r.yaml:2",
        "backends.m.openai.model": "hermes model.platforms.discord, r.yaml:4",
        "routes.0.use": "hermes model.platforms.discord, r.yaml:4",
        "backends.m.openai.tools": "default",
    }
    assert {path: origin(config, tuple(path.split(".")), "r.yaml") for path in expected} == expected
    tiers = loaded(TIERS, TIER_CLOUD_MODEL="grok-4")
    assert origin(tiers, ("backends", "cloud", "openai", "model"), "f") == "env TIER_CLOUD_MODEL"
    assert origin(tiers, ("backends", "local_heavy", "mlx", "model"), "f") == "preset timmy"
    assert origin(tiers, ("backends", "local_heavy", "mlx", "pin"), "f") == "f:1"
    tiered = loaded("tiered_routing: {}")
    assert origin(tiered, ("endpoints", "auto", "upward"), "f") == "autobot tiered_routing, f:1"
