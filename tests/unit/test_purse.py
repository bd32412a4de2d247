"""Money on the way through real files: clocks, restarts, and requests that leave while they wait."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import anyio
import pytest
from msgspec.structs import replace

from routerd.config.load import load
from routerd.dispatch.costs import Costs
from routerd.dispatch.hop import Asking, DeniedError
from routerd.dispatch.persona import with_persona
from routerd.dispatch.purse import Purse
from routerd.routing.terms import Terms
from routerd.routing.view import Wanted
from routerd.spend.budget import TOTAL
from routerd.spend.price import shipped
from routerd.spend.quota import Told
from routerd.spend.tariff import tariffs
from routerd.store.writer import READERS, Store
from routerd_client.chat import ChatRequest, Message, Usage
from tests.support.wait import until

CONFIG = """
version: 1
backends: {a: {openai: {model: m, base_url: https://there.example/v1}, price: {input: 1, output: 1}}}
default: a
budgets: {daily_usd: 0.001, monthly_usd: 0.002, time_zone: Europe/Berlin}
"""
TOKENS = 900
"""Of an answer; with the prompt a request may cost 900 to 1000 micro-dollars."""


class Clock:
    def __init__(self, text: str) -> None:
        self.set(text)

    def set(self, text: str) -> None:
        self.now = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def purse(folder: Path, clock: Clock) -> AsyncIterator[Purse]:
    async with Store(folder / "ledger.db") as store:
        found = Purse(store, clock)
        found.configure(load(CONFIG, "routes.yaml").config, shipped())
        await found.load()
        yield found


def asking() -> Asking:
    return Asking(
        backend="a",
        tariff=tariffs(load(CONFIG, "routes.yaml").config, shipped()).of("a"),
        chat=ChatRequest(messages=[Message("user", "hello")], max_tokens=TOKENS),
        request="r",
        attempt=1,
        route="",
        client="",
    )


async def spend(found: Purse, amount: int) -> None:
    hop = await found.open(asking())
    assert await found.settle(hop, Usage(0, amount), billed=True, told=[]) == amount


async def test_a_clock_that_is_set_back_and_a_restart_open_no_fresh_day(tmp_path: Path) -> None:
    clock = Clock("2026-11-21T12:00")
    async with purse(tmp_path, clock) as found:
        await spend(found, 40)
        clock.set("2026-11-19T12:00")
        await spend(found, 50)
        assert found.accounts.spent(TOTAL, "2026-11-21") == 90

    async with purse(tmp_path, clock) as found:
        assert found.accounts.spent(TOTAL, "2026-11-21") == 90
        with pytest.raises(DeniedError, match="budget_daily"):
            await found.open(asking())


async def test_a_new_day_and_a_new_month_begin_where_the_user_lives(tmp_path: Path) -> None:
    clock = Clock("2026-11-30T22:59:59")  # a second before midnight there
    async with purse(tmp_path, clock) as found:
        await spend(found, 900)
        with pytest.raises(DeniedError, match="budget_daily"):
            await found.open(asking())
        clock.now += 1
        await spend(found, 900)
        clock.set("2026-12-02T12:00")
        await spend(found, 900)
        clock.set("2026-12-03T12:00")
        with pytest.raises(DeniedError, match="budget_monthly"):
            await found.open(asking())

    async with purse(tmp_path, clock) as found:
        assert found.accounts.spent(TOTAL, "2026-11") == 900
        assert found.accounts.spent(TOTAL, "2026-12") == 1800


async def test_what_is_set_aside_at_midnight_is_written_on_the_day_on_which_it_counts(tmp_path: Path) -> None:
    class Ticking(Clock):
        def __call__(self) -> float:
            self.now += 0.4
            return self.now

    clock = Ticking("2026-11-30T22:59:58")
    async with purse(tmp_path, clock) as found:
        for start in range(5):
            clock.now = datetime(2026, 11, 30 - start, 22, 59, 58, tzinfo=UTC).timestamp() + 0.3 * start
            found.accounts.restart(clock.now)
            hop = await found.open(asking())
            assert hop.row
            assert found.accounts.calendar.day_of(hop.row.time) == found.accounts.open[hop.row.reservation].period
            found.close(hop, None, billed=False, told=[])


async def test_who_waits_for_others_goes_on_when_they_are_settled(tmp_path: Path) -> None:
    async with purse(tmp_path, Clock("2026-11-21T12:00")) as found:
        first = await found.open(asking())
        opened: list[object] = []

        async def second() -> None:
            opened.append(await found.open(asking()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second)
            await anyio.lowlevel.checkpoint()
            assert opened == []
            await found.settle(first, Usage(0, 10), billed=True, told=[])
            await until(lambda: opened, "the second one has its money")


async def test_who_leaves_while_it_waits_or_writes_leaves_nothing_behind(tmp_path: Path) -> None:
    async with purse(tmp_path, Clock("2026-11-21T12:00")) as found:
        first = await found.open(asking())
        with anyio.move_on_after(0):  # it waits for the first one
            await found.open(asking())
        assert list(found.accounts.open) == [first.row.reservation if first.row else ""]
        found.close(first, None, billed=False, told=[])

        with anyio.move_on_after(0):  # it is written
            await found.open(asking())
        assert found.accounts.open == {}

    async with purse(tmp_path, Clock("2026-11-21T12:00")) as found:
        assert found.accounts.spent(TOTAL, "2026-11-21") == 0


async def test_what_is_under_way_when_a_clock_is_put_right_counts_on_the_right_day(tmp_path: Path) -> None:
    clock = Clock("2027-03-01T12:00")  # it is wrong
    async with purse(tmp_path, clock) as found:
        first = await found.open(asking())
        clock.set("2026-11-21T12:00")
        await found.set_spent(0, 0)
        assert found.accounts.reserved(TOTAL, "2026-11-21") > TOKENS
        assert await found.settle(first, Usage(0, 900), billed=True, told=[]) == 900
        with pytest.raises(DeniedError, match="budget_daily"):
            await found.open(asking())

    async with purse(tmp_path, clock) as found:
        assert found.accounts.spent(TOTAL, "2026-11-21") == 900
        assert found.accounts.calendar.today(clock.now).day == "2026-11-21"


async def test_money_that_nobody_settled_is_spent_after_a_restart(tmp_path: Path) -> None:
    async with purse(tmp_path, Clock("2026-11-21T12:00")) as found:
        hop = await found.open(asking())
        assert hop.row

    async with purse(tmp_path, Clock("2026-11-21T13:00")) as found:
        assert found.accounts.spent(TOTAL, "2026-11-21") == hop.row.reserved > TOKENS


async def test_what_no_server_can_mean_counts_as_all_that_was_set_aside(tmp_path: Path) -> None:
    async with purse(tmp_path, Clock("2026-11-21T12:00")) as found:
        hop = await found.open(asking())
        assert hop.row
        assert await found.settle(hop, Usage(10, -100_000), billed=True, told=[]) == hop.row.reserved


async def test_who_leaves_while_spending_is_recorded_leaves_it_counted(tmp_path: Path) -> None:
    go = threading.Event()
    async with Store(tmp_path / "ledger.db") as store, anyio.create_task_group() as tasks:
        found = Purse(store, Clock("2026-11-21T12:00"))
        tasks.start_soon(store.commit, lambda _connection: go.wait(30))
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(found.record, "a", "m", "", 950)
            await anyio.lowlevel.checkpoint()
            leaving.cancel_scope.cancel()
            go.set()
        assert await store.read(lambda c: c.execute("SELECT sum(settled) FROM spend").fetchone()) == (950,)
        assert found.accounts.spent(TOTAL, "2026-11-21") == 950


DEAR = """
version: 1
backends: {a: {openai: {model: m, base_url: https://there.example/v1}}}
prices: {m: {input: 1, output: 1}, dear: {input: 100, output: 100}}
routes: [{name: r, match: {task: r}, use: a, set: {model: dear}}]
default: a
budgets: {daily_usd: 0.001, routes: {r: {daily_usd: 0.0005}}, clients: {c: {daily_usd: 0.0007}}}
"""


@pytest.mark.parametrize("answer", [0, 400, 700, 850, 950, 2000, None])
@pytest.mark.parametrize(("model", "route", "client"), [("", "", ""), ("", "r", ""), ("dear", "r", ""), ("", "", "c")])
async def test_a_decision_knows_what_would_be_refused_and_says_the_same(
    tmp_path: Path, answer: int | None, model: str, route: str, client: str
) -> None:
    config = load(DEAR, "routes.yaml").config
    prices = tariffs(config, shipped())
    wanted = Wanted(ChatRequest(messages=[Message("user", "hello")], max_tokens=answer), Terms(model=model), route)
    async with Store(tmp_path / "ledger.db") as store:
        found = Purse(store, Clock("2026-11-21T12:00"))
        found.configure(config, shipped())
        await found.record("a", "m", "", 120)

        told = Costs(found, prices, client, with_a_persona).denial("a", wanted)
        chat = with_a_persona(wanted.chat, wanted.terms)
        tariff = prices.of("a", model)
        refused = ""
        try:
            asking = Asking(backend="a", tariff=tariff, chat=chat, request="r", attempt=1, route=route, client=client)
            await found.open(asking)
        except DeniedError as error:
            refused = error.message
    assert (told.reason if told else "") == refused


def with_a_persona(chat: ChatRequest, _terms: Terms) -> ChatRequest:
    return with_persona(chat, "You are brief." * 5)


async def test_a_decision_lets_those_through_who_are_to_wait(tmp_path: Path) -> None:
    async with purse(tmp_path, Clock("2026-11-21T12:00")) as found:
        await found.open(asking())

        costs = Costs(found, tariffs(load(CONFIG, "routes.yaml").config, shipped()), "", lambda chat, _terms: chat)
        assert costs.denial("a", Wanted(asking().chat, Terms(), "")) is None


async def test_who_says_later_how_much_is_left_is_believed_whoever_ends_first(tmp_path: Path) -> None:
    def told(left: float) -> list[Told]:
        return [Told("requests", 5, left, 60.0, heard=perf_counter())]

    async with Store(tmp_path / "ledger.db") as store:
        found = Purse(store, Clock("2026-11-21T12:00"))
        found.configure(load(QUOTA.format(5), "routes.yaml").config, shipped())
        await found.load()
        long, said = await found.open(prepaid()), told(4)
        found.close(await found.open(prepaid()), Usage(5, 5), billed=True, told=told(2))
        (meter,) = found.quotas.meters("a")
        assert meter.used(found.now()) == 3

        found.close(long, Usage(5, 5), billed=True, told=said)
        assert meter.used(found.now()) >= 3


async def test_books_that_were_locked_are_opened_when_the_ledger_can_be_read_again(tmp_path: Path) -> None:
    async with purse(tmp_path, Clock("2026-11-21T12:00")) as found:
        await spend(found, 900)
    (tmp_path / "ledger.db").rename(tmp_path / "elsewhere.db")
    (tmp_path / "ledger.db").mkdir()  # nobody can read that

    async with Store(tmp_path / "ledger.db", retry_s=0.02) as store:
        found = Purse(store, Clock("2026-11-21T13:00"))
        found.configure(load(CONFIG, "routes.yaml").config, shipped())
        await found.load()
        await found.recover()
        with pytest.raises(DeniedError, match="budget_locked"):
            await found.open(asking())
        await found.record("a", "m", "", 7)

        (tmp_path / "ledger.db").rmdir()
        (tmp_path / "elsewhere.db").rename(tmp_path / "ledger.db")
        await until(lambda: store.mode == "file", "the file is there again")
        await found.recover()
        assert found.accounts.spent(TOTAL, "2026-11-21") == 907
        with pytest.raises(DeniedError, match="budget_daily"):
            await found.open(asking())


async def test_books_of_a_ledger_that_is_lost_stay_locked_until_somebody_says_what_was_spent(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"this is no database" * 1000)
    async with Store(tmp_path / "ledger.db", retry_s=0.01) as store:
        found = Purse(store, Clock("2026-11-21T12:00"))
        await found.load()
        await until(lambda: store.mode == "file", "a new file was begun")
        await found.recover()
        assert found.accounts.locked

        await found.set_spent(0, 0)
        assert not found.accounts.locked


QUOTA = """
version: 1
backends:
  a: {{openai: {{model: m, base_url: https://there.example/v1}}, billing: prepaid, quota: [{{per: day, requests: {}}}]}}
default: a
"""


def prepaid() -> Asking:
    return replace(asking(), tariff=tariffs(load(QUOTA.format(5), "routes.yaml").config, shipped()).of("a"))


async def test_new_quotas_know_what_was_used_whoever_asks_first(tmp_path: Path) -> None:
    async with Store(tmp_path / "ledger.db") as store:
        found = Purse(store, Clock("2026-11-21T12:00"))
        found.configure(load(QUOTA.format(5), "routes.yaml").config, shipped())
        await found.load()
        for _ in range(5):
            await found.settle(await found.open(prepaid()), Usage(5, 5), billed=True, told=[])

        found.configure(load(QUOTA.format(4), "routes.yaml").config, shipped())
        with anyio.move_on_after(0):  # the first one leaves while it is read
            await found.open(prepaid())
        denied: list[str] = []

        async def ask() -> None:
            try:
                await found.open(prepaid())
            except DeniedError as error:
                denied.append(error.message)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
        assert len(denied) == 3


async def test_what_is_used_while_new_quotas_are_read_counts(tmp_path: Path) -> None:
    go = threading.Event()
    async with Store(tmp_path / "ledger.db") as store, anyio.create_task_group() as tasks:
        found = Purse(store, Clock("2026-11-21T12:00"))
        found.configure(load(QUOTA.format(5), "routes.yaml").config, shipped())
        await found.load()
        under_way = await found.open(prepaid())
        found.configure(load(QUOTA.format(4), "routes.yaml").config, shipped())
        reading: list[object] = []
        for _ in range(READERS):
            tasks.start_soon(store.read, lambda connection: (reading.append(connection), go.wait(30)))
        await until(lambda: len(reading) == READERS, "nobody else can read")
        async with anyio.create_task_group() as opening:
            opening.start_soon(found.open, prepaid())
            await anyio.wait_all_tasks_blocked()
            found.close(under_way, Usage(5, 5), billed=True, told=[])
            go.set()
        (meter,) = found.quotas.meters("a")
        assert meter.used(found.now()) >= 1
        assert meter.held == 1


async def test_quotas_that_cannot_be_read_are_in_nobodys_way(tmp_path: Path) -> None:
    async with Store(tmp_path / "ledger.db") as store:
        found = Purse(store, Clock("2026-11-21T12:00"))
        found.configure(load(QUOTA.format(5), "routes.yaml").config, shipped())
    store.path.unlink()
    hop = await found.open(prepaid())  # the ledger is closed, and gone
    assert hop.held.requests == 1


async def test_what_is_set_counts_today_and_this_month_and_stays(tmp_path: Path) -> None:
    clock = Clock("2026-11-21T12:00")
    async with purse(tmp_path, clock) as found:
        await spend(found, 500)
        await found.set_spent(50, 1700)
        assert found.accounts.spent(TOTAL, "2026-11-21") == 50
        with pytest.raises(DeniedError, match="budget_monthly"):
            await found.open(asking())
        with pytest.raises(ValueError, match="at least"):
            await found.set_spent(2, 1)

    async with purse(tmp_path, clock) as found:
        assert found.accounts.spent(TOTAL, "2026-11-21") == 50
        assert found.accounts.spent(TOTAL, "2026-11") == 1700
