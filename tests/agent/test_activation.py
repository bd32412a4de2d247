"""Sockets from a service manager: from systemd's own tool, and from a stand-in for launchd's function."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from errno import EALREADY
from pathlib import Path

import pytest

from routerd.agent.activation import activated
from routerd.server.claim import SocketTakenError, claim
from routerd_client import Client
from tests.support.wait import until_blocking

ASK = """
import json, os
from routerd.agent.activation import activated
said = []
for _ in range(2):
    try:
        said.append([given.getsockname() for given in activated(os.environ)])
    except OSError as error:
        said.append(error.errno)
print(json.dumps(said))
"""


def test_a_process_that_nobody_listens_for_has_no_sockets() -> None:
    assert activated({}) == []


def test_variables_meant_for_another_process_are_left_unheeded_and_not_handed_on() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "ctl", "HOME": "/"}
    assert activated(environ) == []
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, [[], []]),
        ({"STAND_IN_LAUNCHD": "1"}, [[], []]),
        ({"STAND_IN_LAUNCHD": "1", "STAND_IN_SOCKET_ctl": "{fd}"}, [["{path}"], EALREADY]),
    ],
    ids=["not launchd's child", "no such socket in the plist", "given once, then EALREADY"],
)
def test_launchd_is_asked_by_its_own_function(
    library: str, sockets: Path, variables: dict[str, str], said: list[object]
) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(sockets / "s"))
        listening.listen()
        number = listening.fileno()
        environ = {name: value.format(fd=number) for name, value in variables.items()}
        done = subprocess.run(
            [sys.executable, "-c", ASK],
            env={**os.environ, "LD_PRELOAD": library, **environ},
            pass_fds=[number],
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(done.stdout) == json.loads(json.dumps(said).replace("{path}", str(sockets / "s")))


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="no systemd-socket-activate here")
def test_a_clients_first_call_starts_the_daemon_which_leaves_the_socket_where_it_is(
    tmp_path: Path, sockets: Path
) -> None:
    config, path = tmp_path / "routes.yaml", sockets / "routerd.sock"
    config.write_text("version: 1\nbackends: {small: {mlx: {model: demo}}}\ndefault: small\n")
    command = ["systemd-socket-activate", "--listen", path, "--fdname=ctl", sys.executable, "-m", "routerd", "serve"]
    where = ["--config", config, "--socket", path, "--state-dir", tmp_path / "state"]
    process = subprocess.Popen([*map(str, command), *map(str, where)], stderr=subprocess.DEVNULL)
    try:
        until_blocking(path.is_socket, "the socket is there")
        with Client(path, name="test", timeout_s=60, start_timeout_s=10) as client:
            assert client.status().pid == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert path.is_socket(), "it belongs to whoever listens for us"
        assert not path.with_suffix(".lock").exists()
    finally:
        process.kill()
        process.wait()


def test_a_socket_with_another_name_than_was_told_is_refused(sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(sockets / "one"))
        told = pytest.raises(SocketTakenError, match=r"/one, and .*/two.*routerctl install")
        with told, claim(sockets / "two", [listening]):
            pass
