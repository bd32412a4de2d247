"""Fields and values of local model servers, asked of an owned model over every front: done, or told to be left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.sdks import Door
from tests.support.daemon import Standalone, standalone_daemon
from tests.support.tiny_model import CHATML, make_tiny_model

LEFT_OUT = "x-routerd-left-out"
OPENS = "{% if add_generation_prompt and enable_thinking is not false %}{{ '<think>' }}{% endif %}"
"""A template that has the model think, unless it is told not to."""
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def end(tiny: Path) -> int:
    """The model's end token, the last of its vocabulary."""
    return int(json.loads((tiny / "config.json").read_text())["eos_token_id"])


@pytest.fixture(scope="module")
def daemon(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    here = tmp_path_factory.mktemp("fields")
    thinker = make_tiny_model(here / "thinker", reasoning=True)
    settings = thinker / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"chat_template": CHATML + OPENS}))
    text = f"""\
version: 1
backends:
  tiny: {{mlx: {{model: {tiny}, max_tokens: 24}}}}
  thinker: {{mlx: {{model: {thinker}, max_tokens: 8}}}}
default: tiny
"""
    with standalone_daemon(here, text) as running:
        yield running


async def post(daemon: Standalone, path: str, **fields: Any) -> tuple[int, dict[str, str], Any]:
    said = [{"role": "user", "content": "hi"}]
    ask = {"/v1/completions": {"prompt": "hi"}, "/v1/responses": {"input": said}}.get(path, {"messages": said})
    async with Door("http://localhost", "none", str(daemon.socket)).plain() as http:
        answer = await http.post(path, json={"model": "tiny", "temperature": 0} | ask | fields)
        return answer.status_code, dict(answer.headers), answer.json()


async def chat(daemon: Standalone, **fields: Any) -> tuple[str, str, int]:
    """The text, the finish reason and the tokens of an answer."""
    status, _, body = await post(daemon, PATHS[0], **fields)
    assert status == 200, body
    (choice,) = body["choices"]
    return choice["message"]["content"], choice["finish_reason"], body["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("grammar", "root ::= x"),
        ("guided_json", {"type": "object"}),
        ("guided_regex", "a+"),
        ("structured_outputs", {"choice": ["a"]}),
        ("json_schema", {"const": "42"}),
        ("mirostat", 2),
        ("response_format", SCHEMA),
        ("no_such_field", 1),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_not_done_is_named(daemon: Standalone, field: str, value: object, stream: bool) -> None:
    async with Door("http://localhost", "none", str(daemon.socket)).plain() as http:
        said = [{"role": "user", "content": "hi"}]
        body = {"model": "tiny", "messages": said, "max_tokens": 2, "stream": stream, field: value}
        answer = await http.post(PATHS[0], json=body)
    assert answer.status_code == 200
    assert f"the field {field}" in answer.headers[LEFT_OUT]


@pytest.mark.parametrize("path", PATHS)
async def test_an_unknown_field_is_named_on_every_front(daemon: Standalone, path: str) -> None:
    limit = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
    status, headers, body = await post(daemon, path, no_such_field="x", api_base="y", **{limit: 2})
    assert (status, headers[LEFT_OUT]) == (200, "the field api_base; the field no_such_field")
    assert body["routerd"]["dropped"] == ["the field api_base", "the field no_such_field"]


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_left_out_is_in_the_end_of_a_stream_too(daemon: Standalone, path: str) -> None:
    said = [{"role": "user", "content": "hi"}]
    ask = {"/v1/completions": {"prompt": "hi"}, "/v1/responses": {"input": said}}.get(path, {"messages": said})
    fields = {"model": "tiny", "n_predict": 2, "stream": True, "no_such_field": False, "api_base": "x"}
    async with Door("http://localhost", "none", str(daemon.socket)).plain() as http:
        answer = await http.post(path, json=ask | fields)
    assert answer.headers[LEFT_OUT] == "the field api_base; the field no_such_field"
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    ends = [event.get("response", event) for event in events]  # responses have it one level down
    (routerd,) = [end["routerd"] for end in ends if "routerd" in end]
    assert routerd["dropped"] == ["the field api_base", "the field no_such_field"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "fields",
    [{"n_predict": 4, "seed": -1, "top_k": -1, "stop": ""}, {"n_predict": 4, "repeat_penalty": 1.1, "seed": 5}],
)
async def test_every_front_does_what_local_servers_do(daemon: Standalone, path: str, fields: dict[str, Any]) -> None:
    status, headers, body = await post(daemon, path, **fields)
    usage = body["usage"]
    assert (status, usage.get("output_tokens", usage.get("completion_tokens"))) == (200, 4)
    assert LEFT_OUT not in headers
    assert "dropped" not in body["routerd"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_bias_and_a_stop_reach_the_model_from_every_front(daemon: Standalone, path: str) -> None:
    bias = {"logit_bias": {"7": 1000}, "stop_token_ids": [7], "n_predict": 9}
    status, headers, body = await post(daemon, path, **bias)
    usage = body["usage"]
    assert (status, usage.get("output_tokens", usage.get("completion_tokens"))) == (200, 1)
    assert LEFT_OUT not in headers


@pytest.mark.parametrize("path", PATHS)
async def test_a_cap_of_nothing_is_refused_before_anybody_is_asked(daemon: Standalone, path: str) -> None:
    field = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
    for cap in (0, -3):
        status, headers, body = await post(daemon, path, **{field: cap})
        assert status == 400
        assert "x-routerd-attempts" not in headers
        assert f"{field} is {cap}" in body["error"]["message"]


@pytest.mark.parametrize(
    "fields",
    [
        {"grammar": None, "guided_json": {}, "json_schema": ""},
        {"user": "me", "store": True, "service_tier": "auto"},
        {"response_format": {"type": "text"}, "parallel_tool_calls": True},
    ],
)
async def test_what_says_nothing_is_not_named(daemon: Standalone, fields: dict[str, Any]) -> None:
    status, headers, _ = await post(daemon, PATHS[0], max_tokens=2, **fields)
    assert status == 200
    assert LEFT_OUT not in headers


async def test_a_client_of_the_socket_is_told_too(daemon: Standalone) -> None:
    with daemon.client() as client:
        done = client.chat("hi", model="tiny", max_tokens=2, extra={"openai": {"grammar": "root ::= x"}})
        assert done.dropped == ["the field grammar"]


async def test_end_tokens_of_ones_own_end_the_answer(daemon: Standalone, end: int) -> None:
    assert await chat(daemon, stop_token_ids=list(range(end)), max_tokens=9) == ("", "stop", 1)
    _, finish, tokens = await chat(daemon, stop_token_ids=[7], logit_bias={"7": 1000}, max_tokens=9, min_tokens=4)
    assert (finish, tokens) == ("stop", 5)


async def test_own_ends_come_not_before_so_many_tokens_or_never(daemon: Standalone, end: int) -> None:
    likely = {"logit_bias": {str(end): 1000}, "max_tokens": 7}
    _, finish, tokens = await chat(daemon, **likely)
    assert (finish, tokens) == ("stop", 1)
    _, finish, tokens = await chat(daemon, **likely, min_tokens=4)
    assert (finish, tokens) == ("stop", 5)
    _, finish, tokens = await chat(daemon, **likely, ignore_eos=True)
    assert (finish, tokens) == ("length", 7)
    _, finish, tokens = await chat(daemon, **likely, ignore_eos=True, stop_token_ids=[end])
    assert (finish, tokens) == ("stop", 1)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"max_tokens": -1}, 24),
        ({"max_tokens": -2}, 24),
        ({"max_completion_tokens": -1}, 24),
        ({"n_predict": 4}, 4),
        ({"max_tokens": 6.0}, 6),
        ({"max_tokens": 6, "seed": -1, "temperature": 0}, 6),
        ({"max_tokens": 6, "seed": 7.0, "temperature": 1}, 6),
        ({"max_tokens": 6, "top_k": -1}, 6),
        ({"max_tokens": 6, "top_k": 0}, 6),
        ({"max_tokens": 6, "top_k": 40.0, "temperature": 0}, 6),
        ({"max_tokens": 6, "stop": ""}, 6),
        ({"max_tokens": 6, "stop": []}, 6),
        ({"max_tokens": 6, "stop": [""]}, 6),
        ({"max_tokens": 6, "stop": None}, 6),
        ({"max_tokens": 6, "n": 1.0}, 6),
        ({"max_tokens": 6, "repeat_penalty": 1.1, "min_p": 0, "typical_p": 1}, 6),
        ({"max_tokens": 6, "temperature": 0, "logit_bias": None, "response_format": None, "tools": None}, 6),
    ],
)
async def test_values_of_local_servers_mean_what_they_mean_there(
    daemon: Standalone, fields: dict[str, Any], tokens: int
) -> None:
    for path in PATHS[:2]:
        if "max_completion_tokens" in fields and path == "/v1/completions":
            continue
        status, _, body = await post(daemon, path, **fields)
        assert status == 200, body
        assert body["usage"]["completion_tokens"] == tokens


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_object", "schema": {"type": "object"}},
        {"type": "json_schema", "schema": {"type": "object"}},
    ],
)
async def test_a_schema_beside_its_type_is_one(daemon: Standalone, form: dict[str, Any]) -> None:
    status, headers, body = await post(daemon, PATHS[0], max_tokens=3, response_format=form)
    assert (status, headers[LEFT_OUT]) == (200, "the field response_format")
    assert body["routerd"]["flaw"] == "degenerate"


async def test_an_answer_goes_on_from_its_beginning(daemon: Standalone) -> None:
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "one two"}]
    status, headers, body = await post(daemon, PATHS[0], messages=said, max_tokens=2, continue_final_message=True)
    assert status == 200
    assert LEFT_OUT not in headers
    _, _, turn = await post(daemon, PATHS[0], messages=said, max_tokens=2)
    assert body["usage"]["prompt_tokens"] < turn["usage"]["prompt_tokens"]


@pytest.mark.parametrize(("limit", "tokens"), [(-1, 24), (6.0, 6), (6, 6)])
async def test_the_other_fronts_take_them_too(daemon: Standalone, limit: float, tokens: int) -> None:
    status, _, body = await post(daemon, "/v1/responses", max_output_tokens=limit)
    assert (status, body["usage"]["output_tokens"]) == (200, tokens)
    status, _, body = await post(daemon, "/v1/messages", max_tokens=limit, top_k=-1, stop_sequences=[""])
    assert (status, body["usage"]["output_tokens"]) == (200, tokens)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (PATHS[0], {"max_tokens": 6.5}),
        (PATHS[0], {"max_tokens": 0}),
        (PATHS[0], {"max_tokens": -7}),
        (PATHS[0], {"seed": 0.5, "max_tokens": 2}),
        (PATHS[0], {"max_tokens": 1e300}),
        (PATHS[0], {"stop_token_ids": [4000], "max_tokens": 2}),
        (PATHS[0], {"min_tokens": -1, "max_tokens": 2}),
        ("/v1/messages", {"max_tokens": 0}),
        ("/v1/messages", {"max_tokens": 1.5}),
        ("/v1/responses", {"max_output_tokens": -3}),
    ],
)
async def test_what_means_nothing_anywhere_is_refused(daemon: Standalone, path: str, fields: dict[str, Any]) -> None:
    status, headers, _ = await post(daemon, path, **fields)
    assert (status, headers["x-should-retry"]) == (400, "false")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (PATHS[0], {"reasoning_effort": "none"}),
        (PATHS[0], {"enable_thinking": False}),
        (PATHS[0], {"think": False}),
        (PATHS[0], {"thinking": {"type": "disabled"}}),
        (PATHS[0], {"reasoning": {"enabled": False}}),
        (PATHS[0], {"reasoning": {"effort": "none"}}),
        (PATHS[0], {"chat_template_kwargs": {"enable_thinking": False}}),
        (PATHS[0], {"chat_template_kwargs": {"thinking": False}}),
        ("/v1/responses", {"reasoning": {"effort": "none"}}),
        ("/v1/responses", {"enable_thinking": False}),
        ("/v1/messages", {"thinking": {"type": "disabled"}, "max_tokens": 8}),
        ("/v1/messages", {"think": False, "max_tokens": 8}),
        ("/v1/messages", {"chat_template_kwargs": {"enable_thinking": False}, "max_tokens": 8}),
    ],
)
async def test_thinking_is_switched_off(daemon: Standalone, path: str, fields: dict[str, Any]) -> None:
    thought, told = await thinking(daemon, path, {"max_tokens": 8} if path == "/v1/messages" else {})
    assert thought
    assert not told
    thought, told = await thinking(daemon, path, fields)
    assert not thought
    assert not told


async def thinking(daemon: Standalone, path: str, fields: dict[str, Any]) -> tuple[bool, str]:
    """Whether the thinker thinks, and what is said to be left out."""
    status, headers, body = await post(daemon, path, model="thinker", **fields)
    assert status == 200, body
    if path == "/v1/messages":
        return not any(block["type"] == "text" for block in body["content"]), headers.get(LEFT_OUT, "")
    details = body["usage"].get("completion_tokens_details") or body["usage"]["output_tokens_details"]
    return details["reasoning_tokens"] > 0, headers.get(LEFT_OUT, "")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"think": True}, "think"),
        ({"thinking": True}, "thinking"),
        ({"chat_template_kwargs": {"style": "x"}}, "chat_template_kwargs.style"),
    ],
)
async def test_what_a_template_has_no_variable_for_is_named(
    daemon: Standalone, path: str, fields: dict[str, Any], named: str
) -> None:
    if path == "/v1/messages" and "thinking" in fields:
        fields = {"enable_thinking": True}
        named = "enable_thinking"
    status, headers, body = await post(daemon, path, n_predict=2, **fields)
    assert (status, headers[LEFT_OUT]) == (200, f"the field {named}")
    assert body["routerd"]["dropped"] == [f"the field {named}"]


async def test_a_switch_that_the_template_has_is_not_named(daemon: Standalone) -> None:
    status, headers, _ = await post(daemon, PATHS[0], model="thinker", max_tokens=2, think=True)
    assert status == 200
    assert LEFT_OUT not in headers
