"""Figures, retention and measurements, on rows of a test's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from routerd.config.schema import LedgerSpec, MlxSpec
from routerd.routing.features import Moment
from routerd.store import learn, records, retention, stats
from routerd.store.ledger import Ledger
from routerd.store.measured import MOST, Measurements
from routerd.store.records import Entry
from routerd.store.schema import migrate
from routerd.store.writer import Store
from routerd.supervisor.supervisor import Supervisor
from routerd_client.chat import ChatRequest, FinishReason, Message, Usage
from routerd_client.protocol import Decisions, Done, Error, ErrorCode, Feedback
from routerd_client.records import Attempt, Candidate, Decision, FailureKind, Outcome
from tests.support.daemon import fake_command
from tests.support.supervising import ask, learned_size
from tests.support.wait import until

DAY = 86_400.0


@pytest.fixture
def ledger() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


def entry(
    name: str = "r1",
    *,
    time: float = 0.0,
    backend: str = "small",
    failure: FailureKind | None = None,
    ttft_s: float | None = 0.1,
    flaw: FailureKind | None = None,
    task: str = "",
) -> Entry:
    outcome = Outcome.FAILED if failure else Outcome.OK
    tried = Attempt(number=1, backend=backend, outcome=outcome, failure=failure, ttft_s=ttft_s, total_s=1.0)
    done = Done(
        id=1,
        attempt=1,
        request_id=name,
        backend=backend,
        model="m",
        endpoint="primary",
        finish_reason=FinishReason.STOP,
        usage=Usage(prompt_tokens=3, completion_tokens=2),
        flaw=flaw,
        ttft_s=ttft_s,
    )
    error = Error(id=1, code=ErrorCode.UNAVAILABLE, message="no")
    return Entry(
        time=time,
        moment=Moment(61, 2),
        request_id=name,
        client="test",
        chat=ChatRequest(messages=[Message("user", "Hello")], context={"task": task} if task else {}),
        decision=Decision(route="", endpoint="primary", candidates=[Candidate(backend, ["first choice"])]),
        terminal=error if failure else done,
        attempts=[tried],
        models=["m"],
        standings=["bad" if failure or flaw else "good"],
        total_s=1.0,
    )


def test_percentiles_are_of_those_that_began(ledger: sqlite3.Connection) -> None:
    for n in range(1, 101):
        records.insert(ledger, entry(f"r{n}", ttft_s=n / 100))
    for n in range(10):
        records.insert(ledger, entry(f"f{n}", ttft_s=None, failure=FailureKind.SERVER_ERROR))
    (row,) = stats.rows(ledger, "backend", 0.0)
    assert (row.requests, row.ok, row.failed) == (110, 100, 10)
    assert (row.ttft_p50_s, row.ttft_p95_s) == (0.5, 0.95)
    assert row.success == pytest.approx(100 / 110)
    assert row.total_p50_s == 1.0


def test_a_backend_is_not_blamed_for_what_says_nothing_of_it(ledger: sqlite3.Connection) -> None:
    records.insert(ledger, entry("good"))
    records.insert(ledger, entry("bad", failure=FailureKind.SERVER_ERROR))
    for kind in (FailureKind.BUDGET_DENIED, FailureKind.BAD_REQUEST):
        records.insert(ledger, replace(entry(kind.value, failure=kind), standings=[""]))
    (row,) = stats.rows(ledger, "backend", 0.0)
    assert (row.requests, row.ok, row.failed, row.success) == (4, 1, 3, 0.5)
    (row,) = stats.rows(ledger, "route", 0.0)
    assert row.success == 0.25  # whoever is to blame, so many were answered


def test_one_request_is_every_percentile_and_none_is_none(ledger: sqlite3.Connection) -> None:
    assert stats.rows(ledger, "route", 0.0) == []
    assert stats.tiers(ledger, 0.0).simple_tier_percentage == 0.0
    records.insert(ledger, entry(ttft_s=0.3))
    (row,) = stats.rows(ledger, "route", 0.0)
    assert (row.ttft_p50_s, row.ttft_p95_s) == (0.3, 0.3)


def test_names_are_told_apart_and_the_busiest_comes_first(ledger: sqlite3.Connection) -> None:
    for n, task in enumerate(["code", "plan", "code"]):
        records.insert(ledger, entry(f"r{n}", task=task, time=float(n)))
    assert [(row.name, row.requests) for row in stats.rows(ledger, "task", 0.0)] == [("code", 2), ("plan", 1)]
    assert [(row.name, row.requests) for row in stats.rows(ledger, "task", 1.5)] == [("code", 1)]


def test_a_record_keeps_all_that_is_wanted_of_it_later(ledger: sqlite3.Connection) -> None:
    records.insert(ledger, entry(flaw=FailureKind.REFUSAL, task="code"))
    story = records.story(ledger, "r1")
    assert story is not None
    assert (story.flaw, story.usage.total_tokens, story.hops) == (FailureKind.REFUSAL, 5, 1)
    assert (story.measures.minute, story.measures.weekday, story.measures.chars) == (61, 2, 5)
    assert story.candidates == [Candidate("small", ["first choice"])]
    assert records.story(ledger, "nobody") is None


def test_a_record_is_found_by_the_beginning_of_its_id_where_no_other_begins_so(ledger: sqlite3.Connection) -> None:
    for name in ("ab1", "ab12", "b%1"):
        records.insert(ledger, entry(name))

    def found(beginning: str) -> str | None:
        story = records.story(ledger, beginning)
        return story.request_id if story else None

    assert [found(name) for name in ("ab1", "ab12", "b", "b%", "b_", "c", "ab12x")] == [
        "ab1",
        "ab12",
        "b%1",
        "b%1",
        None,
        None,
        None,
    ]
    with pytest.raises(LookupError, match="ab1, ab12"):
        records.story(ledger, "ab")


def test_pages_follow_each_other_also_at_the_same_moment(ledger: sqlite3.Connection) -> None:
    for n in range(7):
        records.insert(ledger, entry(f"r{n}", time=5.0))
    found: list[str] = []
    while page := records.chats(ledger, Decisions(id=0, limit=3, before=found[-1] if found else ""), 10.0):
        found += [chat.request_id for chat in page]
    assert found == [f"r{n}" for n in reversed(range(7))]


def test_what_is_remembered_of_backends_is_by_the_hour_and_has_feedback(ledger: sqlite3.Connection) -> None:
    now = 100 * DAY
    for n in range(3):
        records.insert(ledger, entry(f"r{n}", time=now - 60))
    records.insert(ledger, entry("bad", time=now - 5 * 3600, flaw=FailureKind.REFUSAL))
    records.insert(ledger, entry("old", time=now - 50 * DAY))
    records.insert_feedback(ledger, Feedback(id=0, request_id="r0", score=0.0), now - 10)
    with pytest.raises(LookupError):
        records.insert_feedback(ledger, Feedback(id=0, request_id="nobody", score=0.0), now)
    found = sorted((past.age_s, past.good, past.bad) for past in learn.past(ledger, now))
    assert found == [(0.0, 3, 0), (10.0, 0.0, 3.0), (5 * 3600.0, 0, 1)]


def test_each_kind_of_record_has_its_own_age(ledger: sqlite3.Connection) -> None:
    now = 1000 * DAY
    for days in (1, 10, 50, 100):
        records.insert(ledger, entry(f"r{days}", time=now - days * DAY))
        ledger.execute("INSERT INTO texts VALUES (?, ?, 'p', 'a')", (f"r{days}", now - days * DAY))
        ledger.execute(
            "INSERT INTO spend VALUES (?, 'r', 1, ?, 'b', 'm', '', '', 5, 5, 'settled')", (f"r{days}", now - days * DAY)
        )
    retention.expire(ledger, LedgerSpec(keep=30 * DAY), now)

    def left(table: str) -> list[float]:
        return [(now - time) / DAY for (time,) in ledger.execute(f"SELECT time FROM {table} ORDER BY time DESC")]

    assert left("decisions") == left("attempts") == [1, 10]
    assert left("texts") == [1]
    assert left("spend") == [1, 10, 50]


async def test_what_is_too_old_goes_at_once_however_much_it_is(tmp_path: Path) -> None:
    async with Store(tmp_path / "ledger.db") as store, anyio.create_task_group() as tasks:
        rows = [(f"r{n}",) for n in range(3 * retention.AT_ONCE + 1)]
        await store.commit(lambda c: c.executemany("INSERT INTO texts VALUES (?, 0, 'p', 'a')", rows) and None)
        tasks.start_soon(Ledger(store).expire, LedgerSpec)

        async def gone() -> bool:
            return await store.read(lambda c: c.execute("SELECT count(*) FROM texts").fetchone()) == (0,)

        await until(gone, "all of it is removed")
        tasks.cancel_scope.cancel()


async def test_what_was_measured_moves_from_its_file_into_the_ledger_and_stays(tmp_path: Path) -> None:
    (tmp_path / "learned.json").write_text('{"another": {"weights": 5, "peak": 6, "load_s": 7.0}}')

    async def prepare(_reference: str, _on_phase: object) -> Path:
        return tmp_path

    async with Store(tmp_path / "ledger.db") as store:
        kept = Measurements(store)
        made = Supervisor(tmp_path, prepare, command=fake_command, sizing=learned_size, measure_s=0.01, records=kept)
        async with made as supervisor:
            supervisor.reconcile({"small": MlxSpec(model="fake:")})

            async def measured() -> bool:
                await ask(supervisor, "small")
                await supervisor.unload("small", force=True)
                return "the model" in await kept.read()

            await until(measured, "its process is measured")
        found = await kept.read()
        assert set(found) == {"another", "the model"}
        assert '"load_s":7.0' in found["another"]
        assert not (tmp_path / "learned.json").exists()

        await kept.write({f"{n}": "{}" for n in range(MOST + 50)})
        assert len(await kept.read()) == MOST


def test_figures_stay_within_bounds_whatever_a_server_said(ledger: sqlite3.Connection) -> None:
    told = Usage(prompt_tokens=2**70, completion_tokens=-5, cached_tokens=2**63)
    for name in ("r1", "r2", "r3"):
        made = entry(name)
        done = replace(made.terminal, usage=told)  # type: ignore[type-var]
        attempts = [replace(attempt, usage=told, cost_microusd=2**64) for attempt in made.attempts]
        records.insert(ledger, replace(made, terminal=done, attempts=attempts))
    (row,) = stats.rows(ledger, "backend", 0)
    assert (row.prompt_tokens, row.completion_tokens, row.cost_microusd) == (3 * 2**53, 0, 3 * 2**53)
    (chat, *_) = records.chats(ledger, Decisions(id=0, limit=3), 1.0)
    assert chat.usage == Usage(prompt_tokens=2**53, cached_tokens=2**53)


def test_figures_of_rows_that_are_there_already_have_no_overflow(ledger: sqlite3.Connection) -> None:
    for name in ("r1", "r2", "r3"):
        records.insert(ledger, entry(name))
    ledger.execute("UPDATE attempts SET prompt_tokens = ?, completion_tokens = ?", (2**62, 2**63 - 1))
    (row,) = stats.rows(ledger, "backend", 0)
    assert row.prompt_tokens == row.completion_tokens == 2**63 - 1
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=type(row)) == row


def test_a_damaged_row_hides_no_other(ledger: sqlite3.Connection) -> None:
    for name in ("r1", "r2", "r3"):
        records.insert(ledger, entry(name))
    ledger.execute("UPDATE decisions SET usage = ? WHERE request = 'r2'", ("[" * 100_000,))
    ledger.execute("UPDATE decisions SET time = 1e300 WHERE request = 'r3'")
    assert [chat.request_id for chat in records.chats(ledger, Decisions(id=0), 1.0)] == ["r1"]
    assert records.story(ledger, "r2") is None
