"""What the ledger costs a request, and what asking it costs.

    python -m benchmarks.ledger [--quick] [--json]

Recording is what the event loop does for one chat that has ended: the rest happens in the writer's thread, and is
told as chats a second. A commit is durable when it returns; that is what a metered hop waits for.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio

from routerd.app.journal import Journal
from routerd.config.load import load
from routerd.dispatch.run import Call, Run
from routerd.health.outcomes import Outcomes
from routerd.routing.decide import decide
from routerd.routing.expect import AllWell
from routerd.routing.features import Features
from routerd.routing.table import compile_table
from routerd.store.ledger import Ledger
from routerd.store.writer import Store
from routerd_client.chat import ChatRequest, FinishReason, Message, Usage
from routerd_client.protocol import Decisions, Done, Stats
from routerd_client.records import Attempt, Outcome

from .common import median, percentile, report

GOALS = {"record_us": 30.0, "commit_us": 250.0}
CONFIG = """
version: 1
backends: {small: {mlx: {model: demo}}, large: {mlx: {model: org/large}}}
endpoints: {primary: {fallback: [small, large]}}
default: primary
"""
PROMPT = "Compare these two ways to shard the index, and then write a plan in 4 steps. " * 26
"""2 KB."""


class Chats:
    """Chats that have just ended, as the dispatcher hands them to the journal."""

    def __init__(self, ledger: Ledger) -> None:
        config = load(CONFIG, "routes.yaml").config
        backends = {name: SimpleNamespace(model="org/model") for name in config.backends}
        generation = SimpleNamespace(config=config, backends=backends)
        self._table = compile_table(config)
        self.journal = Journal(SimpleNamespace(generation=generation, ledger=ledger, hub=None), Outcomes(), None)  # type: ignore[arg-type]
        self._chat = ChatRequest(
            messages=[Message("user", PROMPT)], context={"platform": "discord", "source_kind": "owner", "task": "plan"}
        )

    def record(self, number: int) -> float:
        """Have one recorded; the seconds that took."""
        call = Call(1, f"{number:012x}", self._chat, client="bench")
        decided = decide(self._table, Features(self._chat), AllWell(), seed=call.request_id)
        run = Run(call, decided, self._chat, _nobody)  # type: ignore[arg-type]
        tried = Attempt(number=1, backend="small", outcome=Outcome.OK, ttft_s=0.1, total_s=1.0)
        run.attempts = [tried]
        done = Done(
            id=1,
            attempt=1,
            request_id=call.request_id,
            backend="small",
            model="org/model",
            endpoint="primary",
            finish_reason=FinishReason.STOP,
            usage=Usage(prompt_tokens=500, completion_tokens=100),
            attempts=run.attempts,
            ttft_s=0.1,
        )
        began = time.perf_counter()
        self.journal._record(call, run, done, 1.0)
        return time.perf_counter() - began


async def _nobody(_event: object) -> None: ...


async def recording(chats: Chats, store: Store, count: int) -> dict[str, float]:
    """At most what may wait, so that nothing is dropped."""
    took, began = [], time.perf_counter()
    for number in range(count):
        took.append(chats.record(number) * 1e6)
        if number % 5000 == 4999:
            await store.commit(lambda _connection: None)
    await store.commit(lambda _connection: None)
    all_s = time.perf_counter() - began
    assert not store.dropped
    return {"record_us": median(took), "record_p99_us": percentile(took, 0.99), "written_per_s": count / all_s}


async def committing(store: Store, count: int, together: int) -> dict[str, float]:
    took: list[float] = []

    def work(connection: Any) -> None:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('bench', ?)", (str(time.time()),))

    async def several() -> None:
        for _ in range(count):
            began = time.perf_counter()
            await store.commit(work)
            took.append((time.perf_counter() - began) * 1e6)

    await several()
    alone = median(took)
    async with anyio.create_task_group() as tasks:
        began = time.perf_counter()
        for _ in range(together):
            tasks.start_soon(several)
    return {"commit_us": alone, "commits_per_s_of_50": count * together / (time.perf_counter() - began)}


def bare_commits(file: Path, count: int) -> dict[str, float]:
    """The same commit in a file of its own, with neither thread nor event loop: what the disk and SQLite take."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE meta (k PRIMARY KEY, v)"
    )
    took = []
    for _ in range(count):
        began = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('bench', ?)", (str(time.time()),))
        connection.execute("COMMIT")
        took.append((time.perf_counter() - began) * 1e6)
    connection.close()
    return {"bare_commit_us": median(took)}


async def asking(ledger: Ledger) -> dict[str, float]:
    async def timed(what: Any) -> float:
        took = []
        for _ in range(5):
            began = time.perf_counter()
            await what()
            took.append((time.perf_counter() - began) * 1000)
        return median(took)

    return {
        "decisions_ms": await timed(lambda: ledger.decisions(Decisions(id=0))),
        "show_ms": await timed(lambda: ledger.story(f"{7:012x}")),
        "stats_ms": await timed(lambda: ledger.stats(Stats(id=0, by="route"))),
        "tiers_ms": await timed(ledger.tiers),
        "learn_ms": await timed(ledger.past),
    }


async def measure(folder: Path, *, quick: bool) -> dict[str, float]:
    async with Store(folder / "ledger.db") as store:
        ledger = Ledger(store)
        count = 5_000 if quick else 100_000
        figures = await recording(Chats(ledger), store, count)
        figures |= await committing(store, 200 if quick else 1000, 50)
        figures |= bare_commits(folder / "bare.db", 200 if quick else 1000)
        figures |= await asking(ledger)
        figures |= {"chats": count, "bytes_a_chat": (folder / "ledger.db").stat().st_size / count}
    return {name: round(value, 2) for name, value in figures.items()}


def rows(figures: dict[str, float]) -> list[tuple[str, ...]]:
    def row(what: str, name: str, unit: str = "") -> tuple[str, ...]:
        goal = GOALS.get(name)
        said = "" if goal is None else f"<= {goal:g} {'met' if figures[name] <= goal else 'MISSED'}"
        return what, f"{figures[name]:g} {unit or name.rpartition('_')[2]}", said

    return [
        ("", "median", "goal"),
        row("recording a chat, on the event loop", "record_us"),
        row("  one in a hundred takes longer than", "record_p99_us"),
        row("  written by the other thread, a second", "written_per_s", "chats"),
        row("a durable commit", "commit_us"),
        row("  bare SQLite's", "bare_commit_us"),
        row("  where 50 ask for them at a time, a second", "commits_per_s_of_50", "commits"),
        row(f"among {figures['chats']:g} chats: the newest 50", "decisions_ms"),
        row("  one story", "show_ms"),
        row("  figures by route", "stats_ms"),
        row("  figures of the tiers", "tiers_ms"),
        row("  what backends' answers came to", "learn_ms"),
        row("size of a chat", "bytes_a_chat", "bytes"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds; figures are rough")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measuring = lambda: measure(Path(scratch), quick=options.quick)  # noqa: E731
        figures = anyio.run(measuring, backend_options={"use_uvloop": True})
    met = {name: figures[name] <= goal for name, goal in GOALS.items()}
    report("ledger", rows(figures), {**figures, "goals": GOALS, "met": met}, as_json=options.json)


if __name__ == "__main__":
    main()
