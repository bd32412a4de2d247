"""Signals that a daemon may be sent by mistake, and those that end it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from routerd.app.signals import IGNORED, TAKEN, name
from tests.support.daemon import Standalone, routes, standalone_daemon
from tests.support.wait import until_blocking


@contextmanager
def api(**knobs: object) -> Iterator[str]:
    """A routes.yaml whose backend is an API of a process of its own."""
    command = [sys.executable, "-m", "routerd.selftest.fake_api", json.dumps(knobs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        try:
            yield routes(cloud=json.dumps({"openai": {"model": "m", "base_url": url}, "billing": "local"}))
        finally:
            process.kill()


def log(daemon: Standalone) -> str:
    return "".join(file.read_text() for file in daemon.places.state.rglob("*.log"))


def test_every_signal_that_would_end_it_is_taken() -> None:
    """SIGPIPE and SIGXFSZ are Python's to ignore; those that stop a process are its user's."""
    left = {number for number in signal.valid_signals() if number not in TAKEN}
    ends = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU}

    assert not left & ends
    assert {signal.SIGKILL, signal.SIGCHLD, signal.SIGSEGV} <= left
    if sys.platform == "linux":
        assert {signal.SIGRTMIN, signal.SIGRTMAX, signal.SIGPWR, signal.SIGIO} <= IGNORED


def test_signals_that_nobody_means_change_nothing(tmp_path: Path) -> None:
    with api() as text, standalone_daemon(tmp_path, text) as daemon:
        pid = daemon.answers().pid
        meant = sorted(IGNORED | {signal.SIGPIPE, signal.SIGXFSZ})
        for number in meant:
            daemon.signal(number)
        until_blocking(lambda: all(name(number) in log(daemon) for number in IGNORED), "each is logged")

        assert daemon.answers().pid == pid
        with daemon.client() as client:
            assert client.chat("Hello?").text == "Hello, world!"
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert not daemon.socket.exists()


def test_quit_ends_it_at_once_and_says_where_it_stood(tmp_path: Path) -> None:
    with api(between=60) as text, standalone_daemon(tmp_path, text) as daemon, daemon.client() as client:
        next(iter(client.stream("Hello?")))
        daemon.signal(signal.SIGQUIT)

        assert daemon.wait() == 0
        assert not daemon.socket.exists()
        assert "routerd.quit" in log(daemon)
        assert "heed" in log(daemon)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM])
def test_a_signal_while_it_starts(tmp_path: Path, number: signal.Signals) -> None:
    with api() as text, standalone_daemon(tmp_path, text) as daemon:
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        again = daemon._start()
        daemon.process = again
        until_blocking(lambda: _catches(again.pid, number), "it takes signals")
        while not daemon.socket.is_socket():
            daemon.signal(number)

        assert daemon.answers().pid == again.pid


def test_an_end_while_it_starts(tmp_path: Path) -> None:
    with api() as text, standalone_daemon(tmp_path, text) as daemon:
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        daemon.process = daemon._start()
        until_blocking(lambda: _catches(daemon.process.pid, signal.SIGTERM), "it takes signals")
        daemon.signal(signal.SIGTERM)

        assert daemon.wait() == 0
        assert not daemon.socket.exists()


def _catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
