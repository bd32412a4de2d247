"""The ledger's writer, on real files."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from routerd.store import writer
from routerd.store.database import HISTORY_LOST
from routerd.store.schema import VERSION
from routerd.store.writer import Store, StoreError
from tests.support.wait import until


def put(key: str, value: str = ""):
    return lambda c: c.execute("INSERT INTO meta VALUES (?, ?)", (key, value))


def keys(connection: sqlite3.Connection) -> set[str]:
    return {key for (key,) in connection.execute("SELECT key FROM meta")} - {"recovered"}


def on_disk(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        return keys(connection)
    finally:
        connection.close()


async def test_a_commit_is_on_the_disk_when_it_returns_with_all_that_was_enqueued_before(tmp_path):
    async with Store(tmp_path / "ledger.db") as store:
        store.enqueue(put("enqueued"))
        assert await store.commit(lambda c: keys(c)) == {"enqueued"}
        await store.commit(put("committed"))
        assert on_disk(store.path) == {"enqueued", "committed"}
        assert (store.mode, store.reason) == ("file", "")
    assert [f.name for f in tmp_path.iterdir()] == ["ledger.db"]
    assert store.path.stat().st_mode & 0o777 == 0o600


async def test_what_is_enqueued_gets_to_the_disk_by_itself_and_is_read_at_once(tmp_path):
    async with Store(tmp_path / "ledger.db") as store:
        store.enqueue(put("a"))
        assert await store.read(keys) == {"a"}
        store.enqueue(put("b"))
        await until(lambda: on_disk(store.path) == {"a", "b"}, "the batch is written")


async def test_the_end_writes_what_still_waits(tmp_path):
    async with Store(tmp_path / "ledger.db") as store:
        for n in range(100):
            store.enqueue(put(f"{n}"))
    assert len(on_disk(store.path)) == 100
    store.enqueue(put("late"))
    assert store.dropped == 1
    with pytest.raises(StoreError, match="closed"):
        await store.commit(put("late"))


async def test_work_that_fails_is_undone_alone(tmp_path):
    def half(connection: sqlite3.Connection) -> None:
        put("half")(connection)
        raise ValueError("no")

    async with Store(tmp_path / "ledger.db") as store:
        store.enqueue(put("before"))
        store.enqueue(half)
        with pytest.raises(ValueError, match="no"):
            await store.commit(half)
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await store.commit(lambda c: c.execute("INSERT INTO nowhere VALUES (1)"))
        with pytest.raises(sqlite3.IntegrityError):
            await store.commit(put("before"))
        await store.commit(put("after"))
        assert on_disk(store.path) == {"before", "after"}
        assert store.mode == "file"


async def test_concurrent_commits_share_transactions_and_each_sees_those_before_it(tmp_path):
    seen: list[int] = []

    def count(connection: sqlite3.Connection) -> int:
        (number,) = connection.execute("SELECT count(*) FROM meta").fetchone()
        put(f"{number}")(connection)
        return number

    async with Store(tmp_path / "ledger.db") as store:

        async def commit() -> None:
            seen.append(await store.commit(count))

        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(commit)
    assert sorted(seen) == list(range(200))
    assert len(on_disk(store.path)) == 200


async def test_a_commit_that_nobody_waits_for_any_more_hinders_no_other(tmp_path):
    busy, go = threading.Event(), threading.Event()

    def block(_connection: sqlite3.Connection) -> None:
        busy.set()
        assert go.wait(30)

    async with Store(tmp_path / "ledger.db") as store, anyio.create_task_group() as tasks:
        tasks.start_soon(store.commit, block)
        await until(busy.is_set, "the writer is busy")
        with anyio.move_on_after(0.01):
            await store.commit(put("left"))
        tasks.start_soon(store.commit, put("next"))
        go.set()
        await until(lambda: "next" in on_disk(store.path), "the next commit is written")


async def test_too_much_that_waits_is_dropped_and_counted(tmp_path):
    busy, go = threading.Event(), threading.Event()

    def block(_connection: sqlite3.Connection) -> None:
        busy.set()
        assert go.wait(30)

    async with Store(tmp_path / "ledger.db") as store, anyio.create_task_group() as tasks:
        tasks.start_soon(store.commit, block)
        await until(busy.is_set, "the writer is busy")
        for n in range(writer.MOST_WAITING + 7):
            store.enqueue(put(f"{n}"))
        assert store.dropped == 7
        go.set()
    assert len(on_disk(store.path)) == writer.MOST_WAITING


async def test_what_must_be_done_is_never_dropped(tmp_path):
    busy, go = threading.Event(), threading.Event()

    def block(_connection: sqlite3.Connection) -> None:
        busy.set()
        assert go.wait(30)

    async with Store(tmp_path / "ledger.db") as store, anyio.create_task_group() as tasks:
        tasks.start_soon(store.commit, block)
        await until(busy.is_set, "the writer is busy")
        for _ in range(writer.MOST_WAITING):
            store.enqueue(lambda _connection: None)
        store.enqueue(put("may"))
        store.enqueue(put("must"), must=True)
        go.set()
    assert on_disk(store.path) == {"must"}


async def test_reading_sees_what_is_being_written(tmp_path):
    busy, go = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        put("slow")(connection)
        busy.set()
        assert go.wait(30)

    found: list[set[str]] = []
    async with Store(tmp_path / "ledger.db") as store, anyio.create_task_group() as tasks:
        store.enqueue(slow)
        await until(busy.is_set, "it is being written")

        async def read() -> None:
            found.append(await store.read(keys))

        tasks.start_soon(read)
        await until(lambda: found or store._waiting, "it has read, or waits for the writer")
        go.set()
        await until(lambda: found, "it has read")
    assert found == [{"slow"}]


async def test_reading_does_not_write(tmp_path):
    async with Store(tmp_path / "ledger.db") as store:
        with pytest.raises(StoreError, match="readonly"):
            await store.read(put("a"))
        assert store.mode == "file"


@pytest.mark.parametrize("damage", [b"no database at all " * 300, b"SQLite format 3\0" + bytes(5000)])
async def test_a_corrupt_file_is_set_aside_and_a_new_one_begun(tmp_path, damage):
    path = tmp_path / "ledger.db"
    path.write_bytes(damage)
    async with Store(path) as store:
        assert store.mode == "file"
        await store.commit(put("new"))
        lost = await store.read(lambda c: c.execute("SELECT value FROM meta WHERE key = ?", (HISTORY_LOST,)).fetchone())
        assert lost
        assert "database" in lost[0]
    (aside,) = [f for f in tmp_path.iterdir() if ".corrupt-" in f.name]
    assert aside.read_bytes() == damage
    assert on_disk(path) == {"new", HISTORY_LOST}
    async with Store(path) as store:
        assert store.set_aside == str(aside)
        aside.unlink()
        await store.commit(put("later"))
        assert store.set_aside == ""


async def test_a_file_that_becomes_corrupt_keeps_what_can_still_be_read(tmp_path):
    path = tmp_path / "ledger.db"
    async with Store(path) as store:
        await store.commit(put("kept"))
        await store.commit(lambda c: [put(f"{n}", "x" * 500)(c) for n in range(200)])
    with closing(sqlite3.connect(path)) as c:
        (root,) = c.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'decisions'").fetchone()
        (size,) = c.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    async with Store(path) as store:
        assert store.mode == "file"  # nobody has looked at that page yet
        with pytest.raises(StoreError, match="malformed"):
            await store.read(lambda c: c.execute("SELECT * FROM decisions").fetchall())
        await store.commit(put("after"))
        assert store.mode == "file"
        assert {"kept", "199", "after"} <= await store.read(keys)
        assert HISTORY_LOST not in await store.read(keys)
    assert any(".corrupt-" in f.name for f in tmp_path.iterdir())


async def test_a_newer_file_is_left_alone(tmp_path):
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    async with Store(path) as store:
        assert store.mode == "memory"
        assert "newer routerd" in store.reason
        await store.commit(put("a"))
        assert await store.read(keys) == {"a", HISTORY_LOST}
    with closing(sqlite3.connect(path)) as c:
        assert c.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
    assert path.read_bytes()[100:] == before[100:]


async def test_a_removed_file_is_made_anew(tmp_path):
    async with Store(tmp_path / "ledger.db") as store:
        await store.commit(put("before"))
        store.path.unlink()
        await store.commit(put("after"))
        assert store.mode == "file"
        assert on_disk(store.path) == {"before", "after"}
        store.path.unlink()
        assert await store.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (VERSION,)  # no write needed


async def test_a_folder_in_its_place_means_memory_until_it_is_gone(tmp_path):
    path = tmp_path / "ledger.db"
    path.mkdir()
    async with Store(path, retry_s=0.05) as store:
        assert store.mode == "memory"
        await store.commit(put("meanwhile"))
        path.rmdir()
        await until(lambda: store.mode == "file", "the file is tried again")
        assert "meanwhile" in on_disk(path)


async def test_what_is_only_in_memory_is_written_at_the_end(tmp_path):
    path = tmp_path / "ledger.db"
    path.mkdir()
    async with Store(path, retry_s=3600) as store:
        await store.commit(put("meanwhile"))
        path.rmdir()
    assert "meanwhile" in on_disk(path)
