"""Another routerd as a backend: requests that go on to it, and those that must stay on this machine."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from routerd.backends import openai
from routerd.backends.base import BackendError
from routerd.backends.http import Http
from routerd.backends.peer import DEADLINE, LOCAL_ONLY, passed_on, proof, proves
from routerd.config.http import is_near
from routerd.config.load import load
from routerd.gateway.token import FILE
from routerd.routing.terms import Terms
from routerd.selftest.fake_api import FakeApi, fake_api
from routerd.selftest.fake_formats import Knobs
from routerd_client import AsyncClient, RequestFailedError
from routerd_client.chat import ChatRequest
from routerd_client.protocol import ErrorCode
from routerd_client.records import BreakerState, ChatRecord
from tests.support.daemon import Running, fake, running_daemon
from tests.support.wait import until

KINDS = ["openai", "anthropic", "responses"]
SECRET = "keep this here"


@asynccontextmanager
async def chained(
    folder: Path, cloud: FakeApi, *, kind: str = "openai", tcp: bool = False, said: str = ""
) -> AsyncIterator[tuple[Running, Running]]:
    """Two daemons: the first has nobody but the second, which asks ``cloud`` before its own model. ``said`` stands in
    the first one's backend."""
    (folder / "first").mkdir()
    (folder / "second").mkdir()
    second = f"""
backends:
  cloud: {{openai: {{model: m, base_url: "{cloud.base_url}", local: false}}}}
  own: {fake("--tokens 1")}
endpoints: {{primary: {{fallback: [cloud, own]}}}}
routes: [{{name: planning, match: {{task: plan, who: "a, b=ü"}}, use: own}}]
default: primary
{"http: {listen: 127.0.0.1:0}" if tcp else ""}
"""
    async with running_daemon(folder / "second", second) as other:
        url, key = f"unix:{other.socket}", ""
        if tcp:
            url = await until(lambda: other.status().http, "it listens") + "/v1"
            key = f", api_key: {{file: {other.places.state / FILE}}}"
        peer = f'{{{kind}: {{model: routed, base_url: "{url}"{key}{said}}}}}'
        async with running_daemon(folder / "first", f"backends: {{peer: {peer}}}\ndefault: peer\n") as first:
            yield first, other


async def _drained(client: AsyncClient) -> None:
    async for _ in client.stream("hello", deadline_s=0.4):
        pass


async def _newest(running: Running) -> ChatRecord:
    """The newest chat in its ledger."""
    async with running.client() as client:
        return (await client.decisions())[0]


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_that_must_stay_never_reaches_the_others_cloud(tmp_path: Path, kind: str, *, tcp: bool) -> None:
    async with (
        fake_api() as cloud,
        chained(tmp_path, cloud, kind=kind, tcp=tcp) as (first, other),
        first.client() as client,
    ):
        assert (await client.chat(SECRET, local_only=True)).backend == "peer"
        assert (await _newest(other)).backend == "own"
        assert cloud.asked == []
        assert (await client.chat("hello")).backend == "peer"
        assert len(cloud.asked) == 1


async def test_a_key_that_is_missing_is_told_as_that(tmp_path: Path) -> None:
    async with fake_api() as cloud, chained(tmp_path, cloud, tcp=True) as (first, _), first.client() as client:
        text = (tmp_path / "first/routes.yaml").read_text()
        first.write(re.sub(r", api_key: {.*?}", "", text))
        assert (await first.daemon.reload()).changed
        with pytest.raises(RequestFailedError, match="token") as failed:
            await client.chat(SECRET, local_only=True)
        assert "may forward" not in str(failed.value)


@pytest.mark.parametrize("knobs", [Knobs(before_headers=30), Knobs(stall_after=2)], ids=["silent", "stuck"])
async def test_a_deadline_that_both_meet_is_no_fault_of_the_other(tmp_path: Path, knobs: Knobs) -> None:
    async with fake_api(knobs) as cloud, chained(tmp_path, cloud) as (first, _), first.client() as client:
        for stream in (False, True):
            with pytest.raises(RequestFailedError) as failed:
                await (_drained(client) if stream else client.chat("hello", deadline_s=0.4))
            assert failed.value.code in (ErrorCode.DEADLINE, ErrorCode.INTERRUPTED)
        assert first.backend("peer").last_failure is None
        assert first.backend("peer").breaker is BreakerState.CLOSED


@pytest.mark.parametrize("said", ["", ", local: true"])
async def test_where_the_other_has_nobody_but_its_cloud_it_fails(tmp_path: Path, said: str) -> None:
    async with fake_api() as cloud, chained(tmp_path, cloud, said=said) as (first, other), first.client() as client:
        only = (tmp_path / "second/routes.yaml").read_text().replace("[cloud, own]", "[cloud]")
        other.write(only)
        assert (await other.daemon.reload()).changed
        with pytest.raises(RequestFailedError):
            await client.chat(SECRET, local_only=True)
        assert cloud.asked == []


async def test_context_session_priority_and_deadline_go_on(tmp_path: Path) -> None:
    async with fake_api() as cloud, chained(tmp_path, cloud) as (first, other), first.client() as client:
        context = {"task": "plan", "who": "a, b=ü", "ke,y": "%41"}
        await client.chat("hello", context=context, session="s/1 ü", deadline_s=30, priority="background")
        assert cloud.asked == []  # its route matched
        record = await _newest(other)
        assert (record.route, record.context, record.session) == ("planning", context, "s/1 ü")
        assert record.priority == "background"


async def test_headers_in_the_file_win_but_never_over_local_only(tmp_path: Path) -> None:
    theirs = {"x-routerd-context": "from=file", "x-routerd-local-only": "false", "X-Routerd-Session": "theirs"}
    async with fake_api() as api:
        spec = {"model": "m", "base_url": api.base_url, "local": True, "headers": theirs}
        text = json.dumps({"backends": {"it": {"openai": spec}}, "default": "it"})
        async with running_daemon(tmp_path, text) as running, running.client() as client:
            await client.chat("hello", local_only=True, context={"from": "caller"}, session="ours")
        sent = api.asked[0].headers
        assert (sent["x-routerd-context"], sent["x-routerd-session"]) == ("from=file", "theirs")
        assert sent["x-routerd-local-only"] == "true"


async def test_the_deadline_that_is_left_goes_on() -> None:
    with anyio.move_on_after(5):
        await anyio.lowlevel.checkpoint()
        left = float(passed_on(ChatRequest(messages=[], deadline_s=60))[DEADLINE])
    assert 0 < left < 5.01
    assert passed_on(ChatRequest(messages=[])) == {}


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize(
    ("said", "asked", "why"),
    [
        ("", False, "may forward"),
        (", local: false", False, "would leave the machine"),
        (", local: true", True, ""),
    ],
)
async def test_a_server_here_that_is_none_of_ours_is_local_where_the_file_says_so(
    tmp_path: Path, sockets: Path, said: str, why: str, *, asked: bool, unix: bool
) -> None:
    async with fake_api(unix=sockets / "api.sock" if unix else None) as api:
        text = f'backends: {{it: {{openai: {{model: m, base_url: "{api.base_url}"{said}}}}}}}\ndefault: it\n'
        async with running_daemon(tmp_path, text) as running, running.client() as client:
            if asked:
                assert (await client.chat(SECRET, local_only=True)).backend == "it"
                assert api.asked[0].headers[LOCAL_ONLY] == "true"  # it may be a routerd all the same
            else:
                with pytest.raises(RequestFailedError, match=why) as failed:
                    await client.chat(SECRET, local_only=True)
                assert failed.value.code is ErrorCode.BAD_REQUEST
                assert api.asked == []
                assert (await client.route("x", local_only=True)).candidates == []
            assert (await client.chat("hello")).backend == "it"
            assert running.backend("it").breaker is BreakerState.CLOSED


async def test_a_server_that_took_the_place_of_a_routerd_is_sent_nothing(tmp_path: Path, sockets: Path) -> None:
    """An earlier proof does not count: it is asked anew, before the prompt is sent."""
    place = sockets / "peer.sock"
    text = f'backends: {{peer: {{openai: {{model: routed, base_url: "unix:{place}"}}}}}}\ndefault: peer\n'
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    async with running_daemon(tmp_path / "first", text) as first, first.client() as client:
        async with running_daemon(
            tmp_path / "second", f"backends: {{own: {fake('--tokens 1')}}}\ndefault: own"
        ) as other:
            place.symlink_to(other.socket)
            assert (await client.chat(SECRET, local_only=True, model="peer")).backend == "peer"
        place.unlink()
        async with fake_api(unix=place) as api:
            with pytest.raises(RequestFailedError, match="may forward"):
                await client.chat(SECRET, local_only=True)
            assert api.asked == []


async def test_embeddings_that_must_stay_are_not_sent_to_who_may_forward_them(tmp_path: Path) -> None:
    async def nobody(_news: object) -> None: ...

    async with fake_api() as api, Http(tmp_path) as http:
        config = load(f'backends: {{a: {{openai: {{model: m, base_url: "{api.base_url}"}}}}}}\ndefault: a', "f").config
        spec = config.backends["a"].openai
        assert spec
        backend = http.backend("a", "openai", spec, openai)
        with pytest.raises(BackendError, match="may forward"):
            await backend.embed({"input": SECRET}, ChatRequest(messages=[], local_only=True), Terms(), nobody)
        assert api.asked == []


def test_a_proof_holds_for_its_challenge_alone() -> None:
    assert proves("a", proof("a"))
    assert not proves("a", proof("b"))
    assert not proves("a", "")


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("unix:/x.sock", True),
        ("http://localhost:1/v1", True),
        ("http://LOCALHOST:1/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://127.8.8.8/v1", True),
        ("http://[::1]:1/v1", True),
        ("http://models.localhost/v1", True),
        ("http://10.0.0.7/v1", False),
        ("http://mac.local/v1", False),
        ("https://localhost.example.com/v1", False),
        ("", False),
    ],
)
def test_loopback_and_unix_sockets_are_on_this_machine(url: str, *, near: bool) -> None:
    assert is_near(url) is near
