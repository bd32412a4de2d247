"""Ledgers that released versions wrote open for ever, and nothing in them is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from routerd.store import learn, money, records, shadows, stats
from routerd.store.measured import Measurements
from routerd.store.schema import MIGRATIONS, TABLES, VERSION
from routerd.store.writer import Store
from routerd_client.protocol import Decisions
from routerd_client.records import ChatRecord, FailureKind, Outcome, ShadowRow
from tests.support.make_golden_ledger import DATA, TIME, fill

GOLDEN = sorted(DATA.glob("*.sql"))


def test_every_schema_has_a_golden_file() -> None:
    assert {file.stem for file in GOLDEN} == {str(number) for number in range(1, VERSION + 1)}


def test_the_golden_file_has_a_row_in_every_table() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript((DATA / f"{VERSION}.sql").read_text())
    counts = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
    connection.close()
    assert [table for table, count in counts.items() if not count] == []


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_released_migration_never_changes(version: int) -> None:
    made, golden = (sqlite3.connect(":memory:", isolation_level=None) for _ in range(2))
    for migration in MIGRATIONS[:version]:
        made.executescript(migration)
    golden.executescript((DATA / f"{version}.sql").read_text())
    schema = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    assert made.execute(schema).fetchall() == golden.execute(schema).fetchall()
    made.close()
    golden.close()


@pytest.fixture(params=GOLDEN, ids=lambda file: file.stem)
def ledger(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path)
    connection.executescript(request.param.read_text())
    connection.close()
    return path


async def test_it_opens_and_all_of_it_is_there(ledger: Path) -> None:
    async with Store(ledger) as store:
        assert (store.mode, store.reason) == ("file", "")
        assert await store.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (VERSION,)
        newest = await store.read(lambda c: records.chats(c, Decisions(id=0), TIME))
        assert [(chat.request_id, chat.outcome) for chat in newest] == [
            ("failed", Outcome.FAILED),
            ("answered", Outcome.OK),
        ]
        story = await store.read(lambda c: records.story(c, "answered"))
        _is_whole(story)
        assert await store.read(stats.since_reset) == TIME - 10
        assert (await store.read(lambda c: stats.tiers(c, 0.0))).avg_simple_score == 2.5
        assert await store.read(lambda c: shadows.rows(c, 0.0)) == [
            ShadowRow(requests=1, below=below, agreement=0.75, quality=1.0, other_quality=0.5) for below in (None, 3)
        ]
        assert [row.amount for row in await store.read(lambda c: money.since(c, 0.0))] == [700, 900]
        assert await store.read(lambda c: money.quota_used(c, ["large"], 0.0)) == [("large", TIME, 310, 1, 700)]
        assert list(await Measurements(store).read()) == ["a model"]
        assert len(await store.read(lambda c: learn.past(c, TIME + 100))) == 3
        await store.commit(_again)


def _again(connection: sqlite3.Connection) -> None:
    """This version writes into it as into its own."""
    fill(connection)


def _is_whole(story: ChatRecord | None) -> None:
    assert story is not None
    assert (story.client, story.session, story.context["task"], story.priority) == (
        "hermes",
        "s1",
        "plan",
        "interactive",
    )
    assert (story.asked, story.named, story.route, story.endpoint) == ("auto", "request", "plans", "auto")
    assert (story.tier, story.variant, story.scores) == ("simple", "b", {"rules": 2.5})
    assert [(c.backend, c.wait_s) for c in story.candidates] == [("small", 0.5), ("large", 0.0)]
    assert [(s.backend, s.failure) for s in story.skipped] == [("gpt", FailureKind.CONTEXT_OVERFLOW)]
    assert (story.measures.minute, story.measures.local_only, story.measures.chars) == (615, True, 13)
    assert (story.backend, story.model, story.finish, story.flaw) == ("large", "gpt", "length", FailureKind.REFUSAL)
    assert (story.usage.cached_tokens, story.cost_microusd, story.ttft_s, story.total_s) == (100, 700, 0.5, 3.5)
    assert [(a.backend, a.failure, a.cost_microusd) for a in story.attempts] == [
        ("small", FailureKind.EMPTY, 0),
        ("large", None, 700),
    ]
    assert [(f.score, f.note) for f in story.feedback] == [(0.25, "too short")]
    assert (story.prompt, story.answer) == ("Plan the week", "I cannot.")
