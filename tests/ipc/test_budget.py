"""Money, over real sockets: no request costs more than may be spent, whatever happens to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from routerd.logs import logging_to
from routerd.selftest.fake_api import FakeApi, fake_api, refused_url
from routerd.selftest.fake_formats import Knobs
from routerd_client import AsyncClient, Done, InterruptedAnswerError, RequestFailedError
from routerd_client.protocol import BudgetResult, ErrorCode
from routerd_client.records import Attempt, BreakerState, BudgetLine, FailureKind, Outcome
from tests.support.daemon import Running, fake, routes, running_daemon
from tests.support.wait import until

PRICE = {"input": 10, "output": 100}
"""Dollars a million tokens: an answer of the fake API (20 tokens to it, 9 from it) costs 1100 micro-dollars."""
COST = 20 * 10 + 9 * 100
ANSWER = 100
"""Tokens that a request allows; its reservation is a cent or so."""


def paid(api: FakeApi | str, **more: object) -> str:
    """A metered backend at ``api``."""
    base_url = api if isinstance(api, str) else api.base_url
    openai = {"base_url": base_url, "model": "m", "timeouts": {"stall": 0.3, "first_token": 5}}
    return json.dumps({"openai": openai, "billing": "metered", "price": PRICE, **more})


@asynccontextmanager
async def spending(
    folder: Path, api: FakeApi, budgets: str, *, local: bool = False, **backend: object
) -> AsyncIterator[Running]:
    backends = {"cloud": paid(api, **backend)}
    if local:
        backends["small"] = fake()
    async with running_daemon(folder, routes(rest=f"budgets: {budgets}", **backends)) as daemon:
        yield daemon


async def ask(client: AsyncClient, **options: object) -> Done:
    return await client.chat("hello", max_tokens=ANSWER, **options)  # type: ignore[arg-type]


def line(found: BudgetResult, scope: str = "total", *, month: bool = False) -> BudgetLine:
    period = found.month if month else found.day
    return next(line for line in found.lines if (line.scope, line.period) == (scope, period))


async def spent(daemon: Running, scope: str = "total") -> int:
    async with daemon.client() as client:
        return line(await client.budget(), scope).spent_microusd


async def test_an_answer_costs_what_it_used(tmp_path: Path) -> None:
    async with fake_api() as api, spending(tmp_path, api, "{daily_usd: 5}") as daemon, daemon.client() as client:
        done = await ask(client)

        assert done.cost_microusd == COST
        assert [(a.cost_microusd, a.usage) for a in done.attempts] == [(COST, done.usage)]
        found = await client.budget()
        assert found.allowed
        total = line(found)
        assert (total.spent_microusd, total.reserved_microusd, total.left_microusd) == (COST, 0, 5_000_000 - COST)
        assert line(found, month=True).spent_microusd == COST
        assert line(found, "backend:cloud").spent_microusd == COST
        assert line(found, "client:test").spent_microusd == COST


async def test_fifty_at_once_at_the_edge_never_pass_the_limit(tmp_path: Path) -> None:
    """Each may cost more than it does: some wait for what others give back, and all that is left is used."""
    limit = 20 * COST + COST // 2
    async with (
        fake_api(Knobs(before_first=0.02)) as api,
        spending(tmp_path, api, f"{{daily_usd: {limit / 1e6}}}") as daemon,
    ):
        worst, answered, asking = 0, 0, True
        denials: list[RequestFailedError] = []

        async def one() -> None:
            nonlocal answered
            async with daemon.client() as client:
                try:
                    await ask(client)
                    answered += 1
                except RequestFailedError as error:
                    denials.append(error)

        async def watch() -> None:
            nonlocal worst
            async with daemon.client() as client:
                while asking:
                    total = line(await client.budget())
                    worst = max(worst, total.spent_microusd + total.reserved_microusd)
                    await anyio.sleep(0.002)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            async with anyio.create_task_group() as fifty:
                for _ in range(50):
                    fifty.start_soon(one)
            asking = False

        assert {denial.code for denial in denials} == {ErrorCode.BUDGET}
        assert all("budget_daily" in str(denial) for denial in denials)
        assert len(api.asked) == answered == 50 - len(denials)
        assert await spent(daemon) == answered * COST
        assert worst <= limit
        reservation = 11_000  # what one may cost at most: then the next one no longer fits
        assert limit - reservation < answered * COST <= limit


async def test_a_free_model_with_a_paid_fallback_cannot_overspend(tmp_path: Path) -> None:
    async with fake_api() as api:
        rest = "budgets: {daily_usd: 0.011}"
        text = routes(rest=rest, small=fake("--fail server_error"), cloud=paid(api))
        async with running_daemon(tmp_path, text) as daemon, daemon.client() as client:
            await ask(client)
            for _ in range(4):
                with pytest.raises(RequestFailedError):
                    await ask(client)

            assert len(api.asked) == 1
            assert await spent(daemon) == COST


async def test_where_nothing_is_left_local_models_go_on(tmp_path: Path) -> None:
    async with (
        fake_api() as api,
        spending(tmp_path, api, "{daily_usd: 0, monthly_usd: 1}", local=True) as daemon,
        daemon.client() as client,
    ):
        done = await ask(client)
        decision = await client.route("hello")

        assert done.backend == "small"
        assert done.cost_microusd == 0
        assert [(s.backend, s.failure) for s in decision.skipped] == [("cloud", FailureKind.BUDGET_DENIED)]
        assert decision.skipped[0].reason.startswith("budget_daily: ")
        with pytest.raises(RequestFailedError, match="budget_daily") as failed:
            await ask(client, model="cloud")
        assert failed.value.code is ErrorCode.BUDGET
        found = await client.budget()
        assert not found.allowed
        assert found.reason.startswith("budget_daily")


async def test_a_request_that_may_cost_more_than_is_left_is_not_even_tried(tmp_path: Path) -> None:
    """There is something left, but not enough for this one; explain says so too."""
    budgets = "{monthly_usd: 0.005}"
    async with (
        fake_api() as api,
        spending(tmp_path, api, budgets, local=True) as daemon,
        daemon.client() as client,
    ):
        decision = await client.route("hello", max_tokens=ANSWER)
        (skipped,) = decision.skipped
        assert (skipped.backend, skipped.failure) == ("cloud", FailureKind.BUDGET_DENIED)
        assert skipped.reason.startswith("budget_monthly: ")
        assert "$0.005 is left, and this request may cost $0.01" in skipped.reason
        assert [a.backend for a in (await ask(client)).attempts] == ["small"]
        assert api.asked == []

        assert (await client.route("hello", max_tokens=1)).skipped == []
        assert (await client.chat("hello", max_tokens=1)).backend == "cloud"


async def test_money_that_somebody_else_took_meanwhile_is_found_missing_at_the_attempt(tmp_path: Path) -> None:
    """Both are let through, for either fits; the second one waits, and finds that nothing was given back."""
    budgets = "{monthly_usd: 0.016}"
    async with (
        fake_api(Knobs(usage=False, before_headers=0.1)) as api,
        spending(tmp_path, api, budgets, local=True) as daemon,
        daemon.client() as client,
    ):
        done: list[Done] = []

        async def one() -> None:
            done.append(await ask(client))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            tasks.start_soon(one)

        attempts = [[(a.backend, a.outcome, a.failure) for a in one.attempts] for one in done]
        assert sorted(attempts, key=len) == [
            [("cloud", Outcome.OK, None)],
            [("cloud", Outcome.FAILED, FailureKind.BUDGET_DENIED), ("small", Outcome.OK, None)],
        ]
        assert len(api.asked) == 1
        assert daemon.backend("cloud").failures == 0


async def test_who_waits_for_money_does_not_hold_the_probe_of_a_breaker(tmp_path: Path) -> None:
    rest = "budgets: {daily_usd: 0.016}"
    async with fake_api(Knobs(status=500)) as api, fake_api(Knobs(before_headers=60)) as slow:
        cloud = paid(api, health={"allowed_fails": 1, "cooldown": 0.05})
        text = routes(rest=rest, cloud=cloud, slow=paid(slow))
        async with running_daemon(tmp_path, text) as daemon, daemon.client() as client:
            with pytest.raises(RequestFailedError):
                await ask(client, model="cloud")
            api.knobs.status = 200
            await until(lambda: daemon.backend("cloud").breaker is BreakerState.HALF_OPEN, "it may be tried")

            async with anyio.create_task_group() as tasks:

                async def spending_most() -> None:
                    await ask(client, model="slow")

                async def waiting() -> None:
                    await ask(client, model="cloud")

                tasks.start_soon(spending_most)
                await until(lambda: slow.asked, "most of the money is set aside")
                tasks.start_soon(waiting)
                await until(lambda: daemon.status().requests["open"] == 2, "another one waits for it")

                done = await client.chat("hello", model="cloud", max_tokens=1)  # for this there is enough
                assert done.backend == "cloud"
                tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("budgets", "context", "scope"),
    [
        ("{backends: {cloud: {daily_usd: 0.011}}}", {}, "backend cloud"),
        ("{clients: {test: {daily_usd: 0.011}}}", {}, "client test"),
        ("{routes: {dear: {daily_usd: 0.011}}}", {"task": "dear"}, "route dear"),
    ],
)
async def test_parts_have_limits_of_their_own(
    tmp_path: Path, budgets: str, context: dict[str, str], scope: str
) -> None:
    async with fake_api() as api:
        rest = f"budgets: {budgets}\nroutes: [{{name: dear, match: {{task: dear}}, use: cloud}}]"
        async with running_daemon(tmp_path, routes(rest=rest, cloud=paid(api))) as daemon, daemon.client() as client:
            await ask(client, context=context)
            with pytest.raises(RequestFailedError, match=scope):
                await ask(client, context=context)


class Case:
    """How an attempt goes wrong, and what it is taken to cost."""

    def __init__(self, name: str, knobs: Knobs, *, billed: bool, reachable: bool = True) -> None:
        self.name, self.knobs, self.billed, self.reachable = name, knobs, billed, reachable


CASES = [
    Case("refused connection", Knobs(), billed=False, reachable=False),
    Case("error status", Knobs(status=503), billed=False),
    Case("too many requests", Knobs(status=429), billed=False),
    Case("broken before it answered", Knobs(reset=True), billed=True),
    Case("cut", Knobs(cut_after=2), billed=True),
    Case("stalled", Knobs(stall_after=2), billed=True),
    Case("never whole", Knobs(end=False), billed=True),
    Case("error in the stream", Knobs(error_after=2), billed=True),
    Case("garbage", Knobs(garbage_after=2), billed=True),
    Case("no usage told", Knobs(usage=False), billed=True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_failure_costs_all_that_was_reserved_unless_it_cannot_be_billed(tmp_path: Path, case: Case) -> None:
    async with fake_api(case.knobs) as api:
        there = paid(api if case.reachable else refused_url())
        async with running_daemon(tmp_path, routes(cloud=there)) as daemon, daemon.client() as client:
            attempts: list[Attempt] = []
            try:
                attempts = (await ask(client)).attempts
            except RequestFailedError as error:
                attempts = error.attempts
            found = line(await client.budget())

            assert found.reserved_microusd == 0
            assert found.spent_microusd == sum(attempt.cost_microusd for attempt in attempts)
            for attempt in attempts:
                assert attempt.usage is None
                assert (attempt.cost_microusd > ANSWER * 100) is case.billed
                assert (attempt.cost_microusd == 0) is not case.billed


async def test_an_answer_that_somebody_breaks_off_costs_all_that_was_reserved(tmp_path: Path) -> None:
    async with (
        fake_api(Knobs(stall_after=2)) as api,
        spending(tmp_path, api, "{daily_usd: 5}", health={"allowed_fails": 9}) as daemon,
        daemon.client() as client,
    ):
        with anyio.CancelScope() as leaving:
            async for event in client.stream("hello", max_tokens=ANSWER):
                if event.text:
                    leaving.cancel()

        await until(lambda: spent(daemon), "it is settled")
        assert await spent(daemon) > ANSWER * 100


async def test_the_log_tells_what_was_paid_for_answers_that_came_to_nothing(tmp_path: Path) -> None:
    log = tmp_path / "routerd.log"
    async with (
        fake_api(Knobs(stall_after=2)) as slow,
        spending(tmp_path, slow, "{daily_usd: 5}", health={"allowed_fails": 9}) as daemon,
        daemon.client() as client,
    ):
        with logging_to(log, terminal=False):
            with pytest.raises((InterruptedAnswerError, RequestFailedError)):
                async for _ in client.stream("hello", max_tokens=ANSWER):
                    pass
            with anyio.CancelScope() as leaving:
                async for event in client.stream("hello", max_tokens=ANSWER):
                    if event.text:
                        leaving.cancel()
            await until(lambda: daemon.status().requests["cancelled"], "it has ended")
        total = await spent(daemon)
        asked = {chat.request_id for chat in await client.decisions()}
    told = [json.loads(line) for line in log.read_text().splitlines()]
    ends = [line for line in told if line.get("request") in asked and line["event"].startswith("chat.")]
    costs = {line["event"]: line["cost_microusd"] for line in ends}
    assert set(costs) == {"chat.failed", "chat.cancelled"}
    assert min(costs.values()) > ANSWER * 100
    assert sum(costs.values()) == total


async def test_a_streamed_answer_that_is_cut_is_billed(tmp_path: Path) -> None:
    async with (
        fake_api(Knobs(cut_after=3)) as api,
        spending(tmp_path, api, "{daily_usd: 5}") as daemon,
        daemon.client() as client,
    ):
        with pytest.raises((InterruptedAnswerError, RequestFailedError)):
            async for _ in client.stream("hello", max_tokens=ANSWER):
                pass

        assert await spent(daemon) > ANSWER * 100


async def test_a_restart_keeps_all_and_what_was_never_settled_is_spent(tmp_path: Path) -> None:
    rest = "budgets: {daily_usd: 0.05}"
    async with fake_api() as api:
        async with (
            running_daemon(tmp_path, routes(rest=rest, cloud=paid(api))) as daemon,
            daemon.client() as client,
        ):
            await ask(client)
            api.knobs.stall_after = 2
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_failing, client)
                await until(lambda: len(api.asked) == 2, "the second one left")
                found = line(await client.budget())
                assert found.reserved_microusd > 0
                # as after a kill: the row is there, and nobody is left to settle it
                (tmp_path / "copy").mkdir()
                for name in ("ledger.db", "ledger.db-wal"):
                    (tmp_path / "copy" / name).write_bytes((daemon.places.state / name).read_bytes())
                tasks.cancel_scope.cancel()
        for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
            (tmp_path / "state" / name).unlink(missing_ok=True)
        for copy in (tmp_path / "copy").iterdir():
            copy.rename(tmp_path / "state" / copy.name)

        async with running_daemon(tmp_path, routes(rest=rest, cloud=paid(api))) as daemon:
            assert await spent(daemon) == COST + found.reserved_microusd
            assert await spent(daemon, "backend:cloud") == COST + found.reserved_microusd


async def _failing(client: AsyncClient) -> None:
    with pytest.raises(RequestFailedError):
        await ask(client)


async def test_without_a_readable_ledger_nothing_is_spent_until_somebody_says_what_was(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ledger.db").write_bytes(b"this is no database" * 1000)
    async with (
        fake_api() as api,
        spending(tmp_path, api, "{daily_usd: 5, backends: {cloud: {daily_usd: 2}}}", local=True) as daemon,
        daemon.client() as client,
    ):
        assert (await ask(client)).backend == "small"
        why = (await client.budget()).reason
        assert why == (
            "budget_locked: nobody knows what was spent before: the ledger cannot be read: file is not a database; "
            "say what was spent: routerctl budget set-spent"
        )
        assert (await client.status()).locked == why
        with pytest.raises(RequestFailedError, match=why) as failed:
            await ask(client, model="cloud")
        assert failed.value.code is ErrorCode.BUDGET

        found = await client.set_spent(1_500_000, 20_000_000)

        assert found.allowed
        assert (await client.status()).locked == ""
        assert line(found).spent_microusd == 1_500_000
        assert line(found, month=True).spent_microusd == 20_000_000
        assert line(found, "backend:cloud").left_microusd == 500_000  # perhaps it was all spent there
        assert (await ask(client)).backend == "cloud"

    async with running_daemon(tmp_path, (tmp_path / "routes.yaml").read_text()) as daemon:
        assert await spent(daemon) == 1_500_000 + COST


async def test_a_reload_keeps_the_books_and_has_the_new_limits(tmp_path: Path) -> None:
    async with (
        fake_api() as api,
        spending(tmp_path, api, "{daily_usd: 5}") as daemon,
        daemon.client() as client,
    ):
        await ask(client)
        daemon.write(routes(rest="budgets: {daily_usd: 0.001}", cloud=paid(api)))
        await client.reload()

        assert line(await client.budget()).spent_microusd == COST
        with pytest.raises(RequestFailedError, match=r"\$0.0011 of \$0.001 spent today"):
            await ask(client)


async def test_a_model_that_nobody_knows_the_price_of_is_not_used(tmp_path: Path) -> None:
    async with (
        fake_api() as api,
        spending(tmp_path, api, "{daily_usd: 5}", local=True, price=None) as daemon,
        daemon.client() as client,
    ):
        assert (await ask(client)).backend == "small"
        with pytest.raises(RequestFailedError, match="what 'm' costs is not known"):
            await ask(client, model="cloud")
        warned = (await client.check()).warnings
        assert any("backends.cloud cannot be used" in warning.message for warning in warned)


async def test_what_was_spent_elsewhere_is_booked(tmp_path: Path) -> None:
    async with (
        fake_api() as api,
        spending(tmp_path, api, "{daily_usd: 5}") as daemon,
        daemon.client() as client,
    ):
        await client.record_spend("anthropic", "claude-haiku-4-5", 1000, 100)
        await client.record_spend("cloud", "m", 10, 1)
        found = await client.record_spend("openai", "new-model", cost_microusd=7)

        assert line(found).spent_microusd == 1500 + 200 + 7
        assert line(found, "backend:anthropic").spent_microusd == 1500
        with pytest.raises(RequestFailedError, match="is not known") as failed:
            await client.record_spend("openai", "new-model", 1, 1)
        assert failed.value.code is ErrorCode.NOT_FOUND
        with pytest.raises(RequestFailedError, match=r"'anthropci' is neither .*are cloud, .*anthropic") as failed:
            await client.record_spend("anthropci", "claude-haiku-4-5", cost_microusd=7)
        assert failed.value.code is ErrorCode.NOT_FOUND
        assert "backend:anthropci" not in {line.scope for line in (await client.budget()).lines}


async def test_a_prepaid_quota_is_used_up_and_no_further(tmp_path: Path) -> None:
    """And what is left of it survives a restart."""
    quota = [{"per": "month", "requests": 2}]
    async with fake_api() as api:
        text = routes(cloud=paid(api, billing="prepaid", quota=quota), small=fake())
        async with running_daemon(tmp_path, text) as daemon, daemon.client() as client:
            assert [(await ask(client)).backend for _ in range(3)] == ["cloud", "cloud", "small"]
            assert await spent(daemon) == 0
            decision = await client.route("hello")
            assert decision.skipped[0].failure is FailureKind.QUOTA_SPENT
            assert decision.skipped[0].reason.startswith("quota_spent: 2 of 2 requests")
        async with running_daemon(tmp_path, text) as daemon, daemon.client() as client:
            assert (await ask(client)).backend == "small"
            (left,) = (await client.budget()).quotas
            assert (left.used, left.left, left.pressure) == (2, 0, 0.0)


async def test_the_fuller_quota_goes_first_and_headers_correct_it(tmp_path: Path) -> None:
    headers = {"x-ratelimit-limit-requests": "100", "x-ratelimit-remaining-requests": "10"}
    quota = [{"per": "month", "requests": 100}]
    async with fake_api(Knobs(headers=headers)) as tired, fake_api() as fresh:
        text = (
            f"version: 1\nbackends:\n  a: {paid(tired, billing='prepaid', quota=quota)}\n"
            f"  b: {paid(fresh, billing='prepaid', quota=quota)}\n  c: {fake()}\n"
            "endpoints: {primary: {headroom: [c, a, b]}}\ndefault: primary\n"
            "routes: [{match: {task: thrift}, use: primary, set: {policy: frugal}}]"
        )
        async with running_daemon(tmp_path, text) as daemon, daemon.client() as client:
            assert (await ask(client)).backend == "a"
            decision = await client.route("hello")

            assert [candidate.backend for candidate in decision.candidates] == ["b", "a", "c"]
            assert (await client.budget()).quotas[0].used == 90
            assert (await ask(client, context={"task": "thrift"})).backend == "c"
