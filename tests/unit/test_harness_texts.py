"""What each agent is told: its own format, our names, and nothing that only another agent would understand."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from routerd.config.load import load
from routerd.config.schema import ConfigSpec
from routerd.gateway.caller import CONTEXT, laid_on
from routerd.harness.merge import edited
from routerd.harness.reach import supports_tools, toolless
from routerd.harness.roles import assign, context_of, doubtful, lacking
from routerd.harness.setup import Setup
from routerd.harness.table import HARNESSES
from routerd_client.chat import ChatRequest

HOME = Path("/home/me")
URL = "http://127.0.0.1:8765"
TOKEN = "rd-secret"
TOKEN_FILE = Path("/state/http token")
TEXT = """
backends:
  small: {mlx: {model: demo, kv_tokens: 70000}}
  cloud: {openai: {model: m, context: 200000}}
endpoints:
  primary: {fallback: [small, cloud]}
  secondary: {fallback: [small]}
  fast: {fallback: [small]}
  vision: {fallback: [cloud]}
default: primary
"""
PARSERS: dict[str, Any] = {
    "yaml": yaml.safe_load,
    "json": json.loads,
    "toml": tomllib.loads,
    "text": ast.parse,
    "env": lambda text: dict(line.split("=", 1) for line in text.splitlines()),
}


def config(text: str = TEXT) -> ConfigSpec:
    return load(text, "routes.yaml").config


def setup(name: str, *, url: str = URL, contexts: dict[str, int] | None = None, **chosen: str) -> Setup:
    return Setup(
        url=url,
        socket=Path("/run/routerd.sock"),
        token=TOKEN,
        token_file=TOKEN_FILE,
        roles=assign(HARNESSES[name], config(), chosen),
        names=("primary", "secondary", "fast", "vision"),
        contexts={"routed": 100_000, "primary": 100_000, "secondary": 70_000} if contexts is None else contexts,
        home=HOME,
    )


def files(name: str, **options: Any) -> dict[str, Any]:
    """What the agent's files mean, by their paths under the home."""
    edits = HARNESSES[name].edits
    assert edits
    made = edits(setup(name, **options))
    return {str(edit.path).removeprefix("/home/me/"): PARSERS[edit.format](edited(edit, "")) for edit in made}


def environment(name: str, **options: Any) -> dict[str, str]:
    told = HARNESSES[name].environment
    assert told
    return told(setup(name, **options))


@pytest.mark.parametrize("name", list(HARNESSES))
def test_every_agent_can_be_set_up_with_and_without_known_contexts(name: str) -> None:
    harness = HARNESSES[name]
    for contexts in ({}, {"primary": 100_000}):
        told = [files(name, contexts=contexts)] if harness.edits else []
        told += [environment(name, contexts=contexts)] if harness.environment else []
        assert told
    assert harness.next.format(**setup(name).roles)


@pytest.mark.parametrize("name", [name for name, harness in HARNESSES.items() if harness.edits])
def test_what_has_been_written_is_not_written_again(name: str) -> None:
    edits = HARNESSES[name].edits
    assert edits
    for edit in edits(setup(name, url="" if HARNESSES[name].unix else URL)):
        once = edited(edit, "")
        assert edited(edit, once) == once


def test_hermes_has_a_model_for_each_of_its_parts() -> None:
    made = files("hermes")
    told = made[".hermes/config.yaml"]
    assert told["model"] == {"default": "routed", "provider": "routerd"}
    assert told["delegation"] == {"provider": "routerd", "model": "secondary"}
    assert told["auxiliary"]["title_generation"] == {"provider": "routerd", "model": "fast"}
    assert told["auxiliary"]["compression"]["model"] == "routed"
    assert told["auxiliary"]["vision"]["model"] == "vision"
    assert [entry["model"] for entry in told["fallback_providers"]] == ["secondary"]
    provider = told["providers"]["routerd"]
    assert provider["base_url"] == f"{URL}/v1"
    assert provider["extra_headers"] == {"User-Agent": "hermes"}  # or it would be one more openai-python
    assert provider["models"]["routed"] == {"context_length": 100_000}
    assert list(provider["models"]) == ["routed", "secondary", "fast", "vision", "primary"]
    assert made[".hermes/.env"] == {provider["key_env"]: TOKEN}


def test_what_an_earlier_provider_of_hermes_left_is_removed() -> None:
    edits = HARNESSES["hermes"].edits
    assert edits
    old = (
        "model: {default: x, base_url: http://old, api_key: sk}\ndelegation: {max_iterations: 9, base_url: http://o}\n"
    )
    told = yaml.safe_load(edited(edits(setup("hermes"))[0], old))
    assert told["model"] == {"default": "routed", "provider": "routerd"}
    assert told["delegation"] == {"max_iterations": 9, "provider": "routerd", "model": "secondary"}


def test_claude_code_asks_the_socket_where_it_may() -> None:
    told = files("claude-code", url="")[".claude/settings.json"]
    assert told["env"]["ANTHROPIC_UNIX_SOCKET"] == "/run/routerd.sock"
    assert told["env"]["ANTHROPIC_BASE_URL"] == "http://localhost"
    assert (told["env"]["ANTHROPIC_MODEL"], told["env"]["ANTHROPIC_DEFAULT_HAIKU_MODEL"]) == ("routed", "fast")
    assert TOKEN not in json.dumps(told)
    assert environment("claude-code", url="") == told["env"]


def test_claude_code_over_tcp_reads_the_token_itself() -> None:
    told = files("claude-code")[".claude/settings.json"]
    assert told["apiKeyHelper"] == "cat '/state/http token'"
    assert told["env"]["ANTHROPIC_BASE_URL"] == URL  # without /v1
    assert "ANTHROPIC_UNIX_SOCKET" not in told["env"]
    assert TOKEN not in json.dumps(told)
    assert environment("claude-code")["ANTHROPIC_AUTH_TOKEN"] == TOKEN


def test_codex_asks_for_responses_and_reads_the_token_itself() -> None:
    told = files("codex", main="secondary")[".codex/config.toml"]
    assert (told["model"], told["model_provider"], told["model_context_window"]) == ("secondary", "routerd", 70_000)
    provider = told["model_providers"]["routerd"]
    assert (provider["base_url"], provider["wire_api"]) == (f"{URL}/v1", "responses")
    assert provider["auth"] == {"command": "cat", "args": [str(TOKEN_FILE)]}


def test_opencode_knows_every_name_and_the_rooms_that_are_known() -> None:
    told = files("opencode")[".config/opencode/opencode.json"]
    models = told["provider"]["routerd"]["models"]
    assert list(models) == ["routed", "fast", "primary", "secondary", "vision"]
    assert models["primary"]["limit"] == {"context": 100_000, "output": 8192}
    assert "limit" not in models["fast"]
    assert (told["model"], told["small_model"]) == ("routerd/routed", "routerd/fast")
    assert told["provider"]["routerd"]["options"]["apiKey"] == f"{{file:{TOKEN_FILE}}}"
    assert json.loads(environment("opencode")["OPENCODE_CONFIG_CONTENT"]) == told


def test_aider_and_continue_and_llm_and_the_others_are_told_where_and_what() -> None:
    aider = files("aider")
    assert aider[".aider.conf.yml"]["weak-model"] == "openai/fast"
    assert aider[".aider.conf.yml"]["model"] == "openai/routed"
    assert aider[".aider.model.metadata.json"]["openai/routed"]["max_input_tokens"] == 100_000 - 8192
    by_name = {one["name"]: one["extra_params"] for one in aider[".aider.model.settings.yml"]}
    assert by_name["openai/routed"] == by_name["openai/secondary"] == {"extra_headers": {"User-Agent": "aider"}}
    models = files("continue")[".continue/config.yaml"]["models"]
    assert {model["model"]: model["roles"] for model in models} == {
        "routed": ["chat", "edit", "apply"],
        "fast": ["autocomplete", "summarize"],
        **{name: ["chat"] for name in ("primary", "secondary", "vision")},
    }
    assert models[0]["requestOptions"] == {"headers": {"x-routerd-client": "continue"}}
    llm = files("llm")
    folder = next(iter(llm)).rpartition("/")[0]
    ids = [model["model_id"] for model in llm[f"{folder}/extra-openai-models.yaml"]]
    assert ids == ["routerd/routed", "routerd/primary", "routerd/secondary", "routerd/fast", "routerd/vision"]
    assert llm[f"{folder}/keys.json"] == {"routerd": TOKEN}
    assert environment("openhands")["LLM_MODEL"] == "openai/routed"
    assert environment("open-webui")["TASK_MODEL_EXTERNAL"] == "fast"
    assert environment("aider")["OPENAI_API_BASE"] == f"{URL}/v1"


@pytest.mark.parametrize("name", ["crewai", "langgraph"])
def test_frameworks_name_their_roles_to_the_routes(name: str) -> None:
    edits, routes = HARNESSES[name].edits, HARNESSES[name].routes
    assert edits
    assert routes
    made = edits(setup(name, researcher="secondary"))[0]
    assert f"process={name},role=" in made.patch
    assert TOKEN not in made.patch
    added = routes(setup(name, researcher="secondary"))["routes"]
    text = TEXT + yaml.safe_dump({"routes": added})
    route = load(text, "routes.yaml").config.routes[0]
    assert (route.use, route.match.context) == ("secondary", {"process": name, "role": "researcher"})


@pytest.mark.parametrize("name", [name for name, harness in HARNESSES.items() if not harness.free])
def test_the_printed_command_asks_for_a_model_that_was_written(name: str) -> None:
    harness = HARNESSES[name]
    for chosen in ("", "tag:cheap", "vision"):
        part = harness.roles[0].name
        config_ = config(TEXT.replace("context: 200000}", "context: 200000}, tags: [cheap]"))
        roles = assign(harness, config_, {part: chosen} if chosen else {})
        assert roles[part] == (chosen or "routed")
        made = replace(setup(name), roles=roles)
        written = json.dumps([edit.patch for edit in harness.edits(made)] if harness.edits else [])
        written += json.dumps(harness.environment(made)) if harness.environment else ""
        assert roles[part] in written
        if name in ("llm", "opencode"):
            assert f"routerd/{roles[part]}" in written
            assert f'"{roles[part]}"' in written  # in the list of models, too


def test_a_role_left_to_the_routes_needs_no_route() -> None:
    routes = HARNESSES["crewai"].routes
    assert routes
    assert routes(setup("crewai", writer="routed")) == {}


def test_what_hermes_turns_to_is_not_the_default_that_has_just_failed() -> None:
    text = TEXT.replace("default: primary", "default: secondary")
    assert "fallback" not in assign(HARNESSES["hermes"], config(text), {})


LIBRARIES = {"crewai": "class LLM", "langgraph": "class ChatOpenAI"}
SHOW = "import json; from routerd_llm import llm; print(json.dumps(llm(json.loads(input())).given['default_headers']))"


@pytest.mark.parametrize("name", list(LIBRARIES))
@pytest.mark.parametrize("role", ["Senior, Editor=1", "Größe", "100% 編集者", "a%2Cb", "plain"])
def test_any_name_of_a_role_arrives_at_the_routes(tmp_path: Path, name: str, role: str) -> None:
    edits = HARNESSES[name].edits
    assert edits
    token = tmp_path / "token"
    token.write_text(TOKEN)
    module = edits(setup(name))[0].patch.replace(repr(str(TOKEN_FILE)), repr(str(token)))
    (tmp_path / "routerd_llm.py").write_text(module)
    library = LIBRARIES[name] + ":\n    def __init__(self, **given): self.given = given\n"
    (tmp_path / ("crewai.py" if name == "crewai" else "langchain_openai.py")).write_text(library)
    told = subprocess.run(
        [sys.executable, "-c", SHOW],
        input=json.dumps(role),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    headers = {key.lower(): value for key, value in json.loads(told.stdout).items()}
    assert headers[CONTEXT].isascii()  # all that a header may hold
    assert laid_on(ChatRequest(messages=[]), headers).context == {"process": name, "role": role}


# roles


@pytest.mark.parametrize(
    ("endpoints", "roles"),
    [
        ("{}", dict.fromkeys(("main", "opus", "sonnet", "haiku", "subagent"), "routed")),
        (
            "{primary: {fallback: [only]}, haiku: {fallback: [only]}, complex: {fallback: [only]}}",
            {"main": "routed", "opus": "complex", "sonnet": "routed", "haiku": "haiku", "subagent": "routed"},
        ),
    ],
)
def test_roles_get_what_is_there(endpoints: str, roles: dict[str, str]) -> None:
    text = f"backends: {{only: {{mlx: {{model: demo}}}}}}\nendpoints: {endpoints}\ndefault: only\n"
    assert assign(HARNESSES["claude-code"], config(text), {}) == roles


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"boss": "primary"}, "'boss' is no role of it: main, opus"),
        ({"main": "tertiary"}, "nothing is called 'tertiary' in routes.yaml: primary, secondary"),
        ({"main": "tag:none"}, "nothing is called 'tag:none'"),
    ],
)
def test_a_wrong_choice_is_said_to_be_so(chosen: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        assign(HARNESSES["claude-code"], config(), chosen)


def test_an_optional_role_that_nothing_fits_is_left_out() -> None:
    text = "backends: {primary: {mlx: {model: demo}}}\ndefault: primary\n"
    assert {"fallback", "vision"}.isdisjoint(assign(HARNESSES["hermes"], config(text), {}))


@pytest.mark.parametrize(
    ("name", "own", "context"),
    [
        ("small", 32_768, 32_768),  # the model's own
        ("small", 131_072, 70_000),  # what its caches hold
        ("primary", 32_768, 200_000),  # a longer prompt goes to the other
        ("routed", 32_768, 200_000),
        ("small", None, None),
        ("vision", None, 200_000),
    ],
)
def test_a_names_context_is_that_of_whoever_takes_most(name: str, own: int | None, context: int | None) -> None:
    assert context_of(config(), name, lambda _model: own) == context


def test_a_cap_on_the_context_gives_a_model_no_more_than_its_own() -> None:
    text = "backends: {a: {mlx: {model: demo, context: 65536, kv_tokens: 65536}}}\ndefault: a\n"
    assert context_of(config(text), "a", lambda _model: 8192) == 8192
    assert context_of(config(text), "a", lambda _model: None) == 65_536


CONTEXTS = """
backends:
  a: {openai: {model: m, context: 64000}}
  b: {openai: {model: m, context: 63999}}
  c: {openai: {model: m, context: 2048}}
  d: {openai: {model: m}}
  e: {mlx: {model: org/unseen}}
  f: {mlx: {model: org/unseen, kv_tokens: 65536}}
default: a
"""


@pytest.mark.parametrize(
    ("roles", "found"),
    [
        ({"primary": "a", "delegation": "b", "auxiliary": "c"}, {"b": 63_999}),  # c is asked for a few words only
        ({"primary": "d", "compression": "f"}, {"d": None, "f": None}),
        ({"primary": "e"}, {"e": 16_384}),  # its caches hold no more, whatever it is
    ],
)
def test_names_whose_contexts_may_be_too_short_are_found_where_that_matters(
    roles: dict[str, str], found: dict[str, int | None]
) -> None:
    assert doubtful(HARNESSES["hermes"], config(CONTEXTS), roles, lambda _model: None) == found
    assert doubtful(HARNESSES["codex"], config(CONTEXTS), {"main": "c"}, lambda _model: None) == {}


@pytest.mark.parametrize(
    ("endpoints", "chosen", "missing"),
    [
        ("{}", {}, ["auxiliary"]),
        ("{}", {"auxiliary": "only"}, []),
        ("{fast: {fallback: [only]}}", {}, []),
    ],
)
def test_parts_with_nothing_but_a_backend_want_an_endpoint(
    endpoints: str, chosen: dict[str, str], missing: list[str]
) -> None:
    text = f"backends: {{only: {{mlx: {{model: demo}}}}}}\nendpoints: {endpoints}\ndefault: only\n"
    assert lacking(HARNESSES["hermes"], config(text), chosen) == missing
    assert lacking(HARNESSES["hermes"], config(), {}) == []  # they are there, or an endpoint is the default


@pytest.mark.parametrize(
    ("block", "vision"),
    [("openai: {model: m}", "routed"), ("openai: {model: m, vision: false}", None), ("mlx: {model: demo}", None)],
)
def test_images_go_where_the_conversation_goes_if_somebody_there_takes_them(block: str, vision: str | None) -> None:
    text = f"backends: {{only: {{{block}}}}}\ndefault: only\n"
    assert assign(HARNESSES["hermes"], config(text), {}).get("vision") == vision


def able(model: str) -> bool | None:
    return {"demo": False, "./able": True}.get(model)


@pytest.mark.parametrize(
    ("routes", "default", "found"),
    [
        ("[]", "demo", False),
        ("[]", "able", True),
        ("[]", "unknown", None),
        ("[]", "cloud", True),
        ("[]", "poor", False),
        ("[]", "mixed", True),
        ("[{match: {client: claude-code}, use: able}]", "demo", True),
        ("[{match: {client: 'claude-*'}, use: demo}]", "able", False),  # the default is never reached
        ("[{match: {client: codex}, use: able}]", "demo", False),
        ("[{match: {platform: cli}, use: able}]", "demo", True),
        ("[{match: {has_tools: false}, use: able}]", "demo", False),
    ],
)
def test_an_agent_reaches_tools_by_its_own_routes(routes: str, default: str, found: bool | None) -> None:
    text = f"""
backends:
  demo: {{mlx: {{model: demo}}}}
  able: {{mlx: {{model: ./able}}}}
  unknown: {{mlx: {{model: org/name}}}}
  cloud: {{openai: {{model: m}}}}
  poor: {{openai: {{model: m, tools: false}}}}
endpoints: {{mixed: {{fallback: [demo, cloud]}}}}
routes: {routes}
default: {default}
"""
    spec = config(text)
    assert supports_tools(spec, "routed", able, client="claude-code") is found
    roles = {"main": "routed", "opus": "demo", "haiku": "demo"}
    expected = {"demo": ["opus"], **({"routed": ["main"]} if found is False else {})}
    assert toolless(HARNESSES["claude-code"], "claude-code", spec, roles, able) == expected


@pytest.mark.parametrize("name", ["llm", "continue"])
def test_an_agent_with_a_list_of_models_is_told_which_support_tools(name: str) -> None:
    edits = HARNESSES[name].edits
    assert edits
    patch = edits(replace(setup(name), without_tools=frozenset({"primary"})))[0].patch
    models = patch["models"] if name == "continue" else patch
    supports = {
        model.get("model_name") or model["model"]: bool(model.get("supports_tools") or model.get("capabilities"))
        for model in models
    }
    assert (supports["primary"], supports["routed"]) == (False, True)
