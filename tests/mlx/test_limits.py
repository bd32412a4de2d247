"""The memory that mlx may take is the worker's share, and stays so whatever mlx-lm sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest

from routerd.worker.batch import Batch, Limits
from routerd.worker.lm import CACHE_LIMIT, Model, Share
from routerd.worker.sampling import Samplers
from tests.support.worker_client import WorkerClient, ask

GB = 10**9


def limits() -> tuple[int, int]:
    """What mlx has now, for all and for freed buffers: it tells them when others are set."""
    memory, buffers = mx.set_memory_limit(GB), mx.set_cache_limit(GB)
    mx.set_memory_limit(memory)
    mx.set_cache_limit(buffers)
    return memory, buffers


@pytest.fixture
def sharing(tiny: Model) -> Iterator[Model]:
    before = limits()
    tiny.share = Share(memory=3 * GB, buffers=7_000_000)
    yield tiny
    tiny.share = Share()
    mx.set_memory_limit(before[0])
    mx.set_cache_limit(before[1])


def test_each_new_generator_has_the_share(sharing: Model) -> None:
    batch = Batch(sharing, Samplers({}), Limits())
    assert limits() == (3 * GB, 7_000_000)
    mx.set_cache_limit(GB)
    batch.clear()
    assert limits() == (3 * GB, 7_000_000)


def test_without_a_share_only_the_buffers_are_bounded(tiny: Model) -> None:
    before, _ = limits()
    tiny.generator(1)
    assert limits() == (before, CACHE_LIMIT)


def test_a_worker_keeps_to_the_buffers_it_was_given(tiny_folder: Path) -> None:
    kept = 1_000_000
    with WorkerClient(tiny_folder, "--memory", str(GB), "--buffers", str(kept)) as worker:
        worker.ready()
        worker.chat(ask("the quick brown fox " * 60, max_tokens=64))

        assert worker.ping().memory.cache <= kept
