"""What goes wrong with backends over HTTP."""

from __future__ import annotations

from typing import Any

from routerd_client.chat import Usage
from routerd_client.protocol import ErrorCode
from routerd_client.records import FailureKind as K

from .fake_api import FOREVER
from .fake_formats import Knobs
from .fault import COOLDOWN, FIRST_SAYS, SECOND, Api, Expect, Fault, Worker, api, everywhere, midway

SILENT = {"timeouts": {"connect": "5s", "first_token": "500ms", "stall": "500ms"}}
"""For the backends that fall silent; the others keep their time, however busy the machine is."""
DEEP = 'data: {"type": "x", "unknown": ' + "[" * 12_000 + "]" * 12_000 + "}\n\n"
SLOW = 0.05
"""Between two pieces: what comes together with a fault may share its fate."""


def _fault(name: str, does: str, first: Api, expect: dict[Any, Expect], *, second: Any = SECOND, **more: Any) -> Fault:
    return Fault(name=name, does=does, backends={"first": first, "second": second}, expect=expect, **more)


def _alone(name: str, does: str, first: Api, expect: dict[Any, Expect], **more: Any) -> Fault:
    return Fault(name=name, does=does, backends={"first": first}, expect=expect, **more)


def _error(message: str = "no", **error: Any) -> dict[str, Any]:
    return {"message": message, **error}


LIMITS = (
    _fault(
        "429 with a time",
        "429 and Retry-After: 30",
        api(status=429, headers={"retry-after": "30"}),
        everywhere(tries="first: rate_limited, second", rests=30.0, again=Expect(tries="second", rests=30.0)),
    ),
    _fault(
        "429 without a time",
        "429 and nothing else: it rests for health.cooldown",
        api(status=429),
        everywhere(tries="first: rate_limited, second", rests=COOLDOWN, again=Expect(tries="second", rests=COOLDOWN)),
    ),
    _alone(
        "429 and nobody else",
        "the only backend limits: it is left alone all the same",
        api(status=429, headers={"retry-after": "30"}),
        everywhere(
            tries="first: rate_limited",
            code=ErrorCode.OVERLOADED,
            retry_after=30.0,
            rests=30.0,
            again=Expect(tries="", code=ErrorCode.OVERLOADED, retry_after=30.0, rests=30.0),
        ),
    ),
    _fault(
        "quota spent",
        "429 with the code insufficient_quota",
        api(status=429, error=_error(code="insufficient_quota")),
        everywhere(tries="first: quota_spent, second", rests=COOLDOWN, again=Expect(tries="second", rests=COOLDOWN)),
    ),
    _fault(
        "503 for ever",
        "503: overloaded, so it rests for health.cooldown",
        api(status=503),
        everywhere(tries="first: overloaded, second", rests=COOLDOWN, again=Expect(tries="second", rests=COOLDOWN)),
    ),
)

ERRORS = (
    _alone(
        "500 once",
        "500, and well a moment later",
        api(status=500, times=1),
        everywhere(tries="first: server_error, first"),
    ),
    _fault(
        "500 for ever",
        "500 again and again: once more in place, then the next",
        api(status=500),
        everywhere(tries="first: server_error, first: server_error, second"),
    ),
    _fault(
        "500 with a time",
        "500 and Retry-After: 30: not asked again before",
        api(status=500, headers={"retry-after": "30"}),
        everywhere(tries="first: server_error, second", rests=30.0, again=Expect(tries="second", rests=30.0)),
    ),
    _fault(
        "both 500",
        "500 everywhere: one retry is all that a request costs",
        api(status=500),
        everywhere(tries="first: server_error, first: server_error, second: server_error", code=ErrorCode.UNAVAILABLE),
        second=api(status=500),
    ),
    _fault(
        "context too long",
        "400 with the code context_length_exceeded: never sent again unchanged, and no mark on it",
        api(status=400, error=_error(code="context_length_exceeded")),
        everywhere(tries="first: context_overflow, second"),
    ),
    _fault(
        "context too long for all",
        "the same of both",
        api(status=400, error=_error(code="context_length_exceeded")),
        everywhere(tries="first: context_overflow, second: context_overflow", code=ErrorCode.CONTEXT_OVERFLOW),
        second=api(status=413),
    ),
    _fault(
        "content filter",
        "400 with the code content_filter: the caller's to know",
        api(status=400, error=_error(code="content_filter")),
        everywhere(tries="first: content_filtered", code=ErrorCode.CONTENT_FILTERED),
    ),
    _fault(
        "content filter, rerouted",
        "the same where the endpoint escalates on content_filter",
        api(status=400, error=_error(code="content_filter")),
        everywhere(tries="first: content_filtered, second"),
        endpoint={"escalate_on": ["error", "content_filter"]},
    ),
    _fault(
        "wrong key",
        "401: nobody asks it again until the configuration changes",
        api(status=401),
        everywhere(tries="first: auth_failed, second", again=Expect(tries="second")),
    ),
    _fault(
        "no key",
        "its key cannot be had: looked for again in a minute",
        api(settings={"api_key": {"file": "no such file"}}),
        everywhere(tries="first: auth_failed, second", asked=0, rests=60.0, again=Expect(tries="second", rests=60.0)),
    ),
    _fault(
        "no such model",
        "404",
        api(status=404),
        everywhere(tries="first: not_found, second"),
    ),
    _fault(
        "bad request",
        "400: the caller's own, so nobody else is asked",
        api(status=400),
        everywhere(tries="first: bad_request", code=ErrorCode.BAD_REQUEST),
    ),
    _fault(
        "the fallback rejects it",
        "503, and then 400 for what the first might take: worth asking again",
        api(status=503),
        everywhere(
            tries="first: overloaded, second: bad_request",
            code=ErrorCode.OVERLOADED,
            retry_after=COOLDOWN,
            rests=COOLDOWN,
        ),
        second=api(status=400),
    ),
    Fault(
        name="one fallback rejects it",
        does="503, then 400, and the third takes it",
        backends={"first": api(status=503), "second": api(status=400), "third": SECOND},
        expect=everywhere(tries="first: overloaded, second: bad_request, third", rests=COOLDOWN),
    ),
    _fault(
        "a web page",
        "200 and HTML",
        api(body="<html>Log in</html>", headers={"Content-Type": "text/html"}),
        everywhere(tries="first: malformed, second"),
    ),
)

CONNECTIONS = (
    _fault(
        "reset before the head",
        "the connection is reset instead of an answer",
        api(reset=True),
        everywhere(tries="first: connect_failed, first: connect_failed, second"),
    ),
    _fault(
        "reset once",
        "the same, and well a moment later",
        api(reset=True, times=1),
        everywhere(tries="first: connect_failed, first"),
    ),
    _fault(
        "connection refused",
        "nobody listens there",
        Api(knobs=Knobs(), base_url="http://127.0.0.1:{refused}/v1"),
        everywhere(tries="first: connect_failed, first: connect_failed, second", asked=0),
    ),
    _fault(
        "no TLS",
        "a server without TLS at an https address",
        Api(knobs=Knobs(), base_url="https://127.0.0.1:{port}/v1"),
        everywhere(tries="first: connect_failed, first: connect_failed, second", asked=0),
    ),
    _fault(
        "no such host",
        "a name that no DNS knows",
        Api(knobs=Knobs(), base_url="https://nobody.invalid/v1", settings={"timeouts": {"connect": "15s"}}),
        everywhere(tries="first: connect_failed, first: connect_failed, second", asked=0),
        within=60.0,  # some resolvers take their time to say no
    ),
    _fault(
        "no response at all",
        "the request is taken, and nothing comes",
        api(before_headers=FOREVER, settings=SILENT),
        everywhere(tries="first: timeout_first_token, second"),
    ),
    _fault(
        "200 and silence",
        "200, and nothing more",
        api(before_first=FOREVER, settings=SILENT),
        everywhere(tries="first: timeout_first_token, second"),
    ),
    _fault(
        "only kept alive",
        "200, and comments that keep the connection open",
        api(before_first=FOREVER, pings=0.05, settings=SILENT),
        everywhere(tries="first: timeout_first_token, second"),
    ),
    _fault(
        "endless 100 Continue",
        "it says again and again that an answer is still to come",
        api(interim=True),
        everywhere(tries="first: malformed, second"),
    ),
    _alone(
        "slow first token",
        "a second of silence where more is allowed: no failure",
        api(before_first=1.0),
        everywhere(tries="first"),
    ),
    _alone(
        "the deadline passes",
        "silence, and the request may take 500 ms",
        api(before_headers=FOREVER),
        everywhere(tries="first: cancelled", code=ErrorCode.DEADLINE),
        options={"deadline_s": 0.5},
    ),
)

STREAMS = (
    _fault("cut midway", "the connection breaks in the answer", api(cut_after=2, between=SLOW), midway(K.CUT)),
    _fault(
        "stall midway",
        "silence in the answer",
        api(stall_after=2, settings=SILENT),
        midway(K.STALLED),
    ),
    _fault(
        "malformed event",
        "an event that is no JSON, in the answer",
        api(garbage_after=2, between=SLOW),
        midway(K.MALFORMED),
    ),
    _fault(
        "nested too deep",
        "an event whose JSON is nested 12 000 deep, in the answer",
        api(garbage_after=2, garbage=DEEP, between=SLOW),
        midway(K.MALFORMED),
    ),
    _fault(
        "error midway",
        "an error event in the answer",
        api(error_after=2, between=SLOW),
        midway(K.SERVER_ERROR, retried=True),
    ),
    _fault(
        "no end marker",
        "all the text, and the stream ends without a reason to finish",
        api(end=False, between=SLOW),
        midway(K.CUT),
    ),
    _fault(
        "cut midway, gone on with",
        "the next is known to go on from an answer's beginning (prefill)",
        api(cut_after=2, between=SLOW),
        midway(K.CUT)
        | {"live": Expect(tries="first: cut, second", text="".join([*FIRST_SAYS[:2], *SECOND.knobs.pieces]))},
        second=api(pieces=SECOND.knobs.pieces, settings={"prefill": True}),
    ),
    Fault(
        name="cut twice, gone on with",
        does="so is the next, and a model process ends it; one between them that cannot go on is not asked",
        backends={
            "first": api(cut_after=2, between=SLOW),
            "second": api(pieces=SECOND.knobs.pieces, cut_after=2, between=SLOW, settings={"prefill": True}),
            "third": SECOND,
            "fourth": Worker(),
        },
        expect={
            "live": Expect(tries="first: cut, second: cut, fourth", text="It is the first The second one t0 t1 t2"),
            "safe": Expect(tries="first: cut, second: cut, third"),
        },
    ),
    _alone("no usage", "an answer without its usage", api(usage=False), everywhere(tries="first", usage=Usage())),
    _alone(
        "absurd usage",
        "every count of its usage is 2^70: nobody knows what it used",
        api(count=2**70),
        everywhere(tries="first", usage=Usage()),
    ),
    _fault(
        "accounting after a fallback",
        "503; usage and model are those of the model process that answers",
        api(status=503),
        everywhere(tries="first: overloaded, second", usage=Usage(7, 3), rests=COOLDOWN),
        second=Worker(),
    ),
)

APIS: tuple[Fault, ...] = (*LIMITS, *ERRORS, *CONNECTIONS, *STREAMS)
