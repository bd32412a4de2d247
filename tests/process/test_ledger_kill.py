"""kill -9 while the ledger is being written: no commit is lost, and of what was enqueued only the last second."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tests.support.wait import until_blocking

ROUNDS = int(os.environ.get("ROUTERD_KILL_ROUNDS", "5"))

WRITER = """
import sys, time
from pathlib import Path
import anyio
from routerd.store.writer import Store

def book(number):
    def work(connection):
        connection.execute("INSERT INTO spend VALUES (?, 'r', 1, 0, 'b', 'm', '', '', 5, 5, 'settled')", (f"{number}",))
        connection.execute("INSERT INTO quota_use (backend, time, tokens, requests, cost) VALUES ('b', 0, 1, 1, 5)")
    return work

async def main():
    async with Store(Path(sys.argv[1])) as store:
        last = "SELECT max(CAST(key AS INTEGER)) FROM meta"
        first = ((await store.read(lambda c: c.execute(last).fetchone()))[0] or 0) + 1
        for number in range(first, first + 1000):
            key = f"{number}"
            store.enqueue(lambda c, key=key: c.execute("INSERT INTO meta VALUES (?, '')", (key,)))
            print("enqueued", number, time.time(), flush=True)
            await store.commit(book(number)) if number % 3 else await anyio.sleep(0.002)
            print("committed", number, flush=True)
            if not number % 3:
                store.enqueue(book(number))
        await anyio.sleep(60)

anyio.run(main)
"""


def test_kill_9_at_any_moment_loses_no_commit_and_at_most_the_last_second_of_the_rest(tmp_path):
    ledger = tmp_path / "ledger.db"
    chance = random.Random(4)
    for _ in range(ROUNDS):
        committed, enqueued, killed = _killed(ledger, tmp_path / "out.txt", after=chance.uniform(0.0, 0.9))
        connection = sqlite3.connect(ledger)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        spent = {int(n) for (n,) in connection.execute("SELECT reservation FROM spend")}
        noted = {int(n) for (n,) in connection.execute("SELECT key FROM meta")}
        books = connection.execute("SELECT (SELECT sum(settled) FROM spend), sum(cost) FROM quota_use").fetchone()
        connection.close()
        assert committed <= spent
        assert not spent or books[0] == books[1] == 5 * len(spent)
        assert {n for n, at in enqueued.items() if at < killed - 1.0} <= noted


def _killed(ledger: Path, out: Path, *, after: float) -> tuple[set[int], dict[int, float], float]:
    """What a writer said that was killed so many seconds after its first commit, and when it was."""
    with out.open("wb") as stdout:
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(ledger)], stdout=stdout)
    try:
        until_blocking(lambda: b"committed" in out.read_bytes(), "it writes", deadline=30)
        time.sleep(after)  # not for an effect: any moment will do
    finally:
        killed = time.time()
        process.kill()
        process.wait()
    said = [line.split() for line in out.read_text().splitlines(keepends=True) if line.endswith("\n")]
    committed = {int(words[1]) for words in said if words[0] == "committed" and int(words[1]) % 3}
    enqueued = {int(words[1]): float(words[2]) for words in said if words[0] == "enqueued"}
    return committed, enqueued, killed
