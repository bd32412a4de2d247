"""The HTTP front as its callers meet it: chat/completions over the daemon's socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec

from routerd_client import InterruptedAnswerError, RequestFailedError
from routerd_client.chat import FinishReason, Message, Usage
from routerd_client.protocol import Delta, Done, Error, ErrorCode
from routerd_client.records import Attempt, FailureKind

from .fault import Mode, WrongError
from .heard import Heard

URL = "http://localhost/v1/chat/completions"
_HEADERS = {"deadline_s": "x-routerd-deadline"}


async def over_http(socket: Path, prompt: str, mode: Mode, options: dict[str, Any]) -> Heard:
    """Raises `WrongError` where what came is not HTTP as it must be."""
    heard, began = Heard(), anyio.current_time()
    headers = {"x-routerd-context": f"mode={mode}"}
    headers |= {_HEADERS[name]: str(value) for name, value in options.items() if name in _HEADERS}
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "stream": mode != "whole",
        "stream_options": {"include_usage": True},
        **{name: value for name, value in options.items() if name not in _HEADERS},
    }
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
        session.post(URL, json=body, headers=headers) as answer,
    ):
        if answer.status != 200:
            _refused(heard, answer, json.loads(await answer.read()))
        elif mode == "whole":
            _whole(heard, answer, json.loads(await answer.read()))
        else:
            _streamed(heard, answer, await answer.read())
    heard.seconds = anyio.current_time() - began
    return heard


def _refused(heard: Heard, answer: aiohttp.ClientResponse, body: dict[str, Any]) -> None:
    _must("choices" not in body, "an error with an answer in it")
    told = body["routerd"].get("retry_after")
    _must(("retry-after" in answer.headers) == (told is not None), "the header Retry-After is not the error's")
    heard.failed = RequestFailedError(_error(body))


def _whole(heard: Heard, answer: aiohttp.ClientResponse, body: dict[str, Any]) -> None:
    (choice,) = body["choices"]
    heard.events.append(_done(answer, body["routerd"], choice["finish_reason"], body["usage"], choice["message"]))


def _streamed(heard: Heard, answer: aiohttp.ClientResponse, body: bytes) -> None:
    *events, rest = body.split(b"\n\n")
    _must(not rest, "the stream ends in the middle of an event")
    chunks = [event.removeprefix(b"data: ") for event in events if not event.startswith(b":")]
    whole = chunks[-1] == b"[DONE]"
    chunks = chunks[: -1 if whole else None]
    finish = ""
    usage: dict[str, Any] = {}
    about: dict[str, Any] = {}
    for chunk in map(json.loads, chunks):
        if "error" in chunk:
            _must(not whole and not finish, "an error, and a normal end too")
            heard.failed = InterruptedAnswerError(_error(chunk), heard.text)
        about = about or chunk.get("routerd", {})
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices", ()):
            finish = choice["finish_reason"] or finish
            if text := choice["delta"].get("content"):
                heard.events.append(Delta(id=0, attempt=1, text=text))
    if whole:
        _must(finish, "the end of a stream without a reason")
        heard.events.append(_done(answer, about, finish, usage))


def _done(
    answer: aiohttp.ClientResponse,
    about: dict[str, Any],
    finish: str,
    usage: dict[str, Any],
    message: dict[str, Any] | None = None,
) -> Done:
    tried = {attempt["backend"] for attempt in about["attempts"]} if message is None else {about["backend"]}
    _must(answer.headers["x-routerd-backend"] in tried, "the header names another backend")
    _must(answer.headers["x-routerd-request-id"] == about["request_id"], "the header names another request")
    return Done(
        id=0,
        attempt=1,
        request_id=about["request_id"],
        backend=about["backend"],
        model=about["model"],
        endpoint=about["endpoint"],
        finish_reason=FinishReason(finish),
        usage=Usage(
            usage["prompt_tokens"],
            usage["completion_tokens"],
            usage["prompt_tokens_details"]["cached_tokens"],
            usage["completion_tokens_details"]["reasoning_tokens"],
        ),
        message=Message(role="assistant", content=message["content"]) if message else None,
        attempts=msgspec.convert(about["attempts"], list[Attempt]),
        flaw=FailureKind(about["flaw"]) if "flaw" in about else None,
    )


def _error(body: dict[str, Any]) -> Error:
    about = body["routerd"]
    return Error(
        id=0,
        code=ErrorCode(about["code"]),
        message=body["error"]["message"],
        retryable=about.get("retryable", False),
        retry_after=about.get("retry_after"),
        request_id=about["request_id"],
        attempts=msgspec.convert(about.get("attempts", []), list[Attempt]),
    )


def _must(fact: object, otherwise: str) -> None:
    if not fact:
        raise WrongError(otherwise)
