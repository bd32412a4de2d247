"""Waiting for news, or for a time."""

from __future__ import annotations

import anyio

from routerd.supervisor.waiting import News


async def test_news_wake_whoever_waits() -> None:
    news, woken = News(), anyio.Event()

    async def wait() -> None:
        await news.wait()
        woken.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert not woken.is_set()
            news.tell()
            await woken.wait()


async def test_news_from_before_the_wait_count_once() -> None:
    news = News()
    news.tell()
    news.tell()
    with anyio.fail_after(10):
        await news.wait()
    with anyio.move_on_after(0) as scope:
        await news.wait()

    assert scope.cancelled_caught


async def test_a_time_ends_the_wait() -> None:
    news, until = News(), anyio.current_time() + 0.01
    with anyio.fail_after(10):
        await news.wait(until)

    assert anyio.current_time() >= until
