"""What the OpenAI formats write, and what headers say of a caller."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routerd.gateway import chat_completions, completions
from routerd.gateway.caller import client_name, laid_on
from routerd.gateway.format import BadRequestError, about, refusal, told
from routerd.gateway.metrics import lines
from routerd.gateway.steering import steers
from routerd_client.chat import ChatRequest, FinishReason, Message, Priority, TokenLogprob, TopLogprob, Usage
from routerd_client.protocol import Delta, Done, Error, ErrorCode, Routed, StatusResult
from routerd_client.records import Attempt, BackendStatus, FailureKind, Outcome

ROUTED = Routed(id=0, attempt=1, request_id="r1", backend="b", model="m", endpoint="primary")
LOGPROBS = [TokenLogprob("é", -0.5, [TopLogprob("é", -0.5), TopLogprob("e", -1.5)])]


def done(**fields: Any) -> Done:
    facts: dict[str, Any] = {
        "id": 0,
        "attempt": 1,
        "request_id": "r1",
        "backend": "b",
        "model": "m",
        "endpoint": "primary",
        "finish_reason": FinishReason.STOP,
        "usage": Usage(3, 2),
        "attempts": [Attempt(number=1, backend="b", outcome=Outcome.OK)],
    }
    return Done(**facts | fields)


@pytest.mark.parametrize("old", [b'[{"name":"f"}]', b"{}", b'"auto"'])
def test_the_old_way_of_calling_is_told_what_to_send_instead(old: bytes) -> None:
    for field in (b"functions", b"function_call"):
        with pytest.raises(BadRequestError, match="send tools and tool_choice"):
            chat_completions.read(b'{"messages":[{"role":"user","content":"x"}],"%b":%b}' % (field, old), {})
    assert chat_completions.read(b'{"messages":[{"role":"user","content":"x"}],"functions":null}', {}).chat.messages


@pytest.mark.parametrize("value", [b'"\xff\xfe"', b"1e999"])
def test_a_field_that_nobody_knows_is_read_or_refused_as_well(value: bytes) -> None:
    with pytest.raises(BadRequestError):
        chat_completions.read(b'{"messages":[{"role":"user","content":"x"}],"new":%b}' % value, {})


def chunks(data: bytes) -> list[Any]:
    found = [event.removeprefix(b"data: ") for event in data.split(b"\n\n")[:-1]]
    return [one if one == b"[DONE]" else json.loads(one) for one in found if not one.startswith(b":")]


def test_a_chat_is_streamed_piece_by_piece() -> None:
    writer = chat_completions.Writer("asked", include_usage=True)
    text = 'line\n"quoted" \u2028 é'
    said = writer.begin(ROUTED, Usage()) + writer.delta(Delta(id=0, attempt=1, text=text)) + writer.ping()
    said += writer.delta(Delta(id=0, attempt=1, text="é", logprobs=LOGPROBS))
    said += writer.done(done(finish_reason=FinishReason.LENGTH))

    role, first, second, finish, usage, end = chunks(said)
    assert role["model"] == first["model"] == "asked"
    assert role["id"] == usage["id"] == "chatcmpl-r1"
    assert first["choices"] == [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    assert second["choices"][0]["logprobs"]["content"] == [
        {
            "token": "é",
            "logprob": -0.5,
            "bytes": [195, 169],
            "top_logprobs": [
                {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
                {"token": "e", "logprob": -1.5, "bytes": [101]},
            ],
        }
    ]
    assert finish["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["total_tokens"] == 5
    assert end == b"[DONE]"


def test_usage_comes_only_where_it_is_asked_for() -> None:
    writer = chat_completions.Writer("", include_usage=False)
    (role, finish, end) = chunks(writer.begin(ROUTED, Usage()) + writer.done(done()))

    assert role["model"] == "primary"
    assert "usage" not in finish
    assert end == b"[DONE]"


def test_a_whole_chat() -> None:
    message = Message(role="assistant", content="no")
    end = done(
        message=message, refusal="no", flaw=FailureKind.REFUSAL, finish_reason=FinishReason.UNKNOWN, logprobs=LOGPROBS
    )
    body = json.loads(chat_completions.Writer("asked", include_usage=False).whole(end))

    assert body["choices"][0]["message"] == {"role": "assistant", "content": "no", "refusal": "no"}
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["routerd"]["flaw"] == "refusal"
    assert body["routerd"]["attempts"] == [{"number": 1, "backend": "b", "outcome": "ok"}]


def test_completions_have_their_own_log_probabilities() -> None:
    writer = completions.Writer("asked", include_usage=False)
    said = writer.begin(ROUTED, Usage()) + writer.delta(Delta(id=0, attempt=1, reasoning="hm"))
    said += writer.delta(Delta(id=0, attempt=1, text="é", logprobs=LOGPROBS)) + writer.done(done())

    first, finish, _ = chunks(said)
    assert first["choices"][0]["text"] == "é"
    assert first["choices"][0]["logprobs"] == {
        "tokens": ["é"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{"é": -0.5, "e": -1.5}],
    }
    assert (first["id"], finish["choices"][0]["finish_reason"]) == ("cmpl-r1", "stop")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (ErrorCode.BAD_REQUEST, 400, "invalid_request_error"),
        (ErrorCode.CONTEXT_OVERFLOW, 400, "invalid_request_error"),
        (ErrorCode.NOT_FOUND, 404, "invalid_request_error"),
        (ErrorCode.BUDGET, 402, "insufficient_quota"),
        (ErrorCode.OVERLOADED, 429, "rate_limit_error"),
        (ErrorCode.UNAVAILABLE, 503, "server_error"),
        (ErrorCode.DEADLINE, 504, "server_error"),
        (ErrorCode.CONFIG, 502, "server_error"),
        (ErrorCode.INTERNAL, 500, "server_error"),
        (ErrorCode.UNKNOWN, 500, "server_error"),
    ],
)
def test_every_error_has_its_status(code: ErrorCode, status: int, kind: str) -> None:
    found = refusal(Error(id=0, code=code, message="no", hint="so", retryable=True, request_id="r1"))
    body = json.loads(chat_completions.refuse(found))

    assert found.status == status
    assert (body["error"]["message"], body["error"]["type"]) == ("no (so)", kind)
    assert body["routerd"] == {"request_id": "r1", "code": code.value, "retryable": True}


@pytest.mark.parametrize(
    "field",
    [
        "api_base", "base_url", "baseURL", "api_version", "extra_headers", "headers", "extra_query", "ssl_verify",
        "custom_llm_provider", "vertex_location", "aws_region_name", "deployment_id", "dataSources",
        "provider_specific_header", "kv_transfer_params", "bootstrap_host", "langfuse_host", "adapters",
        "api_key", "organization", "azure_ad_token", "client_secret", "litellm_credential_name", "vertex_credentials",
        "models", "model_list", "base_model", "draft_model", "fallbacks", "context_window_fallbacks", "user_config",
        "router_settings_override", "providerOptions", "num_retries", "mock_response", "input_cost_per_token",
        "litellm_metadata", "tensorzero::extra_body",
    ],
)  # fmt: skip
def test_a_field_for_a_proxy_is_seen(field: str) -> None:
    assert steers(field)


@pytest.mark.parametrize(
    "field",
    [
        "user", "service_tier", "store", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "verbosity",
        "web_search_options", "prediction", "audio", "truncation", "client_metadata", "max_tool_calls", "thinking",
        "search_parameters", "provider", "transforms", "grammar", "guided_json", "cache_prompt", "keep_alive",
        "options", "safe_prompt", "ignore_eos", "min_tokens", "chat_template", "dimensions", "encoding_format",
    ],
)  # fmt: skip
def test_a_field_for_a_model_is_left_alone(field: str) -> None:
    assert not steers(field)


def test_nothing_is_told_twice() -> None:
    assert about(done(attempts=[])) == {"request_id": "r1", "backend": "b", "model": "m", "endpoint": "primary"}
    assert told({"platform": "cli", "user_id": "u", "n": 1, "x": None}) == {"platform": "cli", "n": "1"}
    assert told(None) == {}


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("claude-cli/2.1.197 (external, cli)", "claude-code"),
        ("codex_cli_rs/0.169.0 (Debian 12; x86_64)", "codex"),
        ("codex_exec/0.169.0", "codex"),
        ("codex-tui/0.169.0 (Debian 12; x86_64) (codex-tui; 0.169.0)", "codex"),
        ("opencode/1.18.33 ai-sdk/provider-utils/3.0", "opencode"),
        ("OpenAI/Python 3.52.0", "openai-python"),
        ("AsyncOpenAI/Python 3.52.0", "openai-python"),
        ("AsyncAnthropic/Python 0.125.0", "anthropic-python"),
        ("curl/8.5.0", "curl"),
        ("", ""),
        ("x" * 500, "x" * 64),
    ],
)
def test_agents_have_names(agent: str, name: str) -> None:
    assert client_name({"user-agent": agent}) == name


CHAT = chat_completions.read(
    b'{"messages":[{"role":"user","content":"x"}],"metadata":{"platform":"web","user_id":"u"},"prompt_cache_key":"k"}',
    {},
).chat


def test_headers_win_over_the_body() -> None:
    said = {
        "x-routerd-context": "platform=cli, task = plan",
        "x-routerd-local-only": "TRUE",
        "x-routerd-priority": "background",
        "x-routerd-deadline": "2.5",
        "session-id": "s1",
        "x-claude-code-session-id": "s2",
    }
    laid = laid_on(CHAT, said)

    assert (CHAT.context, CHAT.session) == ({"platform": "web"}, "k")
    assert laid.context == {"platform": "cli", "task": "plan"}
    assert (laid.local_only, laid.priority, laid.deadline_s) == (True, Priority.BACKGROUND, 2.5)
    assert laid.session == "s2"
    assert laid_on(CHAT, {}) is CHAT


def test_a_context_may_be_percent_encoded() -> None:
    said = {"x-routerd-context": "role=Senior%2C%20Gr%C3%B6%C3%9Fe%3D1, note=100%"}

    assert laid_on(CHAT, said).context == {"platform": "web", "role": "Senior, Größe=1", "note": "100%"}


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-routerd-context", "platform"),
        ("x-routerd-context", "=cli"),
        ("x-routerd-local-only", "perhaps"),
        ("x-routerd-priority", "urgent"),
        ("x-routerd-deadline", "soon"),
        ("x-routerd-deadline", "-1"),
        ("x-routerd-deadline", "nan"),
        ("x-routerd-deadline", "inf"),
    ],
)
def test_a_header_that_is_not_understood_is_refused(header: str, value: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        laid_on(CHAT, {header: value})

    assert caught.value.param == header


def test_metrics_are_lines_of_numbers() -> None:
    status = StatusResult(
        id=0,
        version="1",
        protocol=1,
        pid=1,
        uptime_s=1.5,
        generation=2,
        config="",
        socket="",
        state_dir="",
        log_file="",
        default="a",
        backends=[BackendStatus(name="a", kind="mlx", model="m", ttft_p50_s=0.25)],
        models=[],
        endpoints=[],
        routes=0,
        requests={"open": 1, "ok": 5, "failed": 0, "cancelled": 2},
    )
    found = [line for line in lines(status) if not line.startswith("#")]

    assert 'routerd_chats_total{how="ok"} 5' in found
    assert "routerd_chats_open 1" in found
    assert 'routerd_backend_first_token_seconds{backend="a"} 0.25' in found
    assert all(float(line.rpartition(" ")[2]) >= 0 for line in found)


@pytest.mark.parametrize(("text", "hops"), [("3", 3), ("", 0), ("many", 0), ("-1", 0), ("9" * 5000, 0)])
def test_hops_are_a_small_number_or_none(text: str, hops: int) -> None:
    assert laid_on(CHAT, {"x-routerd-hops": text}).hops == hops


def test_header_bytes_that_are_no_utf8_do_not_go_further() -> None:
    headers = {"x-session-id": "a\udcff", "x-routerd-context": "k=b\udcfe,é=%ff", "user-agent": "x\udcff/1"}
    chat = laid_on(ChatRequest(messages=[Message("user", "hi")]), headers)

    assert (chat.session, chat.context, client_name(headers)) == ("a\ufffd", {"k": "b\ufffd", "é": "\ufffd"}, "x\ufffd")
