"""/openapi.json: what is served here, made from what is read."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from .. import __version__
from . import chat_completions, completions, embeddings, messages, responses
from .page import Ask, Reply
from .services import Services

_CHATS: dict[str, tuple[type[msgspec.Struct], str]] = {
    "/v1/chat/completions": (chat_completions.Body, "A chat, as OpenAI's chat/completions"),
    "/v1/completions": (completions.Body, "A text, asked as a chat"),
    "/v1/responses": (responses.Body, "A chat, as OpenAI's responses"),
    "/v1/messages": (messages.Body, "A chat, as Anthropic's messages"),
    "/v1/messages/count_tokens": (messages.Body, "How many tokens a prompt has"),
    "/v1/embeddings": (embeddings.Body, "Vectors for texts"),
}
_PAGES = {
    "/v1/models": "Every name that may be asked for",
    "/v1/models/{id}": "One of them",
    "/health": "Whether chats are taken",
    "/metrics": "Counts, for Prometheus",
    "/openapi.json": "This document",
}
_CONTEXT = {
    "x-routerd-context": "The caller's context: platform=cli,task=plan",
    "x-routerd-priority": "interactive, normal or background",
    "x-routerd-local-only": "true: nothing leaves this machine",
    "x-routerd-deadline": "Seconds that every wait together may take",
}


async def openapi(_services: Services, _ask: Ask) -> Reply:
    return Reply(body=document())


@cache
def document() -> bytes:
    """OpenAPI 3.1, as JSON."""
    bodies = list({body: None for body, _ in _CHATS.values()})
    schemas, components = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    of = dict(zip(bodies, schemas, strict=True))
    paths = {path: {"post": _post(of[body], summary)} for path, (body, summary) in _CHATS.items()}
    paths |= {path: {"get": _get(path, summary)} for path, summary in _PAGES.items()}
    security = {
        "token": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "routerd", "version": __version__},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": security},
        "security": [{"token": []}, {"key": []}],
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=1)


def _post(schema: dict[str, Any], summary: str) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in _CONTEXT.items()
    ]
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"summary": summary, "parameters": parameters, "requestBody": body, "responses": _RESPONSES}


def _get(path: str, summary: str) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": summary, "responses": _RESPONSES}
    if path.endswith("{id}"):
        found["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    return found


_RESPONSES = {
    "200": {"description": "The answer; with stream, as server-sent events"},
    "4XX": {"description": "The request is at fault, in the format's own words"},
    "5XX": {"description": "Nobody could answer; Retry-After says when to ask again"},
}
