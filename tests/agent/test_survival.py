"""A daemon whose ground is taken away: its folders, its disk, its network, its Python, its event loop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from routerd.agent.hang import EXIT_HUNG
from routerd_client import Client, DaemonUnavailableError, RequestFailedError
from routerd_client.protocol import ErrorCode
from tests.support.daemon import Standalone, standalone_daemon
from tests.support.systemd import why_no_systemd
from tests.support.wait import until_blocking

ROUTES = "version: 1\nbackends: {small: {mlx: {model: demo}}}\ndefault: small\n"
EXIT_CANNOT_START, EXIT_AGAIN = 3, 75

FULL = 'mount -t tmpfs -o size=64k tmpfs "$0" && ! cat /dev/zero > "$0/filler" 2>/dev/null && exec "$@"'
LINKED = 'link=$0; shift; exec "$link" "$@" --agent'

GUARDED = """
import sys, time
import anyio
from routerd.agent.hang import HangGuard

async def main():
    async with anyio.create_task_group() as tasks:
        with HangGuard(2.0) as guard:
            tasks.start_soon(guard.feed)
            print("turning", flush=True)
            while sys.stdin.readline().strip() == "turn":
                for _ in range(20):
                    await anyio.sleep(0.05)
                print("turned", flush=True)
            time.sleep(60)

anyio.run(main)
"""


def reachable(daemon: Standalone) -> bool:
    try:
        with Client(daemon.socket, name="test", timeout_s=30) as client:
            return client.status().pid == daemon.process.pid
    except DaemonUnavailableError:
        return False


def test_folders_that_are_deleted_come_back_and_without_its_python_it_asks_to_be_started_again(tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    paths = f"PYTHONPATH={os.pathsep.join(path for path in sys.path if path)}"
    with standalone_daemon(tmp_path, ROUTES, prefix=["env", paths, "/bin/sh", "-c", LINKED, str(link)]) as daemon:
        with daemon.client() as standing:
            standing.status()
            shutil.rmtree(daemon.socket.parent)
            shutil.rmtree(daemon.places.state)
            log = daemon.places.state / "logs" / "routerd.log"
            until_blocking(lambda: log.exists() and "place.restored" in log.read_text(), "it sees that", deadline=60)
            assert reachable(daemon)
            assert standing.status().pid == daemon.process.pid, "connections that stand go on"

        link.unlink()
        assert daemon.wait() == EXIT_AGAIN
        assert list(daemon.socket.parent.iterdir()) == []


def test_a_daemon_whose_place_was_taken_by_another_gives_way(tmp_path: Path) -> None:
    with standalone_daemon(tmp_path, ROUTES) as daemon:
        daemon.signal(signal.SIGSTOP)
        shutil.rmtree(daemon.places.state)
        shutil.rmtree(daemon.socket.parent)
        other = Standalone(daemon.places)
        try:
            assert other.answers().pid == other.process.pid
            daemon.signal(signal.SIGCONT)
            assert daemon.wait() == EXIT_CANNOT_START
            assert f"a daemon (pid {other.process.pid}) already listens" in daemon.stderr
            assert other.answers().pid == other.process.pid, "the other's socket is left alone"
        finally:
            other.process.kill()
            other.process.wait()


@pytest.mark.skipif(bool(why_no_systemd()), reason=f"a full disk and no network are made by root: {why_no_systemd()}")
def test_it_starts_and_answers_on_a_full_disk_and_without_a_network(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    prefix = ["unshare", "--mount", "--net", "/bin/sh", "-c", FULL, str(state)]
    with standalone_daemon(tmp_path, ROUTES, prefix=prefix) as daemon:
        inside = Path(f"/proc/{daemon.process.pid}/root", *state.parts[1:])
        assert (inside / "filler").stat().st_size > 0
        assert daemon.answers().crashes == []
        assert "candidate small" in daemon.ctl("explain", "hello").stdout
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_an_event_loop_that_hangs_ends_the_process_and_a_sleep_of_the_machine_does_not() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", GUARDED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == "turning\n"
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3.0)  # longer than what counts as a hang
    process.send_signal(signal.SIGCONT)
    print("turn", file=process.stdin, flush=True)
    assert process.stdout.readline() == "turned\n"
    print("hang", file=process.stdin, flush=True)
    said = process.stderr.read()
    assert process.wait(30) == EXIT_HUNG
    assert "the event loop hangs" in said
    assert "time.sleep" in said or "in main" in said, "it says where"
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()


def test_an_agent_whose_routes_are_wrong_at_login_says_so_until_they_are_right(tmp_path: Path, sockets: Path) -> None:
    config, path = tmp_path / "routes.yaml", sockets / "routerd.sock"
    config.write_text("version: 1\nbackends: {small: {mlx: {modle: demo}}}\ndefault: small\n")
    where = ["--config", config, "--socket", path, "--state-dir", tmp_path / "state"]
    process = subprocess.Popen([sys.executable, "-m", "routerd", "serve", "--agent", *map(str, where)])
    try:
        with Client(path, name="test", timeout_s=60, start_timeout_s=30) as client:
            with pytest.raises(RequestFailedError, match=r"routes.yaml:2:\d+: .*'model'.*correct the file") as caught:
                client.status()
            assert caught.value.code is ErrorCode.CONFIG
            config.write_text("version: 1\nbackends: {}\n")
            with pytest.raises(RequestFailedError, match="cannot begin"):
                client.chat("hello")
            config.write_text(ROUTES)
            until_blocking(lambda: answers(client), "it begins by itself")
            assert client.status().pid == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

        config.unlink()
        process = subprocess.Popen([sys.executable, "-m", "routerd", "serve", "--agent", *map(str, where)])
        told = pytest.raises(RequestFailedError, match="there is no such file")
        with Client(path, timeout_s=60, start_timeout_s=30) as client, told:
            client.status()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert list(sockets.iterdir()) == []
    finally:
        process.kill()
        process.wait()


def answers(client: Client) -> bool:
    try:
        return client.status().generation == 1
    except (RequestFailedError, DaemonUnavailableError):
        return False
