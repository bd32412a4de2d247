"""Faults of owned models as callers over HTTP meet them: who answers instead, and whether asking again helps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from tests.gateway.sdks import Door
from tests.support.daemon import Standalone, standalone_daemon
from tests.support.tiny_gguf import write_gguf
from tests.support.tiny_model import make_tiny_model

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def nan(folder: Path) -> Path:
    """A model of whose weights one is no number."""
    file = make_tiny_model(folder, tools=True) / "model.safetensors"
    tensors = dict(mx.load(str(file)))
    tensors["model.layers.0.self_attn.o_proj.weight"][0, 0] = float("nan")
    mx.save_safetensors(str(file), tensors, metadata={"format": "mlx"})
    return folder


def changed(folder: Path, name: str, **changes: object) -> Path:
    file = make_tiny_model(folder, tools=True) / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    here = tmp_path_factory.mktemp("faults")
    good, plain = make_tiny_model(here / "good", tools=True), make_tiny_model(here / "plain")
    part = write_gguf(plain, here / "name-00001-of-00002.gguf")
    models: dict[str, Any] = {
        "good": {"model": str(good)},
        "plain": {"model": str(plain)},
        "nan": {"model": str(nan(here / "nan"))},
        "template": {
            "model": str(changed(here / "t", "tokenizer_config.json", chat_template="{% for m in messages %}{{ m "))
        },
        "architecture": {"model": str(changed(here / "a", "config.json", model_type="perceptron_1958"))},
        "missing": {"model": str(here / "nowhere")},
        "split": {"model": str(part)},
        "huge": {"model": str(good), "kv_tokens": 100_000_000},
    }
    lines = [f"  {name}: {json.dumps({'mlx': spec})}" for name, spec in models.items()]
    lines += ["endpoints:", *(f"  {name}-good: {{fallback: [{name}, good]}}" for name in models if name != "good")]
    text = "\n".join(["version: 1", "memory: {budget: 12GB}", "backends:", *lines, "default: good"])
    with standalone_daemon(here, text) as running:
        yield running


async def post(daemon: Standalone, model: str, **fields: Any) -> tuple[int, dict[str, str], Any]:
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, "model": model} | fields
    async with Door("http://localhost", "none", str(daemon.socket)).plain() as http:
        answer = await http.post("/v1/chat/completions", json=body)
        return answer.status_code, dict(answer.headers), answer.json()


@pytest.mark.parametrize("name", ["nan", "template", "architecture", "missing", "split", "huge"])
async def test_the_next_candidate_answers(daemon: Standalone, name: str) -> None:
    status, _, body = await post(daemon, f"{name}-good")
    assert (status, body["routerd"]["backend"]) == (200, "good")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("template", "chat template does not compile"),
        ("architecture", "perceptron_1958"),
        ("missing", "there is no folder"),
        ("split", "parts of a split GGUF"),
        ("huge", "models may take"),
    ],
)
async def test_what_cannot_change_by_itself_is_not_asked_again(daemon: Standalone, name: str, words: str) -> None:
    for _ in range(5):  # the first finds it out, the others meet what is known; so many would open a breaker
        status, headers, body = await post(daemon, name)
        assert (status, body["routerd"]["code"], "retryable" in body["routerd"]) == (502, "config", False)
        assert headers["x-should-retry"] == "false"
        assert "retry-after" not in headers
        assert words in body["error"]["message"]


async def test_a_decision_skips_what_can_never_fit(daemon: Standalone) -> None:
    await post(daemon, "huge-good")
    explained = json.loads(daemon.ctl("explain", "--model", "huge-good", "--json", "hi").stdout)
    assert [each["backend"] for each in explained["candidates"]] == ["good"]
    (skipped,) = explained["skipped"]
    assert skipped["backend"] == "huge"
    assert skipped["permanent"]


async def test_an_answer_without_numbers_fails_and_may_be_asked_again(daemon: Standalone) -> None:
    status, _, body = await post(daemon, "nan", max_tokens=1000)
    assert (status, body["routerd"]["attempts"][0]["failure"]) == (503, "invalid_logits")
    assert body["routerd"]["retryable"]


async def test_tools_go_to_models_that_can_call_them(daemon: Standalone) -> None:
    status, _, body = await post(daemon, "plain-good", tools=[TOOL])
    assert (status, body["routerd"]["backend"]) == (200, "good")
    assert len(body["routerd"]["attempts"]) == 1, "it was known before the model was loaded"

    status, headers, body = await post(daemon, "plain", tools=[TOOL])
    assert (status, headers["x-should-retry"]) == (400, "false")
    assert "does not support tools" in body["error"]["message"]
    explained = json.loads(daemon.ctl("explain", "--model", "plain", "--tools", "--json", "hi").stdout)
    assert [each["reason"] for each in explained["skipped"]] == ["does not support tools"]
    notices = {
        model["backend"]: model.get("notice", "")
        for model in json.loads(daemon.ctl("status", "--json").stdout)["models"]
    }
    assert (notices["plain"], notices["good"]) == ("does not support tools", "")

    status, _, body = await post(daemon, "plain-good", tools=[TOOL], tool_choice="none")
    assert (status, body["routerd"]["backend"]) == (200, "plain")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look"}}])
async def test_an_answer_without_the_wanted_call_is_marked(daemon: Standalone, choice: object) -> None:
    status, _, body = await post(daemon, "good", tools=[TOOL], tool_choice=choice)
    assert (status, body["routerd"]["flaw"]) == (200, "degenerate")
