"""Waiting for a fact, with a deadline. No test sleeps for an effect."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeVar

import anyio
import pytest

T = TypeVar("T")

DEADLINE = 15.0
STEP = 0.005


async def until(fact: Callable[[], T | Awaitable[T]], what: str, *, deadline: float = DEADLINE) -> T:
    """What ``fact`` gives once it is true; fails the test, saying ``what`` never happened."""
    end = anyio.current_time() + deadline
    while True:
        found = fact()
        value: T = await found if isawaitable(found) else found
        if value:
            return value
        if anyio.current_time() > end:
            pytest.fail(f"{what}: not within {deadline:g} s")
        await anyio.sleep(STEP)


def until_blocking(fact: Callable[[], T], what: str, *, deadline: float = DEADLINE) -> T:
    """The same without an event loop."""
    end = time.monotonic() + deadline
    while not (value := fact()):
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {deadline:g} s")
        time.sleep(STEP)
    return value
