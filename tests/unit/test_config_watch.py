"""The watcher sees new content however it comes, on the real file system."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from routerd.config.load import digest
from routerd.config.watch import changes

DEADLINE = 10
POLL = 0.25
QUIET = 1.0  # longer than a poll and a settling: what would come has come

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "routes.yaml"
    path.parent.mkdir()
    path.write_text("first")
    return path


class Watched:
    def __init__(self, path: Path) -> None:
        self.stop = anyio.Event()
        self.seen = changes(path, self.stop, last="something else", poll=POLL)

    async def sees(self, text: str) -> None:
        """The very next thing seen is ``text``."""
        with anyio.fail_after(DEADLINE):
            assert await anext(self.seen) == digest(text.encode())

    async def sees_nothing(self) -> None:
        with anyio.move_on_after(QUIET):
            pytest.fail(f"saw {await anext(self.seen)}")


@asynccontextmanager
async def watched(path: Path) -> AsyncGenerator[Watched, None]:
    """A watch that stands: it has seen the file's first content."""
    watch = Watched(path)
    async with aclosing(watch.seen):
        await watch.sees("first")
        yield watch


def write(path: Path, text: str) -> None:
    path.write_text(text)


def rename_over(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.swp")
    fresh.write_text(text)
    fresh.replace(path)


def truncate_and_write(path: Path, text: str) -> None:
    with path.open("w") as opened:
        opened.flush()
        opened.write(text)


def remove_and_write(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


def replace_folder(path: Path, text: str) -> None:
    path.parent.rename(path.parent.with_name(f"before-{text}"))
    path.parent.mkdir()
    path.write_text(text)


def make_folders(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)


def link(path: Path, target: str | Path) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.symlink_to(target)
    fresh.replace(path)


Way = Callable[[Path, str], None]
WAYS: list[Way] = [write, rename_over, truncate_and_write, remove_and_write, replace_folder]


@pytest.mark.parametrize("way", WAYS)
async def test_new_content_is_seen_each_time(way: Way, file: Path) -> None:
    async with watched(file) as watch:
        for text in ("second", "third"):
            way(file, text)
            await watch.sees(text)


async def test_a_file_left_empty_is_seen(file: Path) -> None:
    async with watched(file) as watch:
        write(file, "")
        await watch.sees("")


async def test_a_link_is_followed_to_its_new_target(tmp_path: Path, file: Path) -> None:
    other = tmp_path / "other" / "routes.yaml"
    make_folders(other, "second")
    link(tmp_path / "link", file)
    async with watched(tmp_path / "link") as watch:
        link(tmp_path / "link", other)
        await watch.sees("second")
        write(other, "third")
        await watch.sees("third")


@pytest.mark.parametrize("way", WAYS)
async def test_new_content_at_the_end_of_a_link_is_seen(way: Way, tmp_path: Path, file: Path) -> None:
    link(tmp_path / "link", file)
    async with watched(tmp_path / "link") as watch:
        way(file, "second")
        await watch.sees("second")


async def test_a_mounted_config_map_that_swaps_its_data_folder_is_seen(tmp_path: Path) -> None:
    for version in ("first", "second", "third"):
        make_folders(tmp_path / f"..{version}" / "routes.yaml", version)
    link(tmp_path / "..data", "..first")
    link(tmp_path / "routes.yaml", "..data/routes.yaml")
    async with watched(tmp_path / "routes.yaml") as watch:
        for version in ("second", "third"):
            link(tmp_path / "..data", f"..{version}")
            await watch.sees(version)


async def test_a_folder_made_later_is_watched(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "routes.yaml"
    watch = Watched(path)
    async with aclosing(watch.seen), anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, make_folders, path, "first")
        await watch.sees("first")
        write(path, "second")
        await watch.sees("second")


async def test_the_same_content_written_anew_says_nothing(file: Path) -> None:
    async with watched(file) as watch:
        remove_and_write(file, "first")
        await watch.sees_nothing()


async def test_a_file_that_is_gone_and_back_is_seen(file: Path) -> None:
    async with watched(file) as watch:
        remove(file)
        with anyio.fail_after(DEADLINE):
            assert await anext(watch.seen) == ""
        write(file, "first")
        await watch.sees("first")


async def test_a_change_while_the_consumer_is_busy_is_seen_afterwards(file: Path) -> None:
    async with watched(file) as watch:
        # nobody waits for the next one now
        write(file, "second")
        write(file, "third")
        await watch.sees("third")


async def test_without_a_known_digest_the_content_at_the_first_step_is_known(file: Path) -> None:
    async with aclosing(changes(file, poll=POLL)) as seen:
        with anyio.move_on_after(QUIET):
            pytest.fail(f"saw {await anext(seen)}")


async def test_stop_ends_the_watch(file: Path) -> None:
    async with watched(file) as watch:
        watch.stop.set()
        with anyio.fail_after(DEADLINE):
            assert [found async for found in watch.seen] == []


WITHOUT_THREADS = """
import resource, sys
from contextlib import aclosing
from pathlib import Path
import anyio
from routerd.config.watch import changes
import watchfiles._rust_notify

async def main(path: Path) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 4_000_000, hard))  # no room for a stack
    try:
        await anyio.to_thread.run_sync(str)
    except RuntimeError as error:
        print(error, flush=True)

    async def recover() -> None:
        await anyio.sleep(1)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        path.write_text("after")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recover)
        with anyio.fail_after(60):
            async with aclosing(changes(path, last="before", poll=0.1)) as found:
                async for digest in found:
                    if digest:
                        print("seen")
                        return

anyio.run(main, Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a program's address space")
def test_a_change_is_seen_once_there_are_threads_again(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("before")
    command = [sys.executable, "-c", WITHOUT_THREADS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "can't start new thread"
    assert lines[-1] == "seen"
    assert "watch.blind" in done.stdout + done.stderr
