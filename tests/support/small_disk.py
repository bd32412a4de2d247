"""What the daemon does on a disk that fills up or becomes read-only: on a real small one, in a namespace of its own.

Run by `on_small_disk` as a program, it mounts the disk, plays a scenario, and prints what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from inspect import isawaitable
from pathlib import Path
from typing import Any

import anyio
import pytest

from routerd.server.claim import SocketTakenError, claim, hold
from routerd.store.ledger import Ledger
from routerd.store.writer import Store

from .wait import until

ROW = "INSERT INTO spend VALUES (?, 'r', 1, 0, 'b', 'm', '', '', 5, NULL, 'open')"


def on_small_disk(scenario: str, folder: Path) -> dict[str, Any]:
    """What ``scenario`` saw, on a disk mounted at ``folder``. Skips the test, and says why, where nothing may be
    mounted."""
    program = [sys.executable, "-m", __name__, scenario, str(folder)]
    done = subprocess.run([*own_mounts(folder), *program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def own_mounts(folder: Path) -> list[str]:
    """What starts a program that may mount disks, at ``folder`` for one, which nobody else sees. Skips as above."""
    if not shutil.which("unshare"):
        pytest.skip("a small disk of its own needs Linux's unshare")
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = [*namespace, "mount", "-t", "tmpfs", "none", str(folder)]
    if (tried := subprocess.run(mount, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"a small disk of its own needs user namespaces, which this system refuses: {tried.stderr}")
    return namespace


def with_read_only(folder: Path) -> list[str]:
    """What starts a program for which ``folder``, with all that is in it now, is on a read-only disk. It skips too."""
    script = (
        'kept="$1.kept" && cp -a "$1" "$kept" && mount -t tmpfs -o size=16m none "$1" && cp -a "$kept/." "$1" '
        '&& chmod 700 "$1" && mount -o remount,ro "$1" && rm -r "$kept" && shift && exec "$@"'
    )
    return [*own_mounts(folder), "sh", "-c", script, "sh", str(folder)]


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)


def put(key: str) -> Callable[[sqlite3.Connection], None]:
    return lambda connection: connection.execute("INSERT INTO meta VALUES (?, ?)", (key, "x" * 5000)) and None


def keys(connection: sqlite3.Connection) -> list[str]:
    return [key for (key,) in connection.execute("SELECT key FROM meta WHERE key != 'recovered' ORDER BY key")]


def reserved(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM spend WHERE state = 'open'").fetchone()
    return int(count)


async def full(folder: Path) -> dict[str, Any]:
    filler = folder / "filler"
    async with Store(folder / "ledger.db", retry_s=0.05) as store:
        await store.commit(lambda c: c.execute(ROW, ("one",)) and None)
        await store.commit(put("before"))
        fill(filler)
        for n in range(40):
            await store.commit(put(f"meanwhile {n:02}"))
        store.enqueue(put("enqueued"))
        await store.commit(lambda c: c.execute("UPDATE spend SET state = 'settled', settled = 3") and None)
        seen = {"mode": store.mode, "reason": store.reason, "meanwhile": await store.read(keys)}
        filler.unlink()
        await until(lambda: store.mode == "file", "it is written again")
    connection = sqlite3.connect(store.path)
    return {**seen, "dropped": store.dropped, "after": keys(connection), "open": reserved(connection)}


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 512)
        except OSError:
            pass


async def read_only(folder: Path) -> dict[str, Any]:
    async with Store(folder / "ledger.db") as store:
        await store.commit(lambda c: c.execute(ROW, ("one",)) and None)
    mount(folder, "remount,ro")
    async with Store(folder / "ledger.db", retry_s=0.05) as store:
        seen = {"mode": store.mode, "reason": store.reason, "reserved": await store.read(reserved)}
        await store.commit(lambda c: c.execute(ROW, ("two",)) and None)
        mount(folder, "remount,rw")
        await until(lambda: store.mode == "file", "it is written again")
        return {**seen, "after": await store.read(reserved), "keys": await store.read(keys)}


def locks(folder: Path) -> dict[str, Any]:
    """Of a state folder that has no lock on it yet, then of one that has."""
    seen: dict[str, Any] = {}
    mount(folder, "remount,ro")
    with hold(folder) as lock:
        seen["second"] = refused(folder)
        seen["renewed"] = [lock.renew()]
        mount(folder, "remount,rw")
        seen["renewed"] += [lock.renew(), lock.renew()]
        seen["named"] = (folder / "daemon.lock").read_text() == f"{os.getpid()}\n"
    folder.chmod(0o700)
    (folder / "daemon.lock").touch()
    mount(folder, "remount,ro")
    with hold(folder) as lock:
        seen["stands"] = lock.stands
        seen["third"] = refused(folder)
    try:
        with claim(folder / "s"):
            pass
    except SocketTakenError as error:
        seen["socket"] = str(error)
    return seen


def refused(folder: Path) -> bool:
    try:
        with hold(folder):
            return False
    except SocketTakenError:
        return True


async def older(folder: Path) -> dict[str, Any]:
    """What a ledger in memory tells of chats that the file has."""
    attempt = "INSERT INTO attempts VALUES ('r1', 1, ?, 'b', 'm', 'ok', '', '', 'good', NULL, 1, NULL, 1, 1, 0)"
    async with Store(folder / "ledger.db") as store:
        await store.commit(lambda c: c.execute(attempt, (time.time(),)) and None)
    mount(folder, "remount,ro")
    async with Store(folder / "ledger.db") as store:
        return {"mode": store.mode, "past": [past.key[0] for past in await Ledger(store).past()]}


if __name__ == "__main__":
    where = Path(sys.argv[2])
    mount(where, "size=1m")
    played = globals()[sys.argv[1]](where)
    print(json.dumps(anyio.run(lambda: played) if isawaitable(played) else played))
