"""Everything that can go wrong with an API, through the real backend and over real sockets."""

from __future__ import annotations

import json
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from routerd.backends.http import Http
from routerd.selftest.fake_api import FakeApi, fake_api, refused_url
from routerd.selftest.fake_formats import Knobs
from routerd_client.records import FailureKind

from .asking import KEY, ask, backend, each_kind, failure

K = FailureKind
JSON = "application/json"
MS = {"retry-after-ms": "1500"}


def body(**error: Any) -> str:
    return json.dumps({"error": error})


NESTED = "[" * 12_000 + "]" * 12_000
DEEP = f'{{"type": "x", "unknown": {NESTED}}}'
ANSWERED = {
    # status, body, headers -> kind, words, retry after
    "rate limited": (429, body(message="slow"), {"Retry-After": "7"}, K.RATE_LIMITED, "slow", 7.0),
    "for hours": (429, body(message="slow"), {"Retry-After": "7980"}, K.RATE_LIMITED, "429", 7980.0),
    "for milliseconds": (429, body(message="slow"), MS, K.RATE_LIMITED, "429", 1.5),
    "until full again": (429, body(), {"x-ratelimit-reset-tokens": "6m0s"}, K.RATE_LIMITED, "429", 360.0),
    "no quota": (429, body(code="insufficient_quota"), {}, K.QUOTA_SPENT, "429", None),
    "no credit": (400, body(message="Your credit balance is too low"), {}, K.QUOTA_SPENT, "credit", None),
    "payment": (402, body(message="pay"), {}, K.QUOTA_SPENT, "pay", None),
    "unavailable": (503, body(message="busy"), {"Retry-After": "2"}, K.OVERLOADED, "busy", 2.0),
    "overloaded": (529, body(type="overloaded_error", message="Overloaded"), {}, K.OVERLOADED, "Overloaded", None),
    "server error": (500, body(message="oops"), {}, K.SERVER_ERROR, "oops", None),
    "bad gateway": (502, "<html>nginx</html>", {}, K.SERVER_ERROR, "nginx", None),
    "timed out there": (504, "", {}, K.SERVER_ERROR, "504", None),
    "no such key": (401, body(message=f"Incorrect API key: {KEY}."), {}, K.AUTH_FAILED, "Incorrect", None),
    "forbidden": (403, body(message="not in your country"), {}, K.AUTH_FAILED, "country", None),
    "no such model": (404, body(message="no model m"), {}, K.NOT_FOUND, "no model m", None),
    "model unknown": (400, body(code="model_not_found"), {}, K.NOT_FOUND, "400", None),
    "elsewhere": (301, "", {"Location": "https://x.test/"}, K.NOT_FOUND, "https://x.test/", None),
    "too long": (400, body(code="context_length_exceeded"), {}, K.CONTEXT_OVERFLOW, "400", None),
    "too long in words": (400, body(message="prompt is too long: 9 > 8"), {}, K.CONTEXT_OVERFLOW, "9 > 8", None),
    "too large": (413, "", {}, K.CONTEXT_OVERFLOW, "413", None),
    "filtered": (400, body(code="content_filter"), {}, K.CONTENT_FILTERED, "400", None),
    "bad request": (400, body(message="top_k must be int"), {}, K.BAD_REQUEST, "top_k must be int", None),
    "unprocessable": (422, '{"detail": [{"msg": "bad"}]}', {}, K.BAD_REQUEST, "bad", None),
    "an error in a 200": (
        200,
        body(message="oops"),
        {"Content-Type": JSON},
        K.SERVER_ERROR,
        "oops",
        None,
    ),
    "a web page": (200, "<html>Log in</html>", {"Content-Type": "text/html"}, K.MALFORMED, "web page", None),
    "compressed": (200, "x", {"Content-Encoding": "gzip"}, K.MALFORMED, "gzip", None),
    "a deep answer": (200, DEEP, {"Content-Type": JSON}, K.MALFORMED, "nested too deep", None),
    "a deep refusal": (400, f'{{"error": {NESTED}}}', {}, K.BAD_REQUEST, "400", None),
    "until the end of time": (429, body(), {"Retry-After": "1e300"}, K.RATE_LIMITED, "429", 400 * 86_400.0),
    "an odd date": (429, body(), {"Date": "Mon, 01 Jan 2001 00:00:00 +9999999999999"}, K.RATE_LIMITED, "429", None),
    "cut json": (200, '{"choices"', {"Content-Type": JSON}, K.MALFORMED, "format", None),
}


@each_kind
@pytest.mark.parametrize("row", ANSWERED.values(), ids=ANSWERED)
async def test_what_a_server_answers_instead(http: Http, api: FakeApi, kind: str, row: tuple[Any, ...]) -> None:
    status, text, headers, expected, words, retry_after_s = row
    api.knobs = Knobs(status=status, body=text, headers=headers)

    error = await failure(backend(http, kind, api.base_url))

    assert error.kind is expected
    assert words in error.message
    assert error.retry_after_s == retry_after_s
    assert error.hint or expected not in (K.AUTH_FAILED, K.NOT_FOUND, K.QUOTA_SPENT)


BROKEN = {
    "reset instead of an answer": (Knobs(reset=True), K.CONNECT_FAILED, "closed the connection"),
    "silent before the head": (Knobs(before_headers=60), K.TIMEOUT_FIRST_TOKEN, "did not begin"),
    "silent before the first piece": (Knobs(before_first=60), K.TIMEOUT_FIRST_TOKEN, "did not begin"),
    "only keeping alive": (Knobs(before_first=60, pings=0.05), K.TIMEOUT_FIRST_TOKEN, "did not begin"),
    "silent in the middle": (Knobs(stall_after=3), K.STALLED, "fell silent"),
    "keeping alive in the middle": (Knobs(stall_after=3, pings=0.05), K.STALLED, "fell silent"),
    "cut before the first piece": (Knobs(cut_after=0), K.CUT, "broke off"),
    "cut in the middle": (Knobs(cut_after=3), K.CUT, "broke off"),
    "no end": (Knobs(end=False), K.CUT, "broke off"),
    "garbage": (Knobs(garbage_after=3), K.MALFORMED, "not of its format"),
    "another type": (Knobs(garbage_after=3, garbage="data: [1, 2]\n\n"), K.MALFORMED, "not of its format"),
    "not text": (Knobs(garbage_after=3, garbage='data: {"choices": 3, "type": 3}\n\n'), K.MALFORMED, "format"),
    "nested too deep": (Knobs(garbage_after=3, garbage=f"data: {DEEP}\n\n"), K.MALFORMED, "nested too deep"),
    "interim answers without end": (Knobs(interim=True), K.MALFORMED, "no answer's head"),
    "a line without end": (Knobs(huge_after=3), K.MALFORMED, "more than any answer"),
    "an error in the middle": (Knobs(error_after=3), K.SERVER_ERROR, "something went wrong"),
    "overloaded in the middle": (
        Knobs(error_after=3, error={"type": "overloaded_error", "message": "Overloaded"}),
        K.OVERLOADED,
        "Overloaded",
    ),
    "limited in the middle": (
        Knobs(error_after=3, error={"code": "rate_limit_exceeded", "message": "slow", "type": "tokens"}),
        K.RATE_LIMITED,
        "slow",
    ),
    "a status in the middle": (Knobs(error_after=3, error={"code": 503, "message": "busy"}), K.OVERLOADED, "busy"),
    "too long, told late": (
        Knobs(error_after=0, error={"code": "context_length_exceeded", "message": "long"}),
        K.CONTEXT_OVERFLOW,
        "long",
    ),
}


@each_kind
@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
async def test_what_breaks_on_the_way(http: Http, api: FakeApi, kind: str, row: tuple[Knobs, K, str]) -> None:
    api.knobs, expected, words = row

    short = {K.TIMEOUT_FIRST_TOKEN: {"first_token": 0.3}, K.STALLED: {"stall": 0.3}}.get(expected, {})
    error = await failure(backend(http, kind, api.base_url, **short))

    assert error.kind is expected
    assert words in error.message


@each_kind
async def test_an_answer_that_takes_too_long_in_all(http: Http, api: FakeApi, kind: str) -> None:
    api.knobs.between = 0.1

    error = await failure(backend(http, kind, api.base_url, total=0.25))

    assert error.kind is K.STALLED
    assert "whole within 0.25 s" in error.message


async def test_nobody_listens(http: Http) -> None:
    error = await failure(backend(http, "openai", refused_url()))

    assert error.kind is K.CONNECT_FAILED
    assert "connection refused" in error.message
    assert error.hint == "is the server running?"


async def test_there_is_no_such_socket(http: Http, sockets: Path) -> None:
    error = await failure(backend(http, "openai", f"unix:{sockets}/nobody.sock"))

    assert error.kind is K.CONNECT_FAILED
    assert "there is no such socket" in error.message


async def test_there_is_no_such_host(http: Http) -> None:
    error = await failure(backend(http, "anthropic", "https://nobody.invalid/v1", connect=60.0))

    assert error.kind is K.CONNECT_FAILED
    assert error.message == "cannot find the address of nobody.invalid"


async def test_a_certificate_that_nobody_vouches_for(http: Http, certificate: ssl.SSLContext) -> None:
    async with fake_api(tls=certificate) as api:
        error = await failure(backend(http, "openai", api.base_url))

    assert error.kind is K.CONNECT_FAILED
    assert "cannot trust the certificate of localhost" in error.message
    assert "self-signed" in error.message.replace("self signed", "self-signed")
    assert not api.asked


async def test_a_server_without_tls(http: Http) -> None:
    async with fake_api() as api:
        error = await failure(backend(http, "openai", api.base_url.replace("http:", "https:")))

    assert error.kind is K.CONNECT_FAILED
    assert "TLS" in error.message


async def test_a_server_that_takes_no_connection(http: Http, sockets: Path) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)  # until the kernel's queue is full, and it answers nobody
        try:
            error = await failure(backend(http, "openai", f"http://127.0.0.1:{address[1]}/v1", connect=0.2))
        finally:
            for one in waiting:
                one.close()

    assert error.kind is K.TIMEOUT_CONNECT
    assert "no connection to 127.0.0.1" in error.message


async def test_something_that_is_not_http(http: Http, sockets: Path) -> None:
    async def talk(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"220 mail.test ESMTP ready\r\n\r\n")

    listener = await anyio.create_unix_listener(sockets / "mail.sock")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, talk)
        error = await failure(backend(http, "openai", f"unix:{sockets}/mail.sock"))
        tasks.cancel_scope.cancel()

    assert error.kind is K.MALFORMED
    assert "not HTTP" in error.message


@pytest.mark.parametrize("headers", [{"x-team": "blue\r\nx-admin: yes"}, {"x team": "blue"}], ids=str)
async def test_headers_that_cannot_be_sent(http: Http, api: FakeApi, headers: dict[str, str]) -> None:
    error = await failure(backend(http, "openai", api.base_url, headers=headers))

    assert error.kind is not K.SERVER_ERROR
    assert api.asked == []


async def test_the_next_request_is_none_the_worse(http: Http, api: FakeApi) -> None:
    there = backend(http, "openai", api.base_url, stall=0.3)
    for knobs in (Knobs(cut_after=2), Knobs(stall_after=2), Knobs(garbage_after=1), Knobs(status=500)):
        api.knobs = knobs
        await failure(there)

    api.knobs = Knobs()

    assert (await ask(there)).text == "Hello, world!"


async def test_a_proxy_of_the_environment_is_not_used(http: Http, api: FakeApi) -> None:
    os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = refused_url()
    try:
        heard = await ask(backend(http, "openai", api.base_url))
    finally:
        del os.environ["HTTP_PROXY"], os.environ["http_proxy"]

    assert heard.text == "Hello, world!"
