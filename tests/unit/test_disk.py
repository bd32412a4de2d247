"""Work on the disk: bounded for whoever waits, never in the way of another, nor of the program's end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from routerd import disk
from tests.support.wait import until

ENDS_AT_ONCE = """
import sys, anyio
from pathlib import Path
from routerd import disk

async def main():
    try:
        await disk.run(Path(sys.argv[1]).read_bytes, what="a FIFO", within=0.1)
    except disk.DiskStuckError as error:
        print(error)

anyio.run(main)
"""


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    """Make a FIFO, which blocks whoever opens it for reading until the end of the test."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    yield path
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


async def test_work_is_done_and_its_errors_arrive(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    assert await disk.run((tmp_path / "a").read_text, what="a") == "text"
    with pytest.raises(FileNotFoundError):
        await disk.run((tmp_path / "b").read_text, what="b")
    with pytest.raises(RuntimeError, match="StopIteration"):
        await disk.run(next, iter(()), what="nothing")
    with pytest.raises(SystemExit):
        await disk.run(sys.exit, what="the end")


async def test_no_waiter_waits_beyond_its_bound(fifo: Path) -> None:
    with pytest.raises(disk.DiskStuckError, match=r"did not answer within 0.05 s: the FIFO; check that disk") as caught:
        await disk.run(fifo.read_bytes, what="the FIFO", within=0.05)
    assert caught.value.strerror == str(caught.value)
    assert await disk.run(lambda: 7, what="another", within=60) == 7


async def test_the_nearest_place_is_named(fifo: Path) -> None:
    def work() -> bytes:
        disk.at(fifo)
        return fifo.read_bytes()

    with pytest.raises(disk.DiskStuckError, match=str(fifo)) as caught:
        await disk.run(work, what="the FIFO's folder", within=0.05)
    assert caught.value.place == str(fifo)


async def test_a_stuck_place_takes_one_thread_however_often_it_is_asked(fifo: Path) -> None:
    async def leave() -> None:
        with anyio.move_on_after(0.01):
            await disk.run(fifo.read_bytes, what=fifo)

    await leave()
    threads = threading.active_count()
    for _ in range(20):
        await leave()
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(leave)
    assert threading.active_count() == threads

    release = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    os.close(release)
    await until(lambda: str(fifo) not in disk._left, "the stuck call ends")
    assert await disk.run(lambda: 7, what=fifo) == 7


async def test_more_than_all_threads_stuck_fail_in_time(tmp_path: Path) -> None:
    gate, failed = threading.Event(), []

    async def ask(number: int) -> None:
        try:
            await disk.run(gate.wait, what=f"place {number}", within=0.3)
        except disk.DiskStuckError as error:
            failed.append(error)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for number in range(disk.THREADS + 20):
                tasks.start_soon(ask, number)
    assert len(failed) == disk.THREADS + 20
    gate.set()
    assert await disk.run(lambda: 7, what="afterwards") == 7


def test_a_program_ends_while_a_thread_is_stuck(fifo: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDS_AT_ONCE, str(fifo)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "did not answer within 0.1 s: a FIFO" in done.stdout


def test_only_regular_files_are_read(tmp_path: Path, fifo: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    (tmp_path / "loop").symlink_to("loop")
    assert disk.read(file) == b"12345"
    for path, why in (
        (fifo, "it is not a regular file"),
        (Path("/dev/zero"), "it is not a regular file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "loop", "Too many levels of symbolic links"),
        (tmp_path / ("n" * 300), "File name too long"),
        (tmp_path / "a\0b", "its name has a NUL character"),
        (file / "below", "Not a directory"),
    ):
        with pytest.raises(OSError, match=r".") as caught:
            disk.read(path)
        assert disk.reason(caught.value) == why


def test_no_more_than_a_bound_is_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with file.open("wb") as long:
        long.truncate(2**40)
    with pytest.raises(disk.DiskError, match=r"it is larger than 1 MiB"):
        disk.read(file)
    with pytest.raises(disk.DiskError, match=r"it is larger than 2 KiB"):
        disk.read(file, 2048)
