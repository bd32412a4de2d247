"""Other routers' files as ours: what they come to, and what is said of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.config.effective import effective
from routerd.config.importers import IMPORTERS, Imported, import_text
from routerd.config.load import ConfigFailedError, load

DATA = Path(__file__).parents[1] / "data/import"
FILES = {
    "litellm": ["litellm.yaml"],
    "llama-swap": ["llama-swap.yaml"],
    "hermes": ["hermes.yaml"],
    "ollama": ["ollama-list.txt", "Modelfile"],
}


def imported(system: str, file: str) -> Imported:
    return import_text(system, (DATA / file).read_text(), file)


def shown(system: str, text: str) -> dict[str, Any]:
    """What is in force by the imported file."""
    return effective(load(import_text(system, text, "theirs").text, "routes.yaml").config)


def of(system: str, file: str) -> dict[str, Any]:
    return shown(system, (DATA / file).read_text())


@pytest.mark.parametrize(("system", "file"), [(system, file) for system in IMPORTERS for file in FILES[system]])
def test_what_is_left_behind_stands_at_the_head_with_its_line(system: str, file: str) -> None:
    made, theirs = imported(system, file), (DATA / file).read_text().splitlines()
    head = [line.removeprefix("#   ") for line in made.text.splitlines() if line.startswith("#   ")]
    assert head == [str(note) for note in made.notes]
    assert [note for note in made.notes if not theirs[note.line - 1].strip()] == []


def test_litellms_groups_become_endpoints_that_are_followed_by_others() -> None:
    made = of("litellm", "litellm.yaml")
    first, second, third = (endpoint["fallback"] for endpoint in made["endpoints"].values())
    shares = {"gpt-4o-1": 3.0, "gpt-4o-2": 1.0}
    assert (first[0]["weighted"], first[1]) == (shares, "claude-1")
    assert (second[0], second[1]["weighted"]) == (
        "claude-1",
        shares,
    )  # each follows the other, and there is no way round
    assert third == ["big-1", "claude-1"]
    assert made["aliases"] == {"local/qwen": "local-qwen", "gpt-4": "gpt-4o", "old": "claude"}
    assert made["default"] == "gpt-4o"
    assert (made["health"]["allowed_fails"], made["health"]["cooldown"]) == (3, "30s")


def test_litellms_deployments_keep_addresses_keys_limits_and_prices() -> None:
    backends = of("litellm", "litellm.yaml")["backends"]
    azure, openai, claude, local, groq = backends.values()
    assert azure["openai"]["base_url"] == "https://ours-eu.openai.azure.com/openai/v1"
    assert azure["openai"]["api_key"] == {"env": "AZURE_EU_KEY"}
    assert azure["quota"][0]["requests"] == 480
    assert (openai["quota"][0]["tokens"], openai["price"]["output"]) == (100_000, 10.0)
    assert (claude["anthropic"]["max_tokens"], claude["anthropic"]["timeouts"]["first_token"]) == (8192, "30s")
    assert (local["openai"]["base_url"], local["openai"]["vision"]) == ("http://localhost:11434/v1", False)
    assert groq["openai"]["api_key"] == {"env": "GROQ_API_KEY"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (27, "litellm_params.vertex_project"),
        (35, "bedrock-sonnet: nothing here asks 'bedrock/"),
        (39, "embed: mode embedding"),
        (40, "'*' stands for any model"),
        (45, "model_group_alias.gone: there is no 'nobody'"),
        (58, "master_key: routerd makes a token of its own"),
    ],
)
def test_what_litellm_has_and_we_have_not_is_said_line_by_line(line: int, said: str) -> None:
    notes = imported("litellm", "litellm.yaml").notes
    assert [note for note in notes if note.line == line and said in note.what]


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ("", {"weighted": {"a-1": 1.0, "a-2": 1.0}}),
        ("router_settings: {routing_strategy: least-busy}", {"balance": ["a-1", "a-2"]}),
        ("router_settings: {routing_strategy: latency-based-routing}", {"balance": ["a-1", "a-2"]}),
    ],
)
def test_litellms_strategies(settings: str, target: dict[str, Any]) -> None:
    one = "{model_name: a, litellm_params: {model: gpt-4o}}"
    endpoint = shown("litellm", f"model_list: [{one}, {one}]\n{settings}\n")["endpoints"]["a"]
    assert {key: endpoint[key] for key in target} == target


def test_litellms_orders_are_fallbacks() -> None:
    text = "".join(
        f"- {{model_name: a, litellm_params: {{model: gpt-4o, order: {order}, api_base: 'http://h/{order}'}}}}\n"
        for order in (2, 1)
    )
    assert shown("litellm", f"model_list:\n{text}")["endpoints"]["a"]["fallback"] == ["a-2", "a-1"]


def test_llama_swaps_models_run_here_where_they_can_and_there_where_not() -> None:
    made = of("llama-swap", "llama-swap.yaml")
    coder = made["backends"]["qwen-coder"]["mlx"]
    assert (coder["model"], coder["context"], coder["concurrency"]) == ("~/models/qwen2.5-coder-7b-q8_0.gguf", 8192, 4)
    assert (coder["keep_alive"], coder["preload"], coder["load_timeout"]) == ("5m", True, "4m")
    kept = made["backends"]["mlx-qwen3"]["mlx"]
    assert (kept["model"], kept["keep_alive"], kept["pin"]) == (
        "mlx-community/Qwen3-4B-Instruct-2507-4bit",
        "forever",
        True,
    )
    for name in ("llama-70b", "vllm"):
        asked = made["backends"][name]["openai"]
        assert (asked["model"], asked["base_url"]) == (name, "http://127.0.0.1:8080/v1")
    assert made["backends"]["openrouter-z-ai-glm-4.7"]["openai"]["base_url"] == "https://openrouter.ai/api/v1"
    assert made["aliases"]["gpt-4o-mini"] == made["aliases"]["coder"] == "qwen-coder"
    assert made["aliases"]["mlx/qwen3"] == "mlx-qwen3"
    assert made["log"]["level"] == "warning"


def test_a_long_context_of_llama_swap_gets_the_memory_it_needs() -> None:
    text = "models: {a: {cmd: llama-server -m a-q8_0.gguf -c 65536}}\n"
    mlx = shown("llama-swap", text)["backends"]["a"]["mlx"]
    assert (mlx["context"], mlx["kv_tokens"]) == (65_536, 65_536)


def test_hermess_parts_become_endpoints_of_their_names() -> None:
    made = of("hermes", "hermes.yaml")
    assert {name: endpoint["fallback"] for name, endpoint in made["endpoints"].items()} == {
        "primary": ["qwen3-32b", "claude-haiku-4-5"],
        "delegation": ["qwen3-4b"],
        "vision": ["google-gemini-2.5-flash"],
        "title_generation": ["qwen3-4b"],
    }
    assert made["default"] == "primary"
    assert made["backends"]["qwen3-32b"]["openai"]["context"] == 65_536
    assert made["backends"]["qwen3-32b"]["billing"] == "local"  # of the own network
    said = [note.what for note in imported("hermes", "hermes.yaml").notes]
    assert [what for what in said if "unheard-of" in what]
    assert {"display", "terminal"} <= set(said)


def test_ollamas_models_are_converted_where_a_conversion_is_known() -> None:
    made = of("ollama", "ollama-list.txt")
    kinds = {name: next(kind for kind in ("mlx", "openai") if kind in spec) for name, spec in made["backends"].items()}
    assert kinds == {
        "llama3.2:3b": "mlx",
        "qwen3:8b": "mlx",
        "nomic-embed-text": "openai",
        "hf.co-bartowski-x-GGUF:Q4_K_M": "openai",
    }
    assert made["aliases"]["nomic-embed-text:latest"] == "nomic-embed-text"
    assert made["backends"]["nomic-embed-text"]["openai"]["base_url"] == "http://127.0.0.1:11434/v1"
    assert made["backends"]["nomic-embed-text"]["openai"]["local"] is True


@pytest.mark.parametrize(("tag", "local"), [("x:7b", True), ("gpt-oss:120b-cloud", False), ("glm-9:cloud", False)])
def test_what_ollama_forwards_to_its_cloud_is_not_local(tag: str, *, local: bool) -> None:
    (spec,) = shown("ollama", f"{tag}\n")["backends"].values()
    assert spec["openai"]["local"] is local
    proxy = f"model_list: [{{model_name: m, litellm_params: {{model: 'ollama/{tag}'}}}}]"
    (spec,) = shown("litellm", proxy)["backends"].values()
    assert spec["openai"]["local"] is local


def test_a_line_that_is_no_model_of_ollamas_is_said() -> None:
    said = import_text("ollama", "NAME  ID  SIZE  MODIFIED\n\nqwen3:8b\nError: could not connect\n", "theirs").notes
    assert [note.what for note in said if note.line == 4] == [
        "'Error: could not connect' is no line of a list of models"
    ]
    assert {note.line for note in said} == {3, 4}


def test_what_asks_the_daemon_itself_is_left_out() -> None:
    text = """\
model: {default: primary, provider: routerd}
providers:
  routerd: {base_url: "http://localhost:8765/v1", key_env: ROUTERD_TOKEN}
  box: {base_url: "http://127.0.0.1:8080/v1"}
fallback_providers:
  - {provider: box, model: qwen3-8b}
delegation: {provider: routerd, model: secondary}
"""
    made = import_text("hermes", text, "theirs", listen="127.0.0.1:8765")
    assert list(load(made.text, "routes.yaml").config.backends) == ["qwen3-8b"]
    said = {note.line for note in made.notes if "routerd itself listens there" in note.what}
    assert said == {1, 7}
    assert "itself" not in import_text("hermes", text, "theirs", listen="127.0.0.1:9999").text


@pytest.mark.parametrize("text", ["model_list:\n  - model_name: a\n", "models:\n", "what is this?\n"])
def test_what_is_no_list_of_ollamas_is_refused(text: str) -> None:
    with pytest.raises(ConfigFailedError, match="nothing in it can be carried over"):
        import_text("ollama", text, "theirs")


def test_a_modelfiles_parameters_become_limits_and_a_route() -> None:
    made = of("ollama", "Modelfile")
    mlx = made["backends"]["llama3.2:3b"]["mlx"]
    assert (mlx["context"], mlx["max_tokens"]) == (32_768, 512)
    assert made["routes"][0]["set"] == {"temperature": 0.8, "stop": ["<|eot_id|>"]}
    said = {note.line: note.what for note in imported("ollama", "Modelfile").notes}
    assert {7, 8, 11} <= said.keys()
    assert "LICENSE" not in " ".join(said.values())


def test_a_modelfile_of_an_own_file_loads_it_here() -> None:
    assert shown("ollama", "FROM ./m.Q8_0.gguf\n")["backends"]["m.Q8_0"]["mlx"]["model"] == "./m.Q8_0.gguf"


NOTHING = ["", "a: [", "just: text\n", "model_list: 3\nmodels: 4\nmodel: 5\n"]


@pytest.mark.parametrize(
    ("system", "text"), [("ollama", ""), *((system, text) for system in IMPORTERS[:-1] for text in NOTHING)]
)
def test_what_has_nothing_for_us_is_refused_with_its_name(system: str, text: str) -> None:
    with pytest.raises(ConfigFailedError, match="theirs"):
        import_text(system, text, "theirs")


WORDS = (
    *(
        "model_list",
        "model_name",
        "litellm_params",
        "model",
        "router_settings",
        "fallbacks",
        "models",
        "cmd",
        "aliases",
    ),
    *("groups", "members", "peers", "proxy", "providers", "fallback_providers", "auxiliary", "delegation", "default"),
    *("base_url", "ttl", "macros", "a"),
)
KEYS = st.sampled_from(WORDS)
VALUES = st.sampled_from(["a", "gpt-4o", "llama-server -m x-q8_0.gguf -c 9", "demo", "", "${a}", 3, 0, True, None])
TREES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


@given(tree=st.dictionaries(KEYS, TREES, max_size=5), system=st.sampled_from(["litellm", "llama-swap", "hermes"]))
def test_whatever_stands_in_it_the_outcome_is_a_right_file_or_a_mistake_that_is_told(tree: Any, system: str) -> None:
    try:
        made = import_text(system, json.dumps(tree), "theirs")
    except ConfigFailedError:
        return
    load(made.text, "routes.yaml")
