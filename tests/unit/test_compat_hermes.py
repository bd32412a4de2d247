"""Hermes's ``model:`` block: it loads as it is, and routes as it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.config.compat import translate
from routerd.config.load import ConfigFailedError, Loaded, load
from routerd.config.report import Report
from routerd.config.types import SecretSpec
from routerd.config.yamltree import Node, parse
from routerd.routing.decide import decide
from routerd.routing.features import Features
from routerd.routing.table import compile_table
from routerd_client.chat import ChatRequest, Message
from routerd_client.records import Decision
from tests.support.view import FakeView

DOCUMENTED = (Path(__file__).parents[1] / "data/compat/hermes.yaml").read_text()
DECLARED = """
backends:
  my-fast-model: {mlx: {model: demo}}
  my-strong-model: {openai: {model: strong, base_url: "https://strong.example/v1", api_key: {env: STRONG_KEY}}}
  some-other: {mlx: {model: demo}}
"""
BASE = {"default": "base", "base_url": "http://base.example/v1", "api_key": "sk-base"}

ROUTER, H = "https://openrouter.ai/api/v1", "http://h/v1"

Config = dict[str, Any]
Asked = tuple[str, str, str]
"""Model, address and key that a request would go to."""


def loaded(text: str) -> Loaded:
    return load(text, "routes.yaml")


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigFailedError) as failed:
        loaded(text)
    return list(map(str, failed.value.errors))


def warned(text: str) -> list[str]:
    return list(map(str, loaded(text).warnings))


def decision(config: Loaded, context: dict[str, str], model: str = "") -> Decision:
    chat = ChatRequest(messages=[Message("user", "hello")], model=model, context=context)
    return decide(compile_table(config.config), Features(chat), FakeView()).decision


def asked(block: Config, context: dict[str, str], model: str = "") -> Asked:
    """Where the first candidate of a request with ``context`` would be asked."""
    config = loaded(json.dumps({"model": block}))
    http = config.config.backends[decision(config, context, model).candidates[0].backend].http
    assert http
    return http.model, http.base_url, http.api_key.inline if http.api_key else ""


def apply_route(model: str, runtime: Config, block: Config | None, context: dict[str, str]) -> tuple[str, Config]:
    """What the document says, in its own terms: the measure for what is loaded and decided."""
    shorthands = (("platforms", "platform"), ("by_source", "source_kind"))
    routes = list((block or {}).get("routes") or [])
    for key, predicate in shorthands:
        for name, override in ((block or {}).get(key) or {}).items():
            fields = {"model": override} if isinstance(override, str) else override
            routes += [{**fields, "match": {predicate: name}}] if override else []
    for route in routes:
        if route["match"] and all(key in context and context[key] == value for key, value in route["match"].items()):
            given = {key: value for key, value in route.items() if key != "match" and value not in ("", None, [])}
            return given.pop("model", model), {**runtime, **given}
    return model, runtime


def test_the_documented_block_with_its_models_declared_routes_as_documented() -> None:
    config = loaded(DOCUMENTED + DECLARED)

    uses = {
        ("owner", "telegram"): "my-strong-model",
        ("owner", "hub"): "my-strong-model",  # the first match wins
        ("hub_peer", "hub"): "my-fast-model",
        ("cron", "cron"): "my-fast-model",
        ("stranger", "discord"): "some-other",
        ("stranger", "telegram"): "my-fast-model",  # no match: the base
    }
    for (source, platform), backend in uses.items():
        made = decision(config, {"source_kind": source, "platform": platform})
        assert (made.endpoint, source) == (backend, source)


def test_the_documented_block_gives_the_owners_key_to_the_declared_backend() -> None:
    route = loaded(DOCUMENTED + DECLARED).config.routes[0]
    assert route.set
    assert route.set.api_key == SecretSpec(inline="sk-owner")


def test_the_documented_block_alone_says_where_its_models_must_be_declared() -> None:
    said = complaints(DOCUMENTED)
    assert [line.split(": ")[0] for line in said] == [
        f"routes.yaml:{at}" for at in ("2:12", "5:14", "8:14", "10:14", "12:14")
    ]
    assert "nothing here answers for 'my-fast-model' (declare it ('backends: {my-fast-model: " in said[0]


def test_the_documented_block_with_an_address_needs_no_declaration() -> None:
    config = loaded(DOCUMENTED.replace("model:\n", "model:\n  base_url: http://127.0.0.1:8000/v1\n", 1))
    strong = config.config.backends["my-strong-model"].openai
    assert strong
    assert (strong.model, strong.base_url, strong.api_key) == (
        "my-strong-model",
        "http://127.0.0.1:8000/v1",
        SecretSpec(inline="sk-owner"),
    )
    assert list(config.config.backends) == ["my-fast-model", "my-strong-model", "some-other"]


# the cases that the document lists for its own function


def test_an_empty_context_is_the_base() -> None:
    assert asked({**BASE, "routes": [{"match": {"platform": "hub"}, "model": "m"}]}, {})[0] == "base"


def test_no_routes_is_the_base() -> None:
    assert asked(BASE, {"platform": "hub"}) == ("base", "http://base.example/v1", "sk-base")


@pytest.mark.parametrize(
    "nothing", ["model:\n", "model: {}\n", "model: ''\n", "model: {routes: [], platforms: null, by_source: ''}\n"]
)
def test_a_block_that_says_nothing_changes_nothing(nothing: str) -> None:
    native = "backends: {small: {mlx: {model: demo}}}\ndefault: small\n"
    assert loaded(nothing + native).config == loaded(native).config


def test_platform_alone_matches() -> None:
    block = {**BASE, "routes": [{"match": {"platform": "hub"}, "model": "m"}]}
    assert asked(block, {"platform": "hub", "source_kind": "hub_peer"})[0] == "m"
    assert asked(block, {"platform": "cli", "source_kind": "hub_peer"})[0] == "base"


def test_source_kind_alone_matches() -> None:
    block = {**BASE, "routes": [{"match": {"source_kind": "owner"}, "model": "m"}]}
    assert asked(block, {"platform": "cli", "source_kind": "owner"})[0] == "m"
    assert asked(block, {"platform": "cli", "source_kind": "stranger"})[0] == "base"


def test_all_of_a_compound_must_match() -> None:
    block = {**BASE, "routes": [{"match": {"platform": "discord", "source_kind": "stranger"}, "model": "m"}]}
    assert asked(block, {"platform": "discord", "source_kind": "stranger"})[0] == "m"
    assert asked(block, {"platform": "discord", "source_kind": "owner"})[0] == "base"


def test_the_first_match_wins() -> None:
    first, second = {"match": {"platform": "hub"}, "model": "a"}, {"match": {"source_kind": "owner"}, "model": "b"}
    context = {"platform": "hub", "source_kind": "owner"}
    assert asked({**BASE, "routes": [first, second]}, context)[0] == "a"
    assert asked({**BASE, "routes": [second, first]}, context)[0] == "b"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({"model": "m"}, ("m", "http://base.example/v1", "sk-base")),
        ({"api_key": "sk-own"}, ("base", "http://base.example/v1", "sk-own")),
        ({"base_url": "http://own.example/v1"}, ("base", "http://own.example/v1", "sk-base")),
        ({}, ("base", "http://base.example/v1", "sk-base")),
    ],
    ids=str,
)
def test_what_a_route_leaves_out_is_the_bases(override: Config, expected: Asked) -> None:
    assert asked({**BASE, "routes": [{"match": {"platform": "hub"}, **override}]}, {"platform": "hub"}) == expected


@pytest.mark.parametrize("empty", ["", None, []], ids=repr)
def test_an_empty_value_is_no_opinion(empty: object) -> None:
    override = {"model": empty, "base_url": empty, "api_key": empty, "provider": empty}
    block = {**BASE, "routes": [{"match": {"platform": "hub"}, **override}]}
    assert asked(block, {"platform": "hub"}) == ("base", "http://base.example/v1", "sk-base")


def test_0_is_a_value() -> None:
    block = {**BASE, "routes": [{"match": {"platform": "hub"}, "api_key": 0}]}
    assert asked(block, {"platform": "hub"}) == ("base", "http://base.example/v1", "0")
    assert "context_length" in complaints(json.dumps({"model": {**BASE, "context_length": False}}))[0]


def test_a_key_that_the_context_has_not_does_not_match() -> None:
    block = {**BASE, "routes": [{"match": {"platform": "hub", "source_kind": "owner"}, "model": "m"}]}
    assert asked(block, {"platform": "hub"})[0] == "base"


def test_platforms_take_a_name_or_a_block() -> None:
    block = {**BASE, "platforms": {"discord": "d", "hub": {"model": "h", "api_key": "sk-hub"}, "cli": "", "x": None}}
    assert asked(block, {"platform": "discord"}) == ("d", "http://base.example/v1", "sk-base")
    assert asked(block, {"platform": "hub"}) == ("h", "http://base.example/v1", "sk-hub")
    assert asked(block, {"platform": "cli"})[0] == "base"


def test_by_source_takes_a_block() -> None:
    block = {**BASE, "by_source": {"owner": {"model": "strong", "api_key": "sk-owner"}}}
    assert asked(block, {"source_kind": "owner"}) == ("strong", "http://base.example/v1", "sk-owner")
    assert asked(block, {"source_kind": "cron"})[0] == "base"


def test_routes_beat_platforms_and_platforms_beat_by_source() -> None:
    block = {**BASE, "platforms": {"hub": "p"}, "by_source": {"owner": {"model": "s"}}}
    context = {"platform": "hub", "source_kind": "owner"}
    assert asked(block, context)[0] == "p"
    assert asked({**block, "routes": [{"match": {"source_kind": "owner"}, "model": "r"}]}, context)[0] == "r"


# the axes around it


def test_a_model_that_the_request_names_beats_the_routes() -> None:
    block = {**BASE, "routes": [{"match": {"platform": "hub"}, "model": "m"}]}
    assert asked(block, {"platform": "hub"}, model="base")[0] == "base"


def test_an_empty_match_never_matches_and_is_warned_of() -> None:
    block = {**BASE, "routes": [{"match": {}, "model": "m"}]}
    assert asked(block, {"platform": "hub"})[0] == "base"
    assert "model.routes[0]: an empty match never matches" in "".join(warned(json.dumps({"model": block})))


@pytest.mark.parametrize("text", ["a*b", "a?", "[x]", "*"])
def test_the_values_of_a_match_are_no_patterns(text: str) -> None:
    block = {**BASE, "routes": [{"match": {"channel": text}, "model": "m"}]}
    assert asked(block, {"channel": text})[0] == "m"
    assert asked(block, {"channel": "a-b"})[0] == "base"
    assert asked(block, {"channel": "x"})[0] == "base"


def test_keys_of_the_context_that_mean_something_else_here_are_the_contexts() -> None:
    block = {**BASE, "routes": [{"match": {"model": "x", "prompt": "y", "any": "z"}, "model": "m"}]}
    assert asked(block, {"model": "x", "prompt": "y", "any": "z"})[0] == "m"


_fields: st.SearchStrategy[Config] = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["", None, [], "one", "two"]),
        "base_url": st.sampled_from(["", None, [], "http://one.example/v1", "http://two.example/v1"]),
        "api_key": st.sampled_from(["", None, [], "sk-1", "sk-2"]),
    },
)
_platforms, _sources = ("discord", "hub", "a*"), ("owner", "cron")
_contexts = st.fixed_dictionaries(
    {}, optional={"platform": st.sampled_from(["cli", *_platforms]), "source_kind": st.sampled_from(["x", *_sources])}
)
_routes = st.builds(lambda fields, match: {**fields, "match": match}, _fields, _contexts)
_blocks = st.fixed_dictionaries(
    {key: st.just(value) for key, value in BASE.items()},
    optional={
        "routes": st.lists(_routes, max_size=4),
        "platforms": st.dictionaries(st.sampled_from(_platforms), st.one_of(st.sampled_from(["", "one"]), _fields)),
        "by_source": st.dictionaries(st.sampled_from(_sources), _fields),
    },
)


@given(_blocks, _contexts)
def test_any_block_means_what_the_document_says(block: Config, context: dict[str, str]) -> None:
    runtime = {"base_url": BASE["base_url"], "api_key": BASE["api_key"]}
    model, runtime = apply_route("base", runtime, block, context)
    assert asked(block, context) == (model, runtime["base_url"], runtime["api_key"])


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.items()}
    return [plain(child) for child in node.elements()] if isinstance(node.value, list) else node.value


@given(_blocks)
def test_the_tree_that_was_read_is_left_as_it_was(block: Config) -> None:
    tree = parse(json.dumps({"model": block, "backends": {"b": {"mlx": {"model": "demo"}}}}), Report("f"))
    assert tree
    before = plain(tree)
    translate(tree, {}, Report("f"), "f")
    assert plain(tree) == before


# what answers


@pytest.mark.parametrize(
    ("block", "kind", "model", "url", "key"),
    [
        ({"default": "claude-haiku-4-5"}, "anthropic", "claude-haiku-4-5", "", "env ANTHROPIC_API_KEY"),
        ({"default": "gpt-4o"}, "openai", "gpt-4o", "", "env OPENAI_API_KEY"),
        ({"default": "grok-4"}, "openai", "grok-4", "https://api.x.ai/v1", "env XAI_API_KEY"),
        ({"default": "claude-x", "base_url": "http://h/v1"}, "openai", "claude-x", "http://h/v1", "None"),
        ({"default": "m", "provider": "anthropic", "api_key": "sk"}, "anthropic", "m", "", "inline"),
        ({"default": "a/b", "provider": "openrouter"}, "openai", "a/b", ROUTER, "env OPENROUTER_API_KEY"),
        ({"default": "m", "base_url": "http://h/v1", "api_mode": "codex_responses"}, "responses", "m", H, "None"),
        ({"default": "m", "base_url": "http://h/v1", "key_env": "K"}, "openai", "m", "http://h/v1", "env K"),
        ({"default": "m", "base_url": "http://h/v1", "api_key_env": "K"}, "openai", "m", "http://h/v1", "env K"),
        ({"default": "m", "base_url": "http://h/v1", "api_key": "${K}"}, "openai", "m", "http://h/v1", "env K"),
        ({"default": "m", "base_url": "http://h/v1", "key_cmd": "vault get 'a b'"}, "openai", "m", H, "command vault"),
    ],
)  # fmt: skip
def test_a_model_that_is_not_declared_becomes_a_backend(
    block: Config, kind: str, model: str, url: str, key: str
) -> None:
    config = loaded(json.dumps({"model": block})).config
    backend = config.backends[config.default]
    assert backend.http
    assert (backend.kind, backend.http.model, backend.http.base_url) == (kind, model, url)
    assert str(backend.http.api_key) == key


@pytest.mark.parametrize(
    ("tag", "model"),
    [
        ("gemma2:2b", "mlx-community/gemma-2-2b-it-4bit"),
        ("mistral:7b-instruct", "mlx-community/Mistral-7B-Instruct-v0.3-4bit"),
        ("llama3.1:8b", "mlx-community/Meta-Llama-3.1-8B-Instruct-4bit"),
        ("hermes3:70b", "mlx-community/Hermes-3-Llama-3.1-70B-4bit"),
        ("mlx-community/Qwen3-4B-4bit", "mlx-community/Qwen3-4B-4bit"),
        ("demo", "demo"),
    ],
)
def test_a_local_model_becomes_a_process_of_our_own(tag: str, model: str) -> None:
    config = loaded(json.dumps({"model": {"default": tag, "context_length": 8192}})).config
    mlx = config.backends[config.default].mlx
    assert mlx
    assert (mlx.model, mlx.context) == (model, 8192)


def test_each_address_and_key_is_a_backend_of_its_own_with_a_name_that_can_be_read() -> None:
    routes = [
        {"match": {"n": "1"}, "model": "m"},
        {"match": {"n": "2"}, "model": "m", "api_key": "sk-2"},
        {"match": {"n": "3"}, "model": "m", "base_url": "http://own.example/v1"},
        {"match": {"n": "4"}, "model": "m"},
    ]
    block = {**BASE, "routes": routes, "platforms": {"discord": {"model": "m", "api_key": "sk-5"}}}
    config = loaded(json.dumps({"model": block})).config
    assert list(config.backends) == ["base", "m", "m.route1", "m.route2", "m.discord"]
    assert [route.use for route in config.routes] == ["m", "m.route1", "m.route2", "m", "m.discord"]
    assert [route.name for route in config.routes][-2:] == ["model.routes[3]", "model.platforms.discord"]


def test_a_name_with_a_slash_can_still_be_asked_for() -> None:
    config = loaded(json.dumps({"model": {"default": "anthropic/claude-x", "provider": "openrouter"}}))
    assert config.config.default == "anthropic-claude-x"
    assert decision(config, {}, "anthropic/claude-x").endpoint == "anthropic-claude-x"


def test_an_endpoint_of_the_same_file_is_used_as_it_is() -> None:
    native = {"backends": {"b": {"mlx": {"model": "demo"}}}, "endpoints": {"primary": {"fallback": ["b"]}}}
    config = loaded(json.dumps({"model": {**BASE, "default": "primary"}, **native})).config
    assert (config.default, list(config.backends)) == ("primary", ["b"])


def test_the_files_own_default_and_routes_come_first() -> None:
    text = DOCUMENTED + DECLARED + "default: some-other\nroutes: [{match: {platform: hub}, use: some-other}]\n"
    config = loaded(text)
    assert config.config.default == "some-other"
    assert decision(config, {"platform": "hub", "source_kind": "owner"}).endpoint == "some-other"
    assert decision(config, {"source_kind": "owner"}).endpoint == "my-strong-model"


def test_a_whole_config_of_hermes_loads_and_says_what_it_leaves_alone() -> None:
    text = """
_config_version: 50
model: {default: primary, provider: routerd, streaming: true}
providers:
  routerd: {name: x, api: "http://127.0.0.1:8765/v1", key_env: LOCAL_KEY, api_mode: chat_completions, models: {}}
custom_providers: [{name: other, base_url: "http://127.0.0.1:1/v1"}]
memory: {memory_enabled: true}
terminal: {backend: local}
"""
    config = loaded(text)
    http = config.config.backends["primary"].openai
    assert http
    assert (http.base_url, str(http.api_key)) == ("http://127.0.0.1:8765/v1", "env LOCAL_KEY")
    said = warned(text)
    assert (
        "_config_version, memory, terminal left alone (to give memory its meaning here, write 'version: 1')" in said[0]
    )
    assert "model: streaming is Hermes's own" in said[1]


def test_a_file_of_ours_with_an_unknown_key_is_still_wrong() -> None:
    assert "unknown key 'terminal'" in complaints(DOCUMENTED + DECLARED + "terminal: {}\n")[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: {default: demo, rotes: []}", "routes.yaml:1:24: model: unknown key 'rotes' (did you mean 'routes'?"),
        ("model: {default: demo, routes: {}}", "routes.yaml:1:32: model.routes: expected a list"),
        ("model: {default: demo, platforms: [a]}", "routes.yaml:1:35: model.platforms: expected a block"),
        (
            "model: {default: demo, routes: [{model: x}]}",
            "routes.yaml:1:33: model.routes[0]: the key 'match' is missing",
        ),
        ("model: {default: demo, routes: [hub]}", "model.routes[0]: expected a block"),
        ("model: {default: demo, routes: [{match: {a: null}, model: x}]}", "model.routes[0].match.a: expected"),
        ("model: {default: demo, routes: [{match: {a: b}, model: [x]}]}", "model.routes[0].model: expected text"),
        ("model: {routes: [{match: {a: b}, api_key: x}]}", "neither it nor model.default names a model"),
        ("model: {default: m, provider: zai}", "the provider 'zai' has no address here (give its base_url)"),
        ("model: {default: m, base_url: 'http://h', api_mode: x}", "the api_mode 'x' is not known here"),
        ("model: {default: m, base_url: nowhere}", "'nowhere' is not an address"),
        ("model: [a]", "routes.yaml:1:8: model.default: expected text"),
    ],
)
def test_every_mistake_in_the_block_is_told_with_its_place(text: str, said: str) -> None:
    assert said in "\n".join(complaints(text))


def test_a_secret_in_the_block_is_warned_of_and_never_shown() -> None:
    said = "\n".join(warned(json.dumps({"model": BASE})) + warned(DOCUMENTED + DECLARED))
    assert said.count("a secret stands in the file") == 2
    assert "sk-" not in said


def test_inherited_keys_and_addresses_that_go_elsewhere_are_warned_of() -> None:
    routes = [
        {"match": {"n": "1"}, "base_url": "http://own.example/v1"},
        {"match": {"n": "2"}, "model": "claude-x", "provider": "anthropic"},
        {"match": {"n": "3"}, "base_url": "http://own.example/v1", "api_key": "sk-own"},
    ]
    said = [line for line in warned(json.dumps({"model": {**BASE, "routes": routes}})) if "a secret" not in line]
    assert len(said) == 2
    assert "model.routes[0].base_url: the key of 'model' goes there too" in said[0]
    assert "model.routes[1].provider: 'anthropic' is asked at http://base.example/v1" in said[1]


def test_what_a_declared_backend_does_not_take_from_a_route_is_warned_of() -> None:
    native = "backends: {small: {mlx: {model: demo}}}\ndefault: small\n"
    route = "{match: {a: b}, model: small, base_url: 'http://h/v1', api_key: '${K}'}"
    said = warned(native + f"model: {{routes: [{route}]}}")
    assert "model.routes[0]: base_url, api_key is not used, for 'small' is declared in this file" in said[0]
