"""The socket belongs to one daemon and one user."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from routerd.server.claim import SocketTakenError, claim
from routerd_client import AsyncClient, Client, DaemonUnavailableError
from tests.support.daemon import fake, routes, running_daemon


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_socket_and_folder_are_closed_to_others(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(small=fake())) as running:
        assert mode(running.socket) == 0o600
        assert mode(running.socket.parent) == 0o700


def test_a_folder_that_is_missing_is_made_closed_to_others(sockets: Path) -> None:
    path = sockets / "deep" / "er" / "routerd.sock"
    before = os.umask(0)
    try:
        with claim(path):
            assert mode(path.parent) == 0o700
    finally:
        os.umask(before)


def test_a_folder_that_others_can_enter_is_refused(sockets: Path) -> None:
    sockets.chmod(0o755)
    with pytest.raises(SocketTakenError, match="chmod 700"), claim(sockets / "s"):
        pass


async def test_a_second_daemon_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(small=fake())) as running:
        with pytest.raises(SocketTakenError, match=rf"pid {os.getpid()}\) already listens"), claim(running.socket):
            pass
        async with running.client() as client:
            assert (await client.status()).generation == 1


def test_a_stale_socket_is_removed(sockets: Path) -> None:
    path = sockets / "s"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with claim(path):
        assert not path.exists()


def test_nothing_is_left_afterwards(sockets: Path) -> None:
    with claim(sockets / "s"):
        pass
    assert list(sockets.iterdir()) == []


def test_nothing_is_left_after_a_failure(sockets: Path) -> None:
    def listen_and_fail(path: Path) -> None:
        path.touch()
        raise RuntimeError("it broke")

    with pytest.raises(RuntimeError, match="it broke"), claim(sockets / "s"):
        listen_and_fail(sockets / "s")
    assert list(sockets.iterdir()) == []


def test_a_path_too_long_for_a_socket_is_told(sockets: Path) -> None:
    with pytest.raises(SocketTakenError, match="bytes long, and this system allows"), claim(sockets / ("s" * 120)):
        pass


def test_without_a_daemon_the_client_says_what_to_do(sockets: Path) -> None:
    path = sockets / "s"
    with (
        Client(path) as client,
        pytest.raises(DaemonUnavailableError, match=f"not running: nothing answers at {path}.*routerd serve") as caught,
    ):
        client.status()
    assert not caught.value.sent


def test_a_socket_that_a_killed_daemon_left_is_told_apart(sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(sockets / "s"))
    with Client(sockets / "s") as client, pytest.raises(DaemonUnavailableError, match="left its socket behind"):
        client.status()


async def test_the_asynchronous_client_says_the_same(sockets: Path) -> None:
    async with AsyncClient(sockets / "s") as client:
        with pytest.raises(DaemonUnavailableError, match="the daemon is not running"):
            await client.chat("hello")
