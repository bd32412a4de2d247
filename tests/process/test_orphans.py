"""The daemon killed at its worst moments: no model process outlives it, and the next daemon works.

``ROUTERD_KILL_ROUNDS`` is how often each moment is tried.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from routerd.supervisor.leftovers import Record
from routerd_client import Client, Delta, Progress
from routerd_client.protocol import Event
from routerd_client.records import Residency
from tests.support.daemon import Standalone, alive, standalone_daemon
from tests.support.tiny_model import make_tiny_model
from tests.support.wait import until_blocking

ROUNDS = int(os.environ.get("ROUTERD_KILL_ROUNDS", "3"))
LONG_ANSWER, LONG_PROMPT = 8000, "tell me everything " * 1500


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes seconds to read `LONG_PROMPT`."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "roomy", context=40_000)


@pytest.fixture
def daemon(tmp_path: Path, roomy: Path) -> Iterator[Standalone]:
    routes = f"version: 1\nbackends: {{small: {{mlx: {{model: {roomy}, kv_tokens: 40000}}}}}}\ndefault: small\n"
    with standalone_daemon(tmp_path, routes) as running:
        yield running


@pytest.fixture
def client(daemon: Standalone) -> Iterator[Client]:
    with daemon.client() as client:
        yield client


def reach(stream: Iterator[Event], moment: Callable[[Event], bool]) -> Iterator[Event]:
    """The stream, read up to the event that is the moment."""
    for event in stream:
        if moment(event):
            return stream
    pytest.fail("the answer ended before the moment came")


def loading(daemon: Standalone, client: Client) -> Iterator[Event]:
    stream = client.stream("hello")
    reach(stream, lambda event: isinstance(event, Progress) and event.phase == "loading")
    until_blocking(daemon.workers, "there is a process")
    assert [model.residency for model in client.status().models] == [Residency.LOADING]
    return stream


def prefill(_daemon: Standalone, client: Client) -> Iterator[Event]:
    stream = client.stream(LONG_PROMPT, max_tokens=16)
    return reach(stream, lambda event: isinstance(event, Progress) and event.phase == "prefill")


def decoding(_daemon: Standalone, client: Client) -> Iterator[Event]:
    stream = client.stream("hello", max_tokens=LONG_ANSWER)
    return reach(stream, lambda event: isinstance(event, Delta) and event.text != "")


def draining(daemon: Standalone, client: Client) -> Iterator[Event]:
    stream = decoding(daemon, client)
    daemon.signal(signal.SIGTERM)
    until_blocking(lambda: "draining" in daemon.stderr, "the daemon drains")
    return stream


@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("phase", [loading, prefill, decoding, draining])
def test_a_daemon_killed_at_its_worst_moment_leaves_no_worker_and_the_next_one_works(
    phase: Callable[[Standalone, Client], Iterator[Event]], round_: int, daemon: Standalone, client: Client
) -> None:
    stream = phase(daemon, client)
    workers = daemon.workers()
    assert workers
    assert daemon.process.poll() is None, "it is killed, and did not end by itself"
    daemon.signal(signal.SIGKILL)
    assert daemon.wait() == -signal.SIGKILL
    until_blocking(lambda: not any(map(alive, workers)), "the workers end", deadline=2.0)
    with pytest.raises(Exception, match="closed the connection"):
        list(stream)

    daemon.restart()
    assert recorded(daemon) == []
    assert client.chat("hello", max_tokens=4).usage.completion_tokens == 4
    assert recorded(daemon) == daemon.workers()


def recorded(daemon: Standalone) -> list[int]:
    """The pids in the file of living workers; none where the daemon was killed before it wrote the first."""
    try:
        written = (daemon.places.state / "workers.json").read_bytes()
    except FileNotFoundError:
        return []
    return [record.pid for record in msgspec.json.decode(written, type=list[Record])]
