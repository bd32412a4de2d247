"""``routerctl doctor``, ``bugreport``, ``logs``, ``crashes`` and ``completion`` as they are typed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routerd_client import RequestFailedError
from tests.support.daemon import Standalone, ctl, standalone_daemon
from tests.support.wait import until_blocking

SECRET = "sk-thatnobodymaysee0123456789"
PROMPT = "the launch code is heptagon"
ALL_IS_WELL, BROKEN, WARNINGS = 0, 1, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doctor")


@pytest.fixture(scope="module")
def daemon(folder: Path, tiny: Path) -> Iterator[Standalone]:
    (folder / "key").write_text(SECRET)
    (folder / "key").chmod(0o644)
    text = f"""\
version: 1
backends:
  small: {{mlx: {{model: {tiny}, max_tokens: 8}}}}
  far:
    openai: {{model: m, base_url: "http://127.0.0.1:9/v1", api_key: {{file: key}}, headers: {{x-mine: {SECRET}}}}}
endpoints:
  primary: {{fallback: [small, far]}}
default: primary
log: {{prompts: true}}
"""
    with standalone_daemon(folder, text) as running:
        yield running


def asked(daemon: Standalone, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As somebody who has no login agent of their own."""
    environ = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "ROUTERD_CACHE_DIR": str(folder / "cache")}
    return ctl("--socket", str(daemon.socket), *arguments, env=environ)


def diagnosis(daemon: Standalone, folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = asked(daemon, folder, "doctor", "--json", *arguments)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_doctor_finds_what_is_wrong_fixes_what_is_safe_and_says_so_by_its_exit_code(
    daemon: Standalone, folder: Path
) -> None:
    daemon.socket.chmod(0o666)

    code, before = diagnosis(daemon, folder)
    assert (code, before["level"]) == (BROKEN, "fail")
    found = {finding["says"]: finding for finding in before["findings"] if finding["level"] != "ok"}
    assert [says for says in found if str(daemon.socket) in says and found[says]["fixable"]]
    assert [says for says in found if str(folder / "key") in says and found[says]["fixable"]]
    checks = {finding["check"] for finding in before["findings"] if finding["level"] == "ok"}
    assert {"daemon", "versions", "owner", "secrets", "models", "backends", "crashes", "disk", "clock"} <= checks

    code, after = diagnosis(daemon, folder, "--fix")
    assert [done["error"] for done in after["fixed"]] == ["", ""]
    assert [f for f in after["findings"] if f["level"] == "fail"] == []
    assert code == (WARNINGS if after["level"] == "warn" else ALL_IS_WELL)
    assert (folder / "key").stat().st_mode & 0o777 == 0o600

    lines = asked(daemon, folder, "doctor").stdout
    assert f"pid {daemon.process.pid} answers" in lines
    assert "\x1b" not in lines


def test_a_bug_report_has_everything_but_keys_prompts_and_names(daemon: Standalone, folder: Path) -> None:
    with daemon.client() as client:
        client.chat(PROMPT, model="small")
        with pytest.raises(RequestFailedError):
            client.chat(PROMPT, model="far")
    until_blocking(lambda: "chat.failed" in (daemon.places.state / "logs/routerd.log").read_text(), "both are logged")
    report = folder / "report.tar.gz"

    done = asked(daemon, folder, "bugreport", "-o", str(report))

    assert done.returncode == 0, done.stderr
    assert report.stat().st_mode & 0o777 == 0o600
    with tarfile.open(report) as archive:
        parts = {Path(name).name: archive.extractfile(name).read().decode() for name in archive.getnames()}  # type: ignore[union-attr]
    assert {"doctor.json", "config.json", "status.json", "machine.json", "routerd.log"} <= parts.keys()
    assert all(name in done.stdout for name in parts)
    whole = "".join(parts.values())
    assert [word for word in (SECRET, PROMPT, str(folder)) if word in whole] == []
    assert json.loads(parts["status.json"])["pid"] == daemon.process.pid
    assert json.loads(parts["config.json"])["backends"]["far"]["openai"]["headers"] == {"x-mine": "********"}
    assert "chat.failed" in parts["routerd.log"]

    again = asked(daemon, folder, "bugreport", "-o", str(report))
    assert (again.returncode, "File exists" in again.stderr) == (BROKEN, True)


def test_logs_show_the_daemons_own_and_go_on_with_what_comes(daemon: Standalone, tmp_path: Path) -> None:
    shown = daemon.ctl("logs", "-n", "1000")
    assert shown.returncode == 0
    assert "routerd.ready" in shown.stdout
    command = [sys.executable, "-c", "from routerd.ctl import main; main()", "--socket", str(daemon.socket)]
    seen = tmp_path / "seen"
    with (
        seen.open("w") as out,
        subprocess.Popen(
            [*command, "logs", "-f", "-n", "0", "--json"], stdout=out, stderr=subprocess.DEVNULL
        ) as follows,
        daemon.client() as client,
    ):
        try:
            # One that is asked before it has begun to look is not shown.
            until_blocking(
                lambda: client.chat("hello", model="small").text and "chat.ok" in seen.read_text(),
                "what is logged is shown",
            )
        finally:
            follows.kill()
    assert "chat.ok" in {json.loads(line)["event"] for line in seen.read_text().splitlines()}


def test_a_request_is_found_in_the_log(daemon: Standalone) -> None:
    with daemon.client() as client:
        done = client.chat("hello", model="small")
    until_blocking(
        lambda: done.request_id in daemon.ctl("logs", "--request", done.request_id).stdout, "the request is logged"
    )


def test_names_of_the_daemon_are_completed(daemon: Standalone) -> None:
    def completed(*words: str) -> list[str]:
        line = " ".join(["routerctl", "--socket", str(daemon.socket), *words])
        environ = {"_ROUTERCTL_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) + 2)}
        program = Path(sys.executable).with_name("routerctl")
        done = subprocess.run([program], env={**os.environ, **environ}, capture_output=True, text=True, check=True)
        return [item.partition(",")[2] for item in done.stdout.splitlines()]

    assert completed("models", "load", "s") == ["small"]
    assert completed("ask", "--model", "") == ["primary", "small", "far"]
    assert {"ask", "doctor", "logs"} <= set(completed(""))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    done = ctl("completion", shell)
    assert "_ROUTERCTL_COMPLETE" in done.stdout
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0


def test_without_a_daemon_each_of_them_says_so_or_does_without(sockets: Path, tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "ROUTERD_STATE_DIR": str(tmp_path / "state")}
    socket = str(sockets / "none.sock")

    bare = ctl("--socket", socket, env=environ)
    assert (bare.returncode, "Commands:" in bare.stdout) == (3, True)
    assert "the daemon is not running" in bare.stderr

    doctor = ctl("--socket", socket, "doctor", env=environ)
    assert (doctor.returncode, doctor.stderr) == (BROKEN, "")
    assert "the daemon is not running" in doctor.stdout
    assert "routerctl init" in doctor.stdout

    logs = ctl("--socket", socket, "logs", env=environ)
    assert (logs.returncode, logs.stderr.count("\n")) == (BROKEN, 1)
    crashes = ctl("--socket", socket, "crashes", env=environ)
    assert (crashes.returncode, crashes.stdout) == (0, "no model process has died\n")


def test_colours_are_for_terminals_and_for_those_who_want_them(tmp_path: Path, sockets: Path) -> None:
    log = tmp_path / "logs/routerd.log"
    log.parent.mkdir()
    log.write_text('{"event": "x", "level": "error", "timestamp": "2026-01-02T03:04:05Z"}\n')
    environ = {**os.environ, "ROUTERD_STATE_DIR": str(tmp_path), "ROUTERD_SOCKET": str(sockets / "none")}
    environ.pop("NO_COLOR", None)

    def on_a_terminal(**more: str) -> bytes:
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "rb", buffering=0) as screen:
            program = Path(sys.executable).with_name("routerctl")
            subprocess.run([program, "logs"], env={**environ, **more}, stdout=theirs, check=True)
            os.close(theirs)
            return screen.read(1000)

    assert b"\x1b[31m" in on_a_terminal()
    plain = on_a_terminal(NO_COLOR="1")
    assert (b"\x1b" in plain, b"error" in plain) == (False, True)
