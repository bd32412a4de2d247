"""What the ledger does on a disk that fills up or becomes read-only: on a real one of 1 MB, in a namespace of its own.

Run by `on_small_disk` as a program; it mounts the disk, plays a scenario, and prints what it saw as JSON.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from routerd.store.writer import Store

from .wait import until

ROW = "INSERT INTO spend VALUES (?, 'r', 1, 0, 'b', 'm', '', '', 5, NULL, 'open')"


def on_small_disk(scenario: str, folder: Path) -> dict[str, Any]:
    """What ``scenario`` saw, on a disk mounted at ``folder``. Skips the test, and says why, where nothing may be
    mounted."""
    if not shutil.which("unshare"):
        pytest.skip("a small disk of its own needs Linux's unshare")
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = [*namespace, "mount", "-t", "tmpfs", "none", str(folder)]
    if (tried := subprocess.run(mount, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"a small disk of its own needs user namespaces, which this system refuses: {tried.stderr}")
    program = [sys.executable, "-m", __name__, scenario, str(folder)]
    done = subprocess.run([*namespace, *program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


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


if __name__ == "__main__":
    where = Path(sys.argv[2])
    mount(where, "size=1m")
    print(json.dumps(anyio.run(globals()[sys.argv[1]], where)))
