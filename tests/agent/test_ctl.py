"""``routerctl install`` and its like on Linux, as far as they go without a service manager."""

from __future__ import annotations

import os
import plistlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import ctl

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="a Mac's launchd is not to be played with")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """That of somebody who has nothing yet, and a systemctl that has nothing to say."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text("#!/bin/sh\nexit 0\n")
    (programs / "systemctl").chmod(0o700)
    return {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_CONFIG_HOME": "",
    }


def test_the_files_are_printed_for_this_machine(environ: dict[str, str]) -> None:
    printed = {
        name: ctl("--socket", "/tmp/mine/s", "install", "--print", name, env=environ).stdout
        for name in ("plist", "service", "socket")
    }
    said = plistlib.loads(printed["plist"].encode())
    assert said["ProgramArguments"][1:] == ["serve", "--agent"]
    assert said["Sockets"]["ctl"]["SockPathName"] == "/tmp/mine/s"
    assert "Environment=ROUTERD_SOCKET=/tmp/mine/s\n" in printed["service"]
    assert "ListenStream=/tmp/mine/s\n" in printed["socket"]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    done = ctl("install", "--dry-run", env=environ)
    assert done.returncode == 0, done.stderr
    assert f"would write {tmp_path}/home/.config/routerd/routes.yaml" in done.stdout
    assert f"would write {tmp_path}/home/.config/systemd/user/routerd.service" in done.stdout
    assert "would run: systemctl --user enable routerd.socket routerd.service" in done.stdout
    assert not (tmp_path / "home").exists()


def test_with_a_wrong_configuration_nothing_is_installed(environ: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "home" / ".config" / "routerd" / "routes.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("version: 1\nbackends: {small: {mlx: {modle: demo}}}\ndefault: small\n")
    done = ctl("install", env=environ)
    assert done.returncode == 2
    assert f"{config}:2:" in done.stderr
    assert "nothing was installed" in done.stderr
    assert [path.name for path in (tmp_path / "home" / ".config").iterdir()] == ["routerd"]


def test_a_socket_path_that_does_not_fit_is_told(environ: dict[str, str]) -> None:
    done = ctl("--socket", f"/tmp/{'s' * 120}", "install", env=environ)
    assert (done.returncode, "bytes long, and this system allows" in done.stderr) == (1, True)


def test_without_a_service_manager_it_is_said_what_to_do(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    for asked in ("install", "start", "stop", "restart", "uninstall"):
        done = ctl(asked, env={**environ, "PATH": str(tmp_path / "none")})
        assert (asked, done.returncode, "routerd serve" in done.stderr) == (asked, 1, True)


def test_what_was_never_installed_is_no_trouble_to_uninstall(environ: dict[str, str], tmp_path: Path) -> None:
    state = tmp_path / "home" / ".local" / "state" / "routerd"
    state.mkdir(parents=True)
    asked = ctl("uninstall", "--purge", stdin="n\n", env=environ)
    assert (asked.returncode, str(state) in asked.stdout, state.exists()) == (1, True, True)
    done = ctl("uninstall", "--purge", "--yes", env=environ)
    assert done.returncode == 0, done.stderr
    assert "was not installed" in done.stdout
    assert f"removed {state}" in done.stdout
    assert not state.exists()


def test_a_folder_that_is_not_routerds_own_is_never_purged(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = ctl("uninstall", "--purge", "--yes", env={**environ, "ROUTERD_STATE_DIR": str(tmp_path / "mine")})
    assert done.returncode == 0
    assert (tmp_path / "mine").exists()


def test_a_login_agents_program_is_one_that_can_be_started(environ: dict[str, str]) -> None:
    said = plistlib.loads(ctl("install", "--print", "plist", env=environ).stdout.encode())
    subprocess.run([said["ProgramArguments"][0], "--version"], check=True, capture_output=True)
