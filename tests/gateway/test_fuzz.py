"""Whatever is sent, it is answered, and never with a mistake of ours."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routerd.gateway.caller import client_name, laid_on
from routerd.gateway.format import BadRequestError
from routerd.gateway.formats import FORMATS
from routerd.selftest.fake_api import fake_api
from tests.support.daemon import routes, running_daemon

JUNK = st.recursive(
    st.sampled_from([None, True, -1, 2**70, 0.5, 1e300]) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello?"}]},
    "/v1/completions": {"prompt": "Hello?"},
    "/v1/responses": {"input": "Hello?"},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 9},
}
FIELDS = ["messages", "prompt", "input", "system", "tools", "tool_choice", "stream", "stop", "metadata", "max_tokens"]
FIELDS += ["temperature", "response_format", "n", "logprobs", "thinking", "reasoning", "text", "instructions", "model"]


def test_every_format_is_fuzzed() -> None:
    assert GOOD.keys() == FORMATS.keys()


@pytest.mark.parametrize("path", GOOD)
@settings(max_examples=150, deadline=None)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=3), raw=st.binary(max_size=40) | st.none())
def test_a_body_is_read_or_refused(path: str, fields: dict[str, Any], raw: bytes | None) -> None:
    body = json.dumps(GOOD[path] | fields).encode() if raw is None else raw
    try:
        asked = FORMATS[path].read(body, {})
    except BadRequestError as error:
        assert error.message  # noqa: PT017 - either is right
        return
    assert asked.chat.messages


HEADERS = ["x-routerd-context", "x-routerd-local-only", "x-routerd-priority", "x-routerd-deadline", "user-agent"]


@given(headers=st.dictionaries(st.sampled_from([*HEADERS, "session-id"]), st.text(max_size=20)))
def test_headers_are_read_or_refused(headers: dict[str, str]) -> None:
    chat = FORMATS["/v1/completions"].read(b'{"prompt": "Hello?"}', {}).chat
    client_name(headers)
    try:
        laid = laid_on(chat, headers)
    except BadRequestError as error:
        assert error.param in HEADERS  # noqa: PT017
        return
    assert laid.session == headers.get("session-id", "")


class Schemas:
    """Makes values by an OpenAPI document, and some that are not by it."""

    def __init__(self, document: dict[str, Any], seed: int) -> None:
        self._components = document["components"]["schemas"]
        self._random = random.Random(seed)

    def value(self, schema: dict[str, Any], depth: int = 0) -> Any:
        chance = self._random
        if chance.random() < 0.03:
            return chance.choice([None, "", "x", -1, 0, 1e300, True, [], {}, [[]], {"a": None}, "\udfff", 2**70])
        if reference := schema.get("$ref"):
            return self.value(self._components[reference.rpartition("/")[2]], depth)
        if options := schema.get("anyOf"):
            return self.value(chance.choice(options), depth)
        if "enum" in schema:
            return chance.choice(schema["enum"])
        return None if depth > 6 else self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        chance = self._random
        match schema.get("type"):
            case "object" if "properties" in schema:
                needed = schema.get("required", [])
                names = [name for name in schema["properties"] if name in needed or chance.random() < 0.25]
                return {name: self.value(schema["properties"][name], depth + 1) for name in names}
            case "object":
                inner = schema.get("additionalProperties")
                return {str(n): self.value(inner or {}, depth + 1) for n in range(chance.randrange(2))}
            case "array":
                return [self.value(schema.get("items", {}), depth + 1) for _ in range(chance.randrange(3))]
            case "string":
                return chance.choice(["", "Hello?", "auto", "user", "text", "data:image/png;base64,AAAA", "é\u2028\n"])
            case "integer":
                return chance.choice([0, 1, 7, -3, 10**6])
            case "number":
                return chance.choice([0, 0.5, 1, -2.5])
            case "boolean":
                return chance.random() < 0.5
        return chance.choice([None, "x", 1, {"type": "object"}, []])


async def test_what_the_document_allows_is_answered(tmp_path: Path) -> None:
    """And much that it does not."""
    statuses = Counter[int]()
    async with (
        fake_api() as api,
        running_daemon(
            tmp_path, routes(cloud=json.dumps({"openai": {"model": "m", "base_url": api.base_url}}))
        ) as running,
        aiohttp.ClientSession("http://x", connector=aiohttp.UnixConnector(str(running.socket))) as http,
    ):
        async with http.get("/openapi.json") as answer:
            document = await answer.json()
        for path, methods in document["paths"].items():
            method, what = next(iter(methods.items()))
            for seed in range(40 if method == "post" else 1):
                body = None
                if method == "post":
                    schema = what["requestBody"]["content"]["application/json"]["schema"]
                    asked = Schemas(document, seed).value(schema)
                    if isinstance(asked, dict) and seed % 4:
                        asked = GOOD.get(path, {}) | {"model": "primary"} | asked
                    body = json.dumps(asked).encode()
                async with http.request(method, path, data=body) as answer:
                    text = await answer.text()
                    statuses[answer.status] += 1
                    assert answer.status != 500, (path, body, text)
                    if answer.status != 200:
                        assert json.loads(text)["error"]["message"], (path, body)
    assert statuses[200] > 20
    assert statuses[400] > 20
