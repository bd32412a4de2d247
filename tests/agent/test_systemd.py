"""The login agent under a real systemd: from install to uninstall, crashes, a hang, and activation by a client."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from routerd.agent.setup import Setup
from routerd.agent.systemd import SERVICE, SOCKET, Systemd
from routerd_client import Client, DaemonUnavailableError, Delta, Done
from routerd_client.protocol import StatusResult
from tests.support.daemon import alive
from tests.support.systemd import UserSystemd, user_systemd, why_no_systemd
from tests.support.tiny_model import make_tiny_model
from tests.support.wait import until_blocking

pytestmark = pytest.mark.skipif(bool(why_no_systemd()), reason=why_no_systemd())

ROUNDS = int(os.environ.get("ROUTERD_KILL_ROUNDS", "3"))
LONG = 3000
"""Tokens: an answer that is still under way when the daemon is told to restart."""

ROUTES = "version: 1\nbackends: {small: {mlx: {model: demo}}}\ndefault: small\n"
REPOSITORY = str(Path(__file__).parents[2])


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[UserSystemd]:
    with user_systemd(tmp_path) as running:
        yield running


def status(systemd: UserSystemd) -> StatusResult:
    with Client(systemd.socket, name="test", timeout_s=60, start_timeout_s=30) as client:
        return client.status()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_login_agent_from_install_to_uninstall(systemd: UserSystemd) -> None:
    config, units = systemd.home / ".config" / "routerd" / "routes.yaml", systemd.home / ".config" / "systemd" / "user"

    installed = systemd.ctl("install")
    assert installed.returncode == 0, installed.stderr
    assert f"wrote {config}" in installed.stdout
    assert "undo it with: routerctl uninstall" in installed.stdout
    assert (mode(systemd.socket), mode(systemd.socket.parent)) == (0o600, 0o700)
    assert systemd.run("systemd-analyze", "--user", "verify", str(units / SERVICE), str(units / SOCKET)).stderr == ""
    first = status(systemd)
    assert str(first.pid) == systemd.show(SERVICE, "MainPID")
    assert (first.config, first.crashes) == (str(config), [])

    again = systemd.ctl("install")
    assert (again.returncode, "wrote" in again.stdout) == (0, False)
    assert status(systemd).pid == first.pid, "what is so already is left alone"

    assert systemd.systemctl("reload", SERVICE).returncode == 0
    until_blocking(lambda: systemd.show(SERVICE, "ActiveState") == "active", "it is ready again after a reload")
    assert status(systemd).pid == first.pid

    restarted = systemd.ctl("restart")
    assert restarted.returncode == 0, restarted.stderr
    second = status(systemd)
    assert second.pid != first.pid
    assert second.crashes == [], "it was told to end"

    assert systemd.ctl("stop").returncode == 0
    assert not systemd.socket.exists()
    assert not alive(second.pid)
    assert systemd.ctl("status").returncode == 3
    assert systemd.ctl("start").returncode == 0

    third = status(systemd)
    assert systemd.systemctl("stop", SERVICE).returncode == 0
    assert not alive(third.pid)
    assert status(systemd).pid != third.pid, "a client's call starts it"

    removed = systemd.ctl("uninstall", "--purge", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert not systemd.socket.exists()
    assert list(units.rglob("routerd*")) == []
    assert not (systemd.home / ".local" / "state" / "routerd").exists()
    assert config.exists(), "that one is its user's"
    assert systemd.ctl("start").returncode == 1


def test_a_daemon_that_was_started_by_hand_is_not_replaced(systemd: UserSystemd) -> None:
    (systemd.home / "routes.yaml").write_text(ROUTES)
    command = [sys.executable, "-m", "routerd", "serve", "--config", str(systemd.home / "routes.yaml"), "--quiet"]
    by_hand = subprocess.Popen([*systemd.prefix, *command])
    try:
        assert status(systemd).pid == by_hand.pid
        for asked in ("install", "start", "restart", "stop"):
            refused = systemd.ctl(asked)
            assert (asked, refused.returncode, f"kill {by_hand.pid}" in refused.stderr) == (asked, 1, True)
        assert status(systemd).pid == by_hand.pid
        assert not (systemd.home / ".config").exists()
    finally:
        by_hand.terminate()
        assert by_hand.wait(30) == 0


@pytest.fixture
def agent(systemd: UserSystemd) -> Systemd:
    """One that can be made to hang, and that systemd is quick with."""
    config = systemd.home / ".config" / "routerd" / "routes.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(ROUTES)
    setup = Setup(
        command=(sys.executable, "-m", "tests.support.hangable", "serve", "--agent"),
        environment={"PATH": os.environ["PATH"], "PYTHONPATH": REPOSITORY},
        socket=Path(f"/run/user/{os.getuid()}/routerd/routerd.sock"),
        logs=systemd.home / "logs",
        home=systemd.home,
        runtime=Path(f"/run/user/{os.getuid()}"),
        throttle_s=0.1,
        watchdog_s=6,
    )
    manager = Systemd(systemd.home / ".config" / "systemd" / "user", systemctl=[*systemd.prefix, "systemctl", "--user"])
    (systemd.home / "logs").mkdir()
    manager.install(setup)
    return manager


def another(systemd: UserSystemd, before: StatusResult) -> StatusResult:
    """The daemon that comes after ``before``."""
    until_blocking(lambda: not alive(before.pid), "the daemon ends", deadline=60)

    def answers() -> StatusResult | None:
        try:
            return status(systemd)
        except DaemonUnavailableError:
            return None

    after = until_blocking(answers, "the next one answers", deadline=60)
    assert after
    assert after.pid != before.pid
    return after


def test_a_restart_lets_open_answers_end(systemd: UserSystemd, agent: Systemd, tmp_path: Path) -> None:
    before = status(systemd)
    model = make_tiny_model(tmp_path / "tiny", context=8192)
    Path(before.config).write_text(f"version: 1\nbackends: {{small: {{mlx: {{model: {model}}}}}}}\ndefault: small\n")
    with Client(systemd.socket, name="test", timeout_s=60) as client:
        assert client.reload().errors == []
        stream = client.stream("Tell me everything.", max_tokens=LONG)
        assert any(isinstance(event, Delta) and event.text for event in stream)
        restarting = Thread(target=agent.restart)
        restarting.start()
        done = list(stream)[-1]
        assert isinstance(done, Done)
        assert done.usage.completion_tokens == LONG
    restarting.join()
    assert "routerd.draining" in Path(before.log_file).read_text()
    after = status(systemd)
    assert after.pid != before.pid
    assert after.crashes == []


def test_a_daemon_whose_event_loop_hangs_is_started_again(systemd: UserSystemd, agent: Systemd) -> None:
    before = status(systemd)
    os.kill(before.pid, signal.SIGWINCH)
    after = another(systemd, before)
    assert len(after.crashes) == 1
    assert systemd.show(SERVICE, "NRestarts") == "1"
    assert agent.state().pid == after.pid


def test_a_daemon_that_is_killed_again_and_again_comes_back_and_counts(systemd: UserSystemd, agent: Systemd) -> None:
    current = status(systemd)
    for round_ in range(ROUNDS):
        os.kill(current.pid, signal.SIGKILL)
        current = another(systemd, current)
        assert len(current.crashes) == round_ + 1
    assert agent.state().pid == current.pid
    assert f"crashes  {ROUNDS} of the daemon" in systemd.ctl("status").stdout
    log = Path(current.log_file).read_text()
    assert ("routerd.crash_loop" in log) == (ROUNDS >= 3)

    shutil.rmtree(systemd.socket.parent)
    until_blocking(systemd.socket.is_socket, "the socket is made anew", deadline=30)
    assert status(systemd).pid == current.pid
    os.kill(current.pid, signal.SIGKILL)
    current = another(systemd, current)  # though systemd hands it a socket that is nowhere any more

    agent.stop()
    assert not alive(current.pid)
