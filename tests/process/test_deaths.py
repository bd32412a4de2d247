"""The real worker, stuck: stopped in its load, and stopped in its answer."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from routerd_client import Delta, InterruptedAnswerError, RequestFailedError
from routerd_client.records import FailureKind
from tests.support.daemon import Standalone, alive, standalone_daemon
from tests.support.wait import until_blocking


@pytest.fixture
def daemon(tmp_path: Path, tiny: Path) -> Iterator[Standalone]:
    impatient = f"{{mlx: {{model: {tiny}, load_timeout: 2s}}}}"
    watchful = f"{{mlx: {{model: {tiny}, stall_timeout: 1s}}}}"
    routes = f"version: 1\nbackends: {{impatient: {impatient}, watchful: {watchful}}}\ndefault: watchful\n"
    with standalone_daemon(tmp_path, routes) as running:
        yield running


def test_a_worker_that_hangs_in_its_load_is_killed_after_load_timeout(daemon: Standalone) -> None:
    failures: list[RequestFailedError] = []

    def ask() -> None:
        with daemon.client() as client, pytest.raises(RequestFailedError) as caught:
            client.chat("hello", model="impatient")
        failures.append(caught.value)

    asking = threading.Thread(target=ask)
    asking.start()
    (worker,) = until_blocking(daemon.workers, "there is a process")
    os.kill(worker, signal.SIGSTOP)
    asking.join(30)
    (attempt,) = failures[0].attempts
    assert attempt.failure is FailureKind.LOAD_FAILED
    assert "still loading after 2 s (load_timeout)" in attempt.message
    assert not alive(worker)


def test_a_worker_that_hangs_in_its_answer_is_killed_after_stall_timeout(daemon: Standalone) -> None:
    with daemon.client() as client:
        stream = client.stream("Tell me everything.", max_tokens=4000)
        next(event for event in stream if isinstance(event, Delta) and event.text)
        (worker,) = daemon.workers()
        os.kill(worker, signal.SIGSTOP)
        with pytest.raises(InterruptedAnswerError, match="no progress after 1 s") as caught:
            list(stream)
        assert caught.value.attempts[-1].failure is FailureKind.STALLED
        assert not alive(worker)
