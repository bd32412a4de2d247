"""Ledgers that somebody else has written to: the daemon starts, says so, and no money is spent that nobody counts."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from routerd.store.sound import expected
from routerd_client.errors import RequestFailedError
from tests.support.daemon import Standalone, standalone_daemon
from tests.support.fuzzing import fuzz

API = "http://127.0.0.1:9/v1"
ROUTES = f"""\
version: 1
backends:
  cloud: {{openai: {{model: m, base_url: "{API}"}}, billing: metered, price: {{input: 1, output: 1}}}}
  prepaid: {{openai: {{model: m, base_url: "{API}"}}, billing: prepaid, quota: [{{per: month, tokens: 1000}}]}}
default: cloud
budgets: {{daily_usd: 1}}
"""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Make a ledger with a few rows of everything."""
    folder = tmp_path_factory.mktemp("ledger")
    with standalone_daemon(folder, ROUTES) as daemon, daemon.client() as client:
        for backend in ("cloud", "prepaid"):
            with pytest.raises(RequestFailedError):
                client.chat("Hello", model=backend)
        (chat, *_) = client.decisions()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    file = daemon.places.state / "ledger.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        spend = "INSERT INTO spend VALUES ('r{}', 'a', 1, strftime('%s'), 'cloud', 'm', '', '', 5, 5, 'settled')"
        for number in range(3):
            connection.execute(spend.format(number))
        connection.execute("INSERT INTO quota_use VALUES ('q', 'prepaid', strftime('%s'), 7, 1, 0)")
        connection.execute("INSERT INTO measured VALUES ('m', 1, '{}')")
        connection.execute("INSERT INTO feedback VALUES ('f', ?, strftime('%s'), 1, '')", (chat.request_id,))
        connection.execute(
            "INSERT INTO shadows VALUES (?, strftime('%s'), 's', 'e', 'b', 'o', 1, 1, 1, 1)", (chat.request_id,)
        )
        connection.execute("INSERT INTO texts VALUES (?, 1, '', '')", (chat.request_id,))
    return file.read_bytes()


@pytest.fixture
def stopped(tmp_path: Path, ledger: bytes) -> Iterator[Standalone]:
    """Make a daemon that has stopped, with that ledger."""
    with standalone_daemon(tmp_path, ROUTES) as daemon:
        put(daemon, ledger)
        yield daemon


def put(daemon: Standalone, ledger: bytes) -> None:
    if daemon.process.poll() is None:
        daemon.signal(signal.SIGTERM)
    daemon.wait()
    for file in daemon.places.state.glob("ledger.db*"):
        file.unlink()
    (daemon.places.state / "ledger.db").write_bytes(ledger)


def damage(daemon: Standalone, *statements: str) -> None:
    with closing(sqlite3.connect(daemon.places.state / "ledger.db")) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)


def answers_everything(daemon: Standalone) -> None:
    """Ask all that routerctl asks of a ledger: each is answered, and nothing is an internal error."""
    with daemon.client() as client:
        pid = client.status().pid
        client.stats()
        for chat in client.decisions():
            client.show(chat.request_id)
        for by in ("backend", "endpoint", "route", "task", "client"):
            client.stats(by=by)
        client.budget()
        assert client.status().pid == pid
    for command in (["status"], ["budget"], ["stats"], ["decisions"]):
        done = daemon.ctl(*command)
        assert "Traceback" not in done.stderr, command


def closed(daemon: Standalone) -> bool:
    """Tell whether a metered backend is denied because nobody knows what was spent."""
    with daemon.client() as client, pytest.raises(RequestFailedError) as failed:
        client.chat("Hello", model="cloud")
    return "nobody knows what was spent" in str(failed.value)


MONEY = [
    "DROP TABLE spend",
    "DROP TABLE quota_use",
    "DROP TABLE meta",
    "UPDATE spend SET time = 1e300 WHERE reservation = 'r1'",
    "UPDATE spend SET time = -5 WHERE reservation = 'r1'",
    "UPDATE spend SET time = 'noon' WHERE reservation = 'r1'",
    "UPDATE spend SET settled = 'much' WHERE reservation = 'r1'",
    "UPDATE spend SET settled = 1.5 WHERE reservation = 'r1'",
    f"UPDATE spend SET reserved = {2**62} WHERE reservation = 'r1'",
    "UPDATE spend SET backend = x'ff' WHERE reservation = 'r1'",
    "ALTER TABLE spend DROP COLUMN client",
    "UPDATE quota_use SET tokens = 'many'",
    "UPDATE quota_use SET time = 1e300",
]
OTHER = [
    "DROP TABLE decisions",
    "DROP TABLE attempts",
    "DROP TABLE measured",
    "DROP TABLE feedback",
    "DROP TABLE shadows",
    "ALTER TABLE attempts DROP COLUMN standing",
]
HARMLESS = [
    "UPDATE measured SET value = x'ff'",
    "UPDATE measured SET value = 7",
    "UPDATE decisions SET time = 1e300",
    "UPDATE decisions SET time = 'noon', prompt_tokens = 'many', ttft_s = 'soon', cost = 1.5",
    "UPDATE decisions SET context = '" + "[" * 100_000 + "'",
    "UPDATE decisions SET outcome = 'odd', usage = 7, scores = x'ff'",
    f"UPDATE decisions SET prompt_tokens = {2**63 - 1}, completion_tokens = {2**63 - 1}, cost = {-(2**63)}",
    f"UPDATE attempts SET prompt_tokens = {2**63 - 1}, completion_tokens = -5, cost = {2**63 - 1}",
    "UPDATE attempts SET backend = x'ff', model = 7, outcome = 'x', usage = 'x', ttft_s = 'soon'",
    "UPDATE feedback SET score = 'good', time = 1e300",
    "UPDATE shadows SET agreement = 'none', quality = 'x'",
    "INSERT INTO meta VALUES ('stats_since', 'noon')",
    "INSERT INTO meta VALUES ('stats_since', '1e400')",
]


@pytest.mark.parametrize("statement", MONEY)
def test_money_that_cannot_be_read_stays_closed_until_somebody_says(stopped: Standalone, statement: str) -> None:
    damage(stopped, statement)
    stopped.restart()
    with stopped.client() as client:
        status = client.status()
        assert status.ledger
        assert Path(status.ledger.set_aside).exists()
        assert "nobody knows what was spent before: " in status.locked
        assert "routerctl budget set-spent" in status.locked
    assert closed(stopped)
    answers_everything(stopped)
    said = stopped.ctl("budget", "set-spent", "--today", "0", "--month", "0")
    assert said.returncode == 0, said.stderr
    stopped.signal(signal.SIGTERM)
    assert stopped.wait() == 0
    stopped.restart()
    assert not closed(stopped)


@pytest.mark.parametrize("statement", OTHER)
def test_a_missing_table_is_damage_and_the_money_is_carried_over(stopped: Standalone, statement: str) -> None:
    damage(stopped, statement)
    stopped.restart()
    with stopped.client() as client:
        status = client.status()
        assert status.ledger
        assert Path(status.ledger.set_aside).exists()
        assert status.locked == ""
        assert {line.spent_microusd for line in client.budget().lines if line.scope == "total"} == {15}
    assert not closed(stopped)
    answers_everything(stopped)


def test_odd_rows_hide_no_others(stopped: Standalone) -> None:
    before = (stopped.places.state / "ledger.db").read_bytes()
    for statement in HARMLESS:
        put(stopped, before)
        damage(stopped, statement)
        stopped.restart()
        with stopped.client() as client:
            status = client.status()
            assert (status.ledger and status.ledger.mode, status.locked) == ("file", ""), statement
        answers_everything(stopped)


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=6),
    st.binary(max_size=6),
    st.sampled_from(["[" * 5000, "{}", "[]", "open", "1e300", "noon", 1e300, -1e300, 2**63 - 1]),
)
CELLS = st.sampled_from([(table, column) for table, columns in expected().items() for column in columns])


def test_any_value_in_any_column_is_survived(stopped: Standalone) -> None:
    before = (stopped.places.state / "ledger.db").read_bytes()

    def survived(cells: list[tuple[tuple[str, str], Any]]) -> None:
        put(stopped, before)
        with closing(sqlite3.connect(stopped.places.state / "ledger.db")) as connection, connection:
            for (table, column), value in cells:
                try:
                    connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = 1", (value,))
                except sqlite3.IntegrityError:
                    pass  # what a file of ours cannot hold
        stopped.restart()
        answers_everything(stopped)
        stopped.signal(signal.SIGTERM)
        assert stopped.wait() == 0

    fuzz(survived, st.lists(st.tuples(CELLS, VALUES), min_size=1, max_size=3))
    assert "Traceback" not in stopped.stderr
