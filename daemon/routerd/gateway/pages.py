"""Which page is at which path."""

from __future__ import annotations

from .. import __version__
from . import models
from .count_tokens import count_tokens
from .embeddings import embeddings
from .formats import FORMATS
from .metrics import metrics
from .nothing import nothing
from .openapi import openapi
from .page import Ask, Page, Reply, json
from .services import Services

TEXT = f"""routerd {__version__}
Ask it as you would OpenAI (/v1/chat/completions, /v1/responses) or Anthropic (/v1/messages); /v1/models lists its
models, /openapi.json is all of it for programs. `routerctl init --harness NAME` sets an agent up.
"""


async def root(_services: Services, _ask: Ask) -> Reply:
    return Reply(body=TEXT.encode(), content_type="text/plain; charset=utf-8")


async def health(services: Services, _ask: Ask) -> Reply:
    """Whether it takes chats. Tells nothing else: it needs no token."""
    taking = not services.draining
    reply = json({"status": "ok" if taking else "draining", "version": __version__})
    return reply if taking else Reply(body=reply.body, status=503)


_NOTHING: dict[str, Page] = {"GET": nothing, "POST": nothing, "DELETE": nothing}

PAGES: dict[str, dict[str, Page]] = {
    "/": {"GET": root},
    "/health": {"GET": health},
    "/metrics": {"GET": metrics},
    "/openapi.json": {"GET": openapi},
    "/v1/models": {"GET": models.all_},
    "/v1/messages/count_tokens": {"POST": count_tokens},
    "/v1/embeddings": {"POST": embeddings},
    "/v1/messages/batches": _NOTHING,
    "/v1/files": _NOTHING,
}
"""By path and method; HEAD is where GET is."""

PREFIXES: dict[str, dict[str, Page]] = {
    "/v1/models/": {"GET": models.one},
    "/v1/responses/": _NOTHING,
    "/v1/messages/batches/": _NOTHING,
    "/v1/files/": _NOTHING,
}
"""By the beginning of the path; its end is `Ask.rest`."""


def places(method: str) -> list[str]:
    """The paths that take ``method``, or, where none does, all."""
    there = dict.fromkeys(FORMATS, ("POST",)) | {path: tuple(of) for path, of in PAGES.items() if of != _NOTHING}
    return [path for path, methods in there.items() if method in methods] or list(there)
