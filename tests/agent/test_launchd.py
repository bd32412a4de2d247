"""The login agent under launchd: the plist itself, and the asking of a ``launchctl`` that errs like the real one."""

from __future__ import annotations

import os
import plistlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from routerd.agent.launchd import Launchd, parse_print, plist
from routerd.agent.manager import AgentError, State, run
from routerd.agent.setup import LABEL, Setup
from routerd.app.serve import DRAIN_S
from routerd_client import Client
from routerd_client.protocol import StatusResult
from tests.support.daemon import alive
from tests.support.fake_launchctl import COMMAND, IN_PROGRESS, IO_ERROR, NO_PROCESS, Knobs, Launchctl
from tests.support.make_reference import MAC
from tests.support.wait import until_blocking

REPOSITORY = Path(__file__).parents[2]


def test_the_plist_says_what_a_daemon_with_models_needs() -> None:
    said = plistlib.loads(plist(MAC))
    assert said["ProcessType"] == "Interactive", "anything else throttles the models' decoding to an eighth"
    assert said["KeepAlive"] == {"SuccessfulExit": False}, "a daemon that was stopped stays so"
    assert said["RunAtLoad"] is True
    assert said["ExitTimeOut"] > DRAIN_S, "the drain is ours"
    assert said["Umask"] == 0o077
    assert said["Sockets"]["ctl"]["SockPathMode"] == 0o600
    assert said["Sockets"]["ctl"]["SockPathName"] == said["EnvironmentVariables"]["ROUTERD_SOCKET"]
    assert not said["StandardErrorPath"].startswith("/tmp")


@pytest.mark.skipif(not shutil.which("plistutil"), reason="no plistutil (libplist-utils) here")
def test_another_parser_reads_the_plist_the_same(tmp_path: Path) -> None:
    (tmp_path / "xml").write_bytes(plist(MAC))
    for before, after, form in (("xml", "binary", "bin"), ("binary", "again", "xml")):
        command = ["plistutil", "-i", str(tmp_path / before), "-o", str(tmp_path / after), "-f", form]
        subprocess.run(command, check=True)
    assert (tmp_path / "binary").read_bytes().startswith(b"bplist00")
    assert plistlib.loads((tmp_path / "again").read_bytes()) == plistlib.loads(plist(MAC))


def test_of_what_launchctl_prints_only_the_services_own_fields_are_read() -> None:
    printed = (
        "gui/501/org.routerd.agent = {\n\tactive count = 1\n\tpath = /Users/you/Library/LaunchAgents/a.plist\n"
        "\tstate = running\n\n\tprogram = /usr/local/bin/routerd\n\targuments = {\n\t\tpid = 7\n\t\tserve\n\t}\n\n"
        '\tsockets = {\n\t\t"ctl" = {\n\t\t\tstate = 1\n\t\t}\n\t}\n'
        "\tpid = 4242\n\tlast exit code = (never exited)\n}\n"
    )
    said = parse_print(printed)
    assert (said["pid"], said["state"], said["last exit code"]) == ("4242", "running", "(never exited)")
    assert {"arguments", "sockets"}.isdisjoint(said)


def test_a_launchctl_that_hangs_is_not_waited_for() -> None:
    with pytest.raises(AgentError, match=r"sleep 60 gave no answer within 0.1 s"):
        run(["sleep", "60"], seconds=0.1)


@pytest.fixture
def launchctl(tmp_path: Path) -> Iterator[Launchctl]:
    (tmp_path / "launchd").mkdir()
    fake = Launchctl(tmp_path / "launchd")
    yield fake
    jobs = list((fake.folder / "jobs").iterdir())
    for job in jobs:
        fake.call("bootout", job.name.replace(":", "/"))
    until_blocking(lambda: not any((fake.folder / "jobs").iterdir()), "all jobs end", deadline=60)


def agent(launchctl: Launchctl) -> Launchd:
    command = [*COMMAND, str(launchctl.folder)]
    return Launchd(launchctl.folder / "LaunchAgents", launchctl=command, uid=0, pause_s=0.002, exit_s=30.0)


def sleeper(launchctl: Launchctl, sockets: Path, *arguments: str) -> Setup:
    """A job that does nothing."""
    return Setup(
        command=("/bin/sleep", "1000", *arguments),
        environment={},
        socket=sockets / "routerd.sock",
        logs=launchctl.folder,
        home=launchctl.folder,
        throttle_s=0,
    )


def loaded(launchctl: Launchctl, domain: str = "gui/0") -> int | None:
    job = launchctl.job(f"{domain}/{LABEL}")
    return job.pid if job else None


def installed(launchctl: Launchctl, sockets: Path, domain: str = "gui/0") -> Launchd:
    manager = agent(launchctl)
    manager.install(sleeper(launchctl, sockets))
    until_blocking(lambda: loaded(launchctl, domain), "the job runs")
    return manager


def test_errors_that_pass_are_waited_out(launchctl: Launchctl, sockets: Path) -> None:
    launchctl.turn(Knobs(errors=[IO_ERROR, IN_PROGRESS, IO_ERROR]))
    installed(launchctl, sockets)
    assert sum(call.startswith("bootstrap") for call in launchctl.calls()) == 4


def test_an_error_that_stays_is_told(launchctl: Launchctl, sockets: Path) -> None:
    launchctl.turn(Knobs(errors=[IO_ERROR] * 100))
    with pytest.raises(AgentError, match=r"bootstrap gui/0 .* failed with status 5: .*plutil -lint"):
        agent(launchctl).install(sleeper(launchctl, sockets))


def test_an_error_that_cannot_pass_is_told_at_once(launchctl: Launchctl, sockets: Path) -> None:
    launchctl.turn(Knobs(errors=[NO_PROCESS] * 100))
    with pytest.raises(AgentError, match="failed with status 3"):
        agent(launchctl).install(sleeper(launchctl, sockets))
    assert len(launchctl.knobs().errors) == 99


def test_an_agent_that_was_disabled_by_hand_is_enabled_first(launchctl: Launchctl, sockets: Path) -> None:
    launchctl.call("disable", f"gui/0/{LABEL}")
    installed(launchctl, sockets)


def test_without_a_screen_it_goes_to_the_users_own_domain(launchctl: Launchctl, sockets: Path) -> None:
    launchctl.turn(Knobs(domains=("user/0",)))
    manager = installed(launchctl, sockets, "user/0")
    assert manager.state().loaded
    manager.stop()
    assert not manager.state().loaded


def test_a_changed_plist_is_loaded_once_the_old_one_is_gone(launchctl: Launchctl, sockets: Path) -> None:
    launchctl.turn(Knobs(bootout_s=0.5))
    manager = installed(launchctl, sockets)
    first = loaded(launchctl)
    manager.install(sleeper(launchctl, sockets, "1"))
    until_blocking(lambda: loaded(launchctl), "the job runs")
    assert first is not None
    assert not alive(first)
    assert loaded(launchctl) != first
    assert [call.split()[0] for call in launchctl.calls()].count("bootstrap") == 2


def test_an_unchanged_plist_is_not_loaded_again(launchctl: Launchctl, sockets: Path) -> None:
    manager = installed(launchctl, sockets)
    first = loaded(launchctl)
    manager.install(sleeper(launchctl, sockets))
    until_blocking(lambda: loaded(launchctl) not in (None, first), "it is another process")
    assert not any(call.startswith(("bootout", "kickstart -k")) for call in launchctl.calls())


def test_what_is_not_installed_can_be_uninstalled_and_not_started(launchctl: Launchctl) -> None:
    manager = agent(launchctl)
    assert manager.uninstall() == []
    assert manager.state() == State()
    with pytest.raises(AgentError, match="routerctl install"):
        manager.start()
    with pytest.raises(AgentError, match="routerctl install"):
        manager.restart()
    with pytest.raises(AgentError, match="routerctl install"):
        manager.stop()


def status(socket: Path) -> StatusResult:
    with Client(socket, name="test", timeout_s=60, start_timeout_s=30) as client:
        return client.status()


def test_the_real_daemon_takes_its_socket_from_launchd_and_comes_back(
    launchctl: Launchctl, sockets: Path, library: str
) -> None:
    launchctl.turn(Knobs(library=library, bootout_s=0.2))
    config = launchctl.folder / "routes.yaml"
    config.write_text("version: 1\nbackends: {small: {mlx: {model: demo}}}\ndefault: small\n")
    where = {"ROUTERD_CONFIG": str(config), "ROUTERD_STATE_DIR": str(launchctl.folder / "state")}
    setup = Setup(
        command=(sys.executable, "-m", "routerd", "serve", "--agent"),
        environment={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **where},
        socket=sockets / "routerd.sock",
        logs=launchctl.folder / "logs",
        home=launchctl.folder,
        throttle_s=0,
    )
    manager = agent(launchctl)
    manager.install(setup)
    made = setup.socket.stat().st_ino

    first = status(setup.socket)
    assert manager.state().pid == first.pid
    os.kill(first.pid, signal.SIGKILL)
    until_blocking(lambda: not alive(first.pid), "it ends")
    second = status(setup.socket)
    assert second.pid != first.pid
    assert len(second.crashes) == 1

    os.kill(second.pid, signal.SIGTERM)
    until_blocking(lambda: manager.state().pid is None, "it ends, and is not started again", deadline=60)
    assert manager.state().last_exit == "0"
    third = status(setup.socket)
    assert third.pid != second.pid, "a client's call starts it"
    assert len(third.crashes) == 1, "it was told to end"

    manager.restart()
    fourth = status(setup.socket)
    assert fourth.pid != third.pid
    assert setup.socket.stat().st_ino == made, "it was launchd's socket all the time"

    assert [path.name for path in manager.uninstall()] == [f"{LABEL}.plist"]
    assert not alive(fourth.pid)
    assert not setup.socket.exists()
