"""The real daemon with the real worker: killed, told to stop, told to reload, started wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from routerd_client import Client, DaemonUnavailableError, Delta, Done, InterruptedAnswerError, Routed
from routerd_client.protocol import Event
from routerd_client.records import FailureKind
from tests.support.daemon import Standalone, alive, standalone_daemon
from tests.support.wait import until_blocking

LONG = 1000
"""Tokens: an answer that is still under way when something is done to it."""


@pytest.fixture
def client(daemon: Standalone) -> Iterator[Client]:
    with daemon.client() as client:
        yield client


def begin(client: Client, model: str = "primary", **options: bool) -> Generator[Event]:
    """A long answer of which the first text has come."""
    stream = client.stream("Tell me everything.", model=model, max_tokens=LONG, **options)
    assert isinstance(stream, Generator)
    for event in stream:
        if isinstance(event, Delta) and event.text:
            return stream
    pytest.fail("the answer ended before it began")


def workers_gone(pids: list[int], deadline: float) -> None:
    until_blocking(lambda: not any(map(alive, pids)), "the workers end", deadline=deadline)


def test_a_worker_killed_mid_answer_is_told_clearly_and_the_next_request_works(
    daemon: Standalone, client: Client
) -> None:
    stream = begin(client, model="small")
    (worker,) = daemon.workers()
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(InterruptedAnswerError, match=r"killed by signal 9 \(SIGKILL\) while it answered") as caught:
        list(stream)
    assert caught.value.partial
    assert client.chat("hello").usage.completion_tokens == 16
    assert worker not in daemon.workers()


def test_a_worker_killed_mid_answer_is_gone_on_with_by_the_next_model(daemon: Standalone, client: Client) -> None:
    stream = begin(client)
    os.kill(daemon.workers()[0], signal.SIGKILL)
    done = list(stream)[-1]
    assert isinstance(done, Done)
    assert (done.backend, done.attempt, done.began) == ("large", 2, 1)


def test_a_worker_killed_mid_answer_hands_over_where_restarts_are_allowed(daemon: Standalone, client: Client) -> None:
    stream = begin(client, restarts=True)
    os.kill(daemon.workers()[0], signal.SIGKILL)
    rest = list(stream)
    assert [event.backend for event in rest if isinstance(event, Routed)] == ["large"]
    done = rest[-1]
    assert isinstance(done, Done)
    assert done.attempts[0].failure is FailureKind.WORKER_DIED
    assert done.usage.completion_tokens == LONG


def test_a_killed_daemon_leaves_no_worker_and_its_socket_is_no_hindrance(daemon: Standalone, client: Client) -> None:
    stream = begin(client)
    workers = daemon.workers()
    assert workers
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    workers_gone(workers, 2.0)
    with pytest.raises(DaemonUnavailableError):
        list(stream)
    assert daemon.socket.is_socket(), "nobody was there to remove it"
    daemon.restart()
    assert client.chat("hello").usage.completion_tokens == 16


def test_a_stopped_worker_of_a_killed_daemon_is_reaped_by_the_next(daemon: Standalone, client: Client) -> None:
    """A stopped process runs no code of its own; on Linux the kernel ends it, elsewhere the next daemon must."""
    client.models("load", "small")
    (worker,) = daemon.workers()
    os.kill(worker, signal.SIGSTOP)
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    daemon.restart()
    workers_gone([worker], 2.0)


def test_sigterm_drains_and_leaves_nothing(daemon: Standalone, client: Client) -> None:
    stream = begin(client)
    workers = daemon.workers()
    daemon.signal(signal.SIGTERM)
    done = list(stream)[-1]
    assert isinstance(done, Done)
    assert done.usage.completion_tokens == LONG, "the open answer ends whole"
    assert daemon.wait() == 0
    assert not any(map(alive, workers))
    assert list(daemon.socket.parent.iterdir()) == []


def test_a_draining_daemon_takes_no_new_chats(daemon: Standalone, client: Client) -> None:
    stream = begin(client)
    daemon.signal(signal.SIGTERM)
    until_blocking(lambda: "draining" in daemon.stderr, "the daemon drains")
    answer = daemon.ctl("ask", "hello", "--json")
    assert (answer.returncode, '"code": "shutting_down"' in answer.stdout) == (1, True)
    stream.close()
    assert daemon.wait() == 0


def test_a_second_sigterm_does_not_wait(daemon: Standalone, client: Client) -> None:
    stream = begin(client)
    daemon.signal(signal.SIGTERM)
    until_blocking(lambda: "draining" in daemon.stderr, "the daemon drains")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    with pytest.raises((DaemonUnavailableError, InterruptedAnswerError)):
        list(stream)
    assert list(daemon.socket.parent.iterdir()) == []


def test_sighup_reloads(daemon: Standalone, client: Client, routes_yaml: str) -> None:
    daemon.places.config.write_text(routes_yaml.replace("default: primary", "default: large"))
    daemon.signal(signal.SIGHUP)
    until_blocking(lambda: client.status().default == "large", "the new file is in force")


def test_a_daemon_that_runs_out_of_files_goes_on(tmp_path: Path, routes_yaml: str) -> None:
    """Connections over its limit wait; those that stand are answered, and all are once there is room."""
    limited = ["/bin/sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
    with standalone_daemon(tmp_path, routes_yaml, prefix=limited) as daemon, daemon.client() as client:
        client.status()
        with ExitStack() as connections:
            for _ in range(80):
                connection = connections.enter_context(socket.socket(socket.AF_UNIX))
                connection.connect(str(daemon.socket))
                connection.send(b"{")  # one that has said something counts
            until_blocking(lambda: client.status().connections > 30, "as many as fit are let in")
            for _ in range(100):  # meanwhile it tries to let in those that do not fit
                assert client.status().generation == 1
        assert daemon.answers().generation == 1


def test_a_wrong_configuration_is_told_with_file_line_and_column(tmp_path: Path, sockets: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("version: 1\nbackends:\n  small: {mlx: {modle: demo}}\ndefault: small\n")
    done = serve(file, sockets)
    assert done.returncode == 2
    assert f"{file}:3:" in done.stderr
    assert "'model'" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(sockets.iterdir()) == []


def test_a_missing_configuration_is_told(tmp_path: Path, sockets: Path) -> None:
    done = serve(tmp_path / "none.yaml", sockets)
    assert (done.returncode, "there is no such file" in done.stderr) == (2, True)


def test_a_second_daemon_on_the_same_socket_cannot_start(daemon: Standalone) -> None:
    done = serve(daemon.places.config, daemon.socket.parent)
    assert done.returncode == 3
    assert f"a daemon (pid {daemon.process.pid}) already listens" in done.stderr
    assert daemon.answers().generation == 1


def serve(config: Path, sockets: Path) -> subprocess.CompletedProcess[str]:
    where = ["--config", config, "--socket", sockets / "routerd.sock", "--state-dir", config.parent / "state"]
    command = [sys.executable, "-m", "routerd", "serve", "--quiet", *map(str, where)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
