"""What an API's errors mean, and that they never give a key away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from routerd.backends.failures import CODES, STATUSES, TEXTS, failed, kind_of, redact, said
from routerd.config.http import HttpSpec, TimeoutSpec
from routerd.config.load import load
from routerd.config.types import SecretSpec
from routerd_client.records import FailureKind

K = FailureKind
KEY = "sk-proj-AbC_123-456789"

# as the makers and servers word them
WORDED: list[tuple[int, Any, FailureKind]] = [
    (
        400,
        {"error": {"message": "This model's maximum context length is 8192 tokens.", "code": None}},
        K.CONTEXT_OVERFLOW,
    ),
    (400, {"object": "error", "message": "maximum model length of 4096", "code": 400}, K.CONTEXT_OVERFLOW),
    (400, {"error": {"code": 400, "message": "the request exceeds the available context size"}}, K.CONTEXT_OVERFLOW),
    (400, {"error": {"code": 400, "message": "?", "type": "exceed_context_size_error"}}, K.CONTEXT_OVERFLOW),
    (
        400,
        {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long"}},
        K.CONTEXT_OVERFLOW,
    ),
    (413, {"type": "error", "error": {"type": "request_too_large", "message": "?"}}, K.CONTEXT_OVERFLOW),
    (400, {"error": {"message": "Your input exceeds the context window of this model."}}, K.CONTEXT_OVERFLOW),
    (500, {"error": "input length exceeds maximum context length"}, K.CONTEXT_OVERFLOW),
    (400, {"error": {"type": "invalid_request_error", "message": "max_tokens: must be positive"}}, K.BAD_REQUEST),
    (
        400,
        {"error": {"message": "filtered", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        K.CONTENT_FILTERED,
    ),
    (400, {"error": {"message": "Output blocked by content filtering policy"}}, K.CONTENT_FILTERED),
    (429, {"error": {"message": "You exceeded your current quota, please check", "code": "x"}}, K.QUOTA_SPENT),
    (429, {"error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "context length"}}, K.RATE_LIMITED),
    (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, K.OVERLOADED),
    (404, {"error": {"message": "model 'x' not found", "type": "api_error"}}, K.NOT_FOUND),
    (404, {"error": {"message": "maximum context length", "type": "?"}}, K.NOT_FOUND),
    (200, {"error": {"code": 502, "message": "upstream"}}, K.SERVER_ERROR),
    (200, {"error": {"code": 429, "message": "slow"}}, K.RATE_LIMITED),
    (200, {"type": "error", "code": "invalid_prompt", "message": "no"}, K.BAD_REQUEST),
    (200, {"detail": "?"}, K.SERVER_ERROR),
]


@pytest.mark.parametrize(
    ("status", "body", "kind"), WORDED, ids=[f"{s}-{k.value}-{n}" for n, (s, _, k) in enumerate(WORDED)]
)
def test_makers_words(status: int, body: Any, kind: FailureKind) -> None:
    assert failed("there", status, said(json.dumps(body).encode()), {}, 0.0).kind is kind


def test_tables_are_without_contradiction() -> None:
    for table in (CODES, TEXTS, STATUSES):
        entries = [entry for row in table.values() for entry in row]
        assert len(entries) == len(set(entries))
    assert all(text == text.lower() for texts in TEXTS.values() for text in texts)


@pytest.mark.parametrize("status", range(300, 600))
def test_every_status_is_some_failure(status: int) -> None:
    assert kind_of(status, said(b"")) is not FailureKind.UNKNOWN


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"3", b'"no"', b"\xff\xfe", b'{"error": null}', b'{"error": [1]}', b"{}"]
)
def test_any_body_can_be_read(body: bytes) -> None:
    error = failed("there", 500, said(body), {}, 0.0)

    assert error.message.startswith("there answered 500: ")


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {KEY}.",
        "Incorrect API key provided: sk-proj-****6789.",
        "bad header: Authorization: Bearer abcdefgh12345678",
        "key sk-ant-api03-abcdefghijkl is revoked",
    ],
)
def test_keys_are_hidden(text: str) -> None:
    hidden = redact(text, [KEY])

    assert "[key]" in hidden
    assert not any(part in hidden for part in ("6789", "12345678", "abcdefghijkl"))


def test_words_stay_readable() -> None:
    assert (
        redact("unknown parameter: api_version\n\tin\x1b[0m body", ["abc"])
        == "unknown parameter: api_version in[0m body"
    )
    assert len(redact("a" * 100_000)) < 600


def test_the_document_has_these_tables() -> None:
    document = (Path(__file__).parents[2] / "docs/backends.md").read_text()
    kinds = dict.fromkeys([*STATUSES, *CODES, *TEXTS])

    def row(kind: FailureKind) -> str:
        statuses = ", ".join(map(str, STATUSES.get(kind, ())))
        codes = ", ".join(f"`{code}`" for code in CODES.get(kind, ()))
        return f"| `{kind.value}` | {statuses} | {codes} | {'; '.join(TEXTS.get(kind, ()))} |"

    assert "\n".join(map(row, kinds)) in document


@pytest.mark.parametrize("spec", [HttpSpec, TimeoutSpec, SecretSpec], ids=lambda spec: spec.__name__)
def test_the_document_has_every_key(spec: type[Struct]) -> None:
    document = (Path(__file__).parents[2] / "docs/backends.md").read_text()
    fields = [field for field in spec.__struct_fields__ if field != "inline"]

    assert [field for field in fields if f"`{field}`" not in document and f"{{{field}: " not in document] == []


def test_the_documents_example_has_no_mistakes() -> None:
    document = (Path(__file__).parents[2] / "docs/backends.md").read_text()

    assert load(document.split("```yaml\n")[1].split("```")[0], "docs/backends.md").warnings == []
