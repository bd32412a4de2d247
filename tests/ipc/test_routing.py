"""Routing through a real daemon: chance and load, sessions, names from elsewhere, and what explain says."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import anyio
import pytest
from anyio import to_thread
from structlog.testing import capture_logs

from routerd_client import AsyncClient, RequestFailedError
from routerd_client.protocol import ErrorCode
from tests.support.daemon import ctl, fake, running_daemon
from tests.support.wait import until

QUICK = fake("--tokens 1")


def config(rest: str, **backends: str) -> str:
    lines = [f"  {name}: {backend}" for name, backend in (backends or {"a": QUICK, "b": QUICK}).items()]
    return "\n".join(["version: 1", "backends:", *lines, rest])


EVEN = "endpoints: {even: {weighted: {a: 1, b: 1}}, first: {fallback: [b, a]}}\ndefault: even\n"


async def answered_by(client: AsyncClient, count: int, **options: str) -> Counter[str]:
    return Counter([(await client.chat("hello", **options)).backend for _ in range(count)])  # type: ignore[arg-type]


async def test_without_a_session_chance_decides_each_time(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, config(EVEN)) as running, running.client() as client:
        assert set(await answered_by(client, 40)) == {"a", "b"}


async def test_a_session_stays_with_its_backend_also_over_a_reload(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, config(EVEN)) as running, running.client() as client:
        kept = {f"{n}": (await client.chat("hello", session=f"{n}")).backend for n in range(12)}
        assert set(kept.values()) == {"a", "b"}
        running.write(config(EVEN + "log: {level: debug}\n"))
        assert (await client.reload()).changed
        for session, backend in kept.items():
            assert await answered_by(client, 3, session=session) == {backend: 3}


async def test_a_session_is_bound_in_its_own_endpoint_alone(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, config(EVEN)) as running, running.client() as client:
        for n in range(6):
            await client.chat("hello", session=f"{n}")
            assert (await client.chat("hello", session=f"{n}", model="first")).backend == "b"


async def test_a_session_goes_on_where_its_backend_is_gone(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, config(EVEN)) as running, running.client() as client:
        for n in range(12):
            await client.chat("hello", session=f"{n}")
        running.write(config("default: b", b=QUICK))
        assert (await client.reload()).changed
        for n in range(12):
            assert (await client.chat("hello", session=f"{n}")).backend == "b"


async def test_a_session_may_choose_its_model(tmp_path: Path) -> None:
    text = config("default: a\nroutes: [{match: {task: x}, use: a}]")
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        await client.use("s", "b")
        assert await answered_by(client, 2, session="s") == {"b": 2}
        assert (await client.chat("hello", session="s", model="a")).backend == "a"
        assert (await client.chat("hello", session="s", context={"task": "x"})).backend == "b"
        assert (await client.chat("hello", session="other")).backend == "a"
        await client.use("s")
        assert (await client.chat("hello", session="s")).backend == "a"


async def test_a_session_that_goes_on_asking_keeps_what_it_chose(tmp_path: Path) -> None:
    text = config("default: a\nsticky: {expires: 1s}")
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        await client.use("s", "b")
        end = anyio.current_time() + 1.5
        while anyio.current_time() < end:
            assert (await client.chat("hello", session="s")).backend == "b"

        async def forgotten() -> bool:
            return (await client.route("hello", session="s")).candidates[0].backend == "a"

        await until(forgotten, "without a request it is forgotten")


SLOW = fake("--tokens 6 --delay 0.05", concurrency=1)
LANES = "endpoints: {one: {fallback: [left]}, both: {balance: [left, right]}}\ndefault: both"


async def eight_at_once(client: AsyncClient, model: str) -> tuple[float, Counter[str]]:
    """Seconds until all are answered, and by whom."""
    counts: Counter[str] = Counter()

    async def ask() -> None:
        counts[(await client.chat("hello", model=model)).backend] += 1

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(ask)
    return time.perf_counter() - began, counts


async def test_balance_keeps_two_lanes_busy(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, config(LANES, left=SLOW, right=SLOW)) as running, running.client() as client:
        for lane in ("left", "right"):
            await client.models("load", lane)
        one, counts = await eight_at_once(client, "one")
        assert counts == {"left": 8}
        both, counts = await eight_at_once(client, "both")
        assert counts == {"left": 4, "right": 4}
        assert both <= 0.6 * one, f"{both:.2f} s against {one:.2f} s"


async def test_names_from_elsewhere_reach_endpoints_and_routes(tmp_path: Path) -> None:
    text = config(
        "default: a\naliases: {'gpt-*': b, 'claude-*': routed, small: a}\nroutes: [{match: {task: x}, use: b, name: r}]"
    )
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        assert (await client.chat("hello", model="gpt-4o")).backend == "b"
        assert (await client.chat("hello", model="small", context={"task": "x"})).backend == "a"
        done = await client.chat("hello", model="claude-opus", context={"task": "x"})
        assert (done.backend, done.route) == ("b", "r")
        assert (await client.chat("hello", model="claude-opus")).backend == "a"
        with pytest.raises(RequestFailedError, match="'mistral'") as caught:
            await client.chat("hello", model="mistral")
        assert caught.value.code is ErrorCode.NOT_FOUND


async def test_a_tag_is_a_model(tmp_path: Path) -> None:
    tagged = json.dumps({**json.loads(QUICK), "tags": ["cheap"]})
    text = config("default: a", a=QUICK, b=tagged)
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        done = await client.chat("hello", model="tag:cheap")
        assert (done.backend, done.endpoint) == ("b", "tag:cheap")


EXPLAINED = """\
endpoints: {auto: {by_complexity: [{below: 3, use: a}, {use: {weighted: {b: 1, a: 0}}}]}}
routes:
  - {match: {source_kind: stranger}, use: a}
  - {name: coding, match: {task: code}, use: auto, set: {max_tokens: 64, temperature: 0}}
default: a
"""


async def test_explain_as_json_has_the_whole_decision(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, config(EXPLAINED)) as running:
        prompt = "Explain async vs threads"
        said = await to_thread.run_sync(
            partial(ctl, "--socket", str(running.socket), "explain", prompt, "-c", "task=code", "--json")
        )
        assert said.returncode == 0, said.stderr
        decision = json.loads(said.stdout)
        assert (decision["route"], decision["endpoint"]) == ("coding", "auto")
        assert [set(candidate) >= {"backend", "reasons"} for candidate in decision["candidates"]] == [True]
        assert decision["candidates"][0]["backend"] == "b"
        assert "complexity 4.17: 3 or more" in decision["candidates"][0]["reasons"][0]
        (skip,) = decision["skipped"]
        assert (skip["backend"], skip["reason"]) == ("a", "complexity 4.17: 3 or more; drained (weight 0)")
        assert decision["overrides"] == {"max_tokens": "64", "temperature": "0.0"}
        assert decision["scores"] == {"rules": pytest.approx(4.17, abs=0.01)}
        assert decision["trace"][0] == "routes[0]: no match, the context has no source_kind"
        assert decision["trace"][1] == "coding: match (task=code) -> auto"
        assert running.status().requests.get("ok", 0) == 0, "nothing was generated"


async def test_the_log_of_a_decision_has_its_score_and_what_that_is_made_of(tmp_path: Path) -> None:
    text = config("endpoints: {auto: {by_complexity: [{below: 3, use: a}, {use: b}]}}\ndefault: auto")
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        with capture_logs() as lines:
            await client.chat("Explain async vs threads")
        (line,) = [line for line in lines if line["event"] == "chat.ok"]
        assert (line["scores"], line["tier"]) == ({"rules": 4.17}, "complex")
        assert line["factors"]["rules"] == {"length": 0, "code": 1, "technical": 2, "steps": 0, "question": 3}
        assert "complexity 4.17" in line["why"]


BY_CLIENT = """\
default: a
routes:
  - {name: theirs, match: {client: llm}, use: b}
  - {name: others, match: {client: codex}, use: b}
"""


async def test_a_route_whose_client_always_names_a_model_is_said(tmp_path: Path) -> None:
    """In ``check`` by the ledger, also where the daemon has ended, and in ``routes``."""
    env = {"ROUTERD_STATE_DIR": str(tmp_path / "state")}
    file = tmp_path / "routes.yaml"
    check = partial(to_thread.run_sync, partial(ctl, "check", str(file), env=env))
    async with running_daemon(tmp_path, config(BY_CLIENT)) as running:
        show = partial(to_thread.run_sync, partial(ctl, "--socket", str(running.socket), "routes"))
        async with AsyncClient(running.socket, name="llm") as client:
            assert (await check()).stderr == ""
            await client.chat("hello", model="a")
            await client.chat("hello", model="b")
            said = await show()
            assert "warning: theirs: client 'llm' named a model in all its 2 requests" in said.stderr
            assert "the model 'routed'" in said.stderr
            assert "others" not in said.stderr
            await until(partial(_checked, check), "the ledger has it")
        async with AsyncClient(running.socket, name="codex") as client:
            await client.chat("hello")
    said = await check()
    assert "routes.yaml:7:5: routes[0] 'theirs': client 'llm' named a model in all its 2 requests" in said.stderr
    assert "routes[1]" not in said.stderr
    async with running_daemon(tmp_path, config(BY_CLIENT)) as running:
        async with AsyncClient(running.socket, name="llm") as client:
            assert (await client.chat("hello", model="routed")).backend == "b"
        assert (
            "warning" not in (await to_thread.run_sync(partial(ctl, "--socket", str(running.socket), "routes"))).stderr
        )
    assert (await check()).stderr == ""


async def _checked(check: Callable[[], Awaitable[CompletedProcess[str]]]) -> bool:
    return "routes[0]" in (await check()).stderr
