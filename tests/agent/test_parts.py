"""The pure parts of the login agent, and what is as good as pure."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from routerd.agent.manager import AgentError, outdated, write
from routerd.agent.notify import Notifier
from routerd.agent.program import lasting
from routerd.agent.secrets import Unresolved, offer, secrets, unresolved
from routerd.agent.setup import EXIT_TIMEOUT_S, Setup, setup
from routerd.agent.starts import FILE, Starts, begin, counted, looping
from routerd.agent.systemd import Systemd, service_unit, socket_unit
from routerd.app.compiled import compile_text, without_preload
from routerd.app.serve import DRAIN_S
from routerd.config.load import load
from routerd.config.places import places
from routerd_client.paths import max_socket_path
from tests.support.make_reference import FILES, FOLDER, LINUX, MAC


@pytest.mark.parametrize("name", FILES)
def test_the_reference_files_are_what_the_code_makes(name: str) -> None:
    assert (FOLDER / name).read_bytes() == FILES[name], "python -m tests.support.make_reference writes them"


def test_the_reference_readme_names_every_key() -> None:
    said = (FOLDER / "README.md").read_text()
    units = [line.split("=")[0] for name in FILES if "plist" not in name for line in FILES[name].decode().splitlines()]
    keys = {key for key in units if key and not key.startswith("[")} - {"Description", "Environment"}
    assert [key for key in sorted(keys) if f"`{key}" not in said] == []


def test_the_units_say_what_a_daemon_with_models_needs() -> None:
    service, listen = service_unit(LINUX).decode(), socket_unit(LINUX).decode()
    for line in ("Type=notify", "KillMode=mixed", "OOMPolicy=continue", "Restart=on-failure", "UMask=0077"):
        assert line in service.splitlines()
    assert f"TimeoutStopSec={EXIT_TIMEOUT_S}" in service
    assert EXIT_TIMEOUT_S > DRAIN_S, "the drain is ours"
    assert "ListenStream=%t/routerd/routerd.sock" in listen
    assert {"SocketMode=0600", "DirectoryMode=0700"} <= {*listen.splitlines()}


def test_what_is_special_in_a_unit_is_written_so_that_it_is_not(tmp_path: Path) -> None:
    odd = Setup(
        command=('/opt/a "b"/%h $x/routerd', "serve"),
        environment={"PATH": "/a b:/50%"},
        socket=Path("/s p/100%.sock"),
        logs=tmp_path,
        home=tmp_path,
    )
    service = service_unit(odd).decode().splitlines()
    assert r'ExecStart="/opt/a \"b\"/%%h $$x/routerd" serve' in service
    assert 'Environment="PATH=/a b:/50%%"' in service
    assert 'Environment="ROUTERD_SOCKET=/s p/100%%.sock"' in service
    assert "ListenStream=/s p/100%%.sock" in socket_unit(odd).decode().splitlines()


def test_the_program_is_read_back_from_the_unit(tmp_path: Path) -> None:
    manager = Systemd(tmp_path, systemctl=["true"])
    assert manager.state().program is None
    odd = Setup(command=("/a b/100%/routerd", "serve"), environment={}, socket=Path("/s"), logs=tmp_path, home=tmp_path)
    write(manager.files(odd))
    assert manager.state().program == Path("/a b/100%/routerd")
    assert manager.state().installed


def test_without_a_systemd_to_ask_nothing_is_written_and_all_is_removed(tmp_path: Path) -> None:
    manager, here = Systemd(tmp_path, systemctl=("false",)), setup(places(state=tmp_path / "s"), {})
    with pytest.raises(AgentError, match="show-environment failed"):
        manager.install(here)
    assert list(tmp_path.iterdir()) == []
    assert manager.uninstall() == []

    write(manager.files(here))
    wanted = tmp_path / "default.target.wants" / "routerd.service"
    wanted.parent.mkdir()
    wanted.symlink_to(tmp_path / "routerd.service")
    assert manager.uninstall() == list(manager.files(here))
    assert not any(path.name.startswith("routerd") for path in tmp_path.rglob("*"))


def shim(folder: Path, target: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "routerd").symlink_to(target)
    return folder / "routerd"


def test_a_link_that_an_upgrade_keeps_is_started_and_not_what_it_leads_to(tmp_path: Path) -> None:
    ours = tmp_path / "tools" / "routerd-0.1" / "bin" / "routerd"
    ours.parent.mkdir(parents=True)
    ours.touch()
    link = shim(tmp_path / "local" / "bin", ours)
    strangers = tmp_path / "other" / "bin"
    strangers.mkdir(parents=True)
    (strangers / "routerd").touch()
    assert lasting(ours, [tmp_path / "empty", strangers, link.parent]) == link
    assert lasting(ours, [strangers]) == ours


def test_homebrews_own_name_is_started_and_not_that_of_a_version(tmp_path: Path) -> None:
    ours = tmp_path / "Cellar" / "routerd" / "0.1.0" / "bin" / "routerd"
    ours.parent.mkdir(parents=True)
    ours.touch()
    (tmp_path / "opt").mkdir()
    assert lasting(ours, [ours.parent]) == ours, "there is no other name"
    (tmp_path / "opt" / "routerd").symlink_to(ours.parents[1])
    assert lasting(ours, [ours.parent]) == tmp_path / "opt" / "routerd" / "bin" / "routerd"
    assert lasting(ours, [shim(tmp_path / "bin", ours).parent]) == tmp_path / "bin" / "routerd"


def test_variables_that_say_where_things_are_are_written_down_and_a_shells_others_are_not(tmp_path: Path) -> None:
    environ = {"ROUTERD_STATE_DIR": "/s", "HF_HOME": "/models", "OPENAI_API_KEY": "sk-1", "PATH": "/cellar/1.2/bin"}
    made = setup(places(socket=tmp_path / "s", state=Path("/s")), environ)
    assert {"ROUTERD_STATE_DIR", "HF_HOME", "PATH", "LANG"} == made.environment.keys()
    assert "/cellar/1.2/bin" not in made.environment["PATH"].split(":")
    assert made.own_environment({"HOME": "/h", "OPENAI_API_KEY": "sk-1"}) == {
        "HOME": "/h",
        "ROUTERD_SOCKET": str(tmp_path / "s"),
        **made.environment,
    }


def test_the_reference_sockets_fit_a_socket_address() -> None:
    assert len(str(MAC.socket)) <= 103
    assert len(str(LINUX.socket)) <= max_socket_path()


def test_files_are_written_once(tmp_path: Path) -> None:
    files = {tmp_path / "deep" / "a": b"1", tmp_path / "b": b"2"}
    assert outdated(files) == list(files)
    assert write(files)
    assert not write(files)
    (tmp_path / "b").write_bytes(b"3")
    assert outdated(files) == [tmp_path / "b"]
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "a", "b"}


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AgentError, match="cannot be written"):
        write({tmp_path / "file" / "a": b""})


def test_a_daemon_that_ended_without_being_told_to_is_counted_for_an_hour() -> None:
    first = begin(Starts(), 1, 1000.0)
    assert first == Starts(1)
    second = begin(first, 2, 1010.0)
    assert second.crashes == (1010.0,)
    assert begin(second, 3, 1020.0).crashes == (1010.0, 1020.0)
    assert begin(second, 3, 4620.0).crashes == (4620.0,)
    assert begin(Starts(crashes=(9e9,)), 1, 1000.0).crashes == (), "a clock that was set back"


def test_three_in_five_minutes_are_a_loop() -> None:
    assert looping((1.0, 2.0, 3.0), 10.0)
    assert not looping((2.0, 3.0), 10.0)
    assert not looping((1.0, 2.0, 3.0), 302.5)


def test_a_life_that_ends_is_no_crash_however_it_ends(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it broke"), counted(tmp_path):
        raise ValueError("it broke")
    with counted(tmp_path) as crashes:
        assert crashes == ()
        with counted(tmp_path) as after_a_kill:
            assert len(after_a_kill) == 1
    (tmp_path / FILE).write_text("{")
    with counted(tmp_path) as crashes:
        assert crashes == ()


def test_models_are_not_loaded_before_they_are_asked_for_in_a_crash_loop(tmp_path: Path) -> None:
    text = "version: 1\nbackends: {a: {mlx: {model: demo, preload: true}}}\ndefault: a\n"
    compiled = compile_text(text, "routes.yaml", tmp_path)
    mlx = without_preload(compiled).loaded.config.backends["a"].mlx
    assert mlx
    assert not mlx.preload


async def test_systemd_is_told_in_its_own_words(sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(sockets / "notify"))
        environ = {"NOTIFY_SOCKET": str(sockets / "notify"), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1", "A": "b"}
        notifier = Notifier(environ)
        assert environ == {"A": "b"}, "children have nothing to tell systemd"
        notifier.ready()
        notifier.reloading()
        notifier.stopping()
        said = [systemd.recv(200).decode() for _ in range(3)]
    assert (said[0], said[1].split("=")[0], said[2]) == ("READY=1", "RELOADING", "STOPPING=1")
    assert "\nMONOTONIC_USEC=" in said[1]
    notifier.ready()  # nobody listens any more


async def test_without_systemd_nothing_is_told() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1"})
    notifier.ready()
    await notifier.feed()


KEYS = """
version: 1
backends:
  claude: {anthropic: {model: claude-haiku-4-5, api_key: {env: ANTHROPIC_API_KEY}}}
  gpt: {openai: {model: gpt-4o, api_key: {file: here.key}}}
routes:
  - {match: {task: plan}, use: gpt, set: {api_key: {file: gone.key}}}
default: claude
"""


def test_every_secret_of_a_configuration_is_found_with_its_place() -> None:
    found = dict(secrets(load(KEYS, "routes.yaml", {}).config))
    assert {where: str(secret) for where, secret in found.items()} == {
        "backends.claude.anthropic.api_key": "env ANTHROPIC_API_KEY",
        "backends.gpt.openai.api_key": "file here.key",
        "routes[0].set.api_key": "file gone.key",
    }


def agent_of(program: Path, config: Path) -> Setup:
    return Setup(
        command=(str(program), "serve"),
        environment={"PATH": "/usr/bin:/bin", "ROUTERD_CONFIG": str(config)},
        socket=config.parent / "s",
        logs=config.parent,
        home=config.parent,
    )


def routerd(folder: Path) -> Path:
    program = folder / "routerd"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m routerd "$@"\n')
    program.chmod(0o700)
    return program


def test_secrets_are_looked_up_as_the_agent_will(tmp_path: Path) -> None:
    config = tmp_path / "routes.yaml"
    config.write_text(KEYS)
    (tmp_path / "here.key").write_text("sk-1\n")
    missing = unresolved(agent_of(routerd(tmp_path), config))
    assert [one.where for one in missing] == ["backends.claude.anthropic.api_key", "routes[0].set.api_key"]
    assert "sk-1" not in str(missing)


def test_a_program_that_does_not_run_as_an_agent_is_told(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text("version: 2\n")
    with pytest.raises(AgentError, match=r"routerd does not run as an agent would run it: .*routes.yaml:1"):
        unresolved(agent_of(routerd(tmp_path), tmp_path / "routes.yaml"))


def test_the_offer_names_a_place_that_an_agent_can_read() -> None:
    missing = Unresolved("backends.claude.anthropic.api_key", "env ANTHROPIC_API_KEY", "it is not set")
    file = "(umask 077; cat > '/c d/anthropic-api-key'), paste it, Ctrl-D, and write {file: anthropic-api-key}"
    assert offer(missing, Path("/c d"), keychain=False) == file
    ring, other = offer(missing, Path("/c d"), keychain=True).split("; or ")
    assert "-s anthropic-api-key" in ring
    assert other == file


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_can_read_a_time_of_ours() -> None:
    for line in service_unit(LINUX).decode().splitlines():
        if line.split("=")[0] in {"WatchdogSec", "RestartSec", "TimeoutStopSec"}:
            subprocess.run(["systemd-analyze", "timespan", line.split("=")[1]], check=True, capture_output=True)
