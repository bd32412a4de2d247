"""The login agent under systemd: its two units, and asking ``systemctl --user``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from .activation import NAME
from .manager import AgentError, Ran, State, make_ready, remove, run, write
from .setup import EXIT_TIMEOUT_S, THROTTLE_S, UNIT, Setup

SERVICE, SOCKET = f"{UNIT}.service", f"{UNIT}.socket"
_PROPERTIES = ("LoadState", "ActiveState", "MainPID", "Result", "ExecMainStatus")


def service_unit(setup: Setup) -> bytes:
    """What each line is for stands in launchd/README.md. Pure."""
    pairs = [f"ROUTERD_SOCKET={_listen(setup)}", *(f"{k}={_escaped(v)}" for k, v in setup.environment.items())]
    environment = "\n".join(f"Environment={_quoted(pair)}" for pair in pairs)
    command = " ".join(_quoted(_escaped(word).replace("$", "$$")) for word in setup.command)
    return f"""\
[Unit]
Description=routerd, the local model router
Requires={SOCKET}
After={SOCKET}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
{environment}
Restart=on-failure
RestartSec={setup.throttle_s:g}
WatchdogSec={setup.watchdog_s:g}
TimeoutStopSec={EXIT_TIMEOUT_S}
KillMode=mixed
OOMPolicy=continue
UMask=0077

[Install]
WantedBy=default.target
Also={SOCKET}
""".encode()


def socket_unit(setup: Setup) -> bytes:
    """Pure."""
    return f"""\
[Unit]
Description=The socket of routerd, whose first connection starts it

[Socket]
ListenStream={_listen(setup)}
FileDescriptorName={NAME}
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
""".encode()


class Systemd:
    """Asks the user's systemd."""

    name = "systemd"

    def __init__(
        self,
        folder: Path | None = None,
        *,
        systemctl: Sequence[str] = ("systemctl", "--user"),
        exit_s: float = EXIT_TIMEOUT_S + 5.0,
    ) -> None:
        self._folder = folder or _config_folder() / "systemd" / "user"
        self._systemctl = tuple(systemctl)
        self._exit_s = exit_s

    def __repr__(self) -> str:
        return f"<Systemd {self._folder}>"

    def files(self, setup: Setup) -> dict[Path, bytes]:
        return {self._folder / SOCKET: socket_unit(setup), self._folder / SERVICE: service_unit(setup)}

    def commands(self) -> list[str]:
        return [
            "systemctl --user daemon-reload",
            f"systemctl --user enable {SOCKET} {SERVICE}",
            f"systemctl --user start {SOCKET} {SERVICE}",
        ]

    def install(self, setup: Setup) -> None:
        self._ask("show-environment")  # without a systemd to ask, nothing is written
        make_ready(setup)
        if write(self.files(setup)):
            self._ask("daemon-reload")
            self.stop()
        self._ask("enable", SOCKET, SERVICE)
        self.restart()

    def uninstall(self) -> list[Path]:
        files = [self._folder / SOCKET, self._folder / SERVICE]
        if not any(file.exists() for file in files):
            return []
        if self._call("show-environment").status == 0:
            self._ask("disable", "--now", SOCKET, SERVICE, seconds=self._exit_s)
            removed = remove(files)
            self._ask("daemon-reload")
            return removed
        links = [link for name in (SOCKET, SERVICE) for link in self._folder.glob(f"*.wants/{name}")]
        return [path for path in remove([*files, *links]) if path in files]

    def start(self) -> None:
        self._need_files()
        self._ask("start", SOCKET, SERVICE)

    def stop(self) -> None:
        self._need_files()
        # the socket first: a client's call would start it again
        self._ask("stop", SOCKET, SERVICE, seconds=self._exit_s)

    def restart(self) -> None:
        self._need_files()
        self._ask("start", SOCKET)
        self._ask("restart", SERVICE, seconds=self._exit_s + THROTTLE_S)

    def state(self) -> State:
        shown = self._call("show", SERVICE, *(f"--property={name}" for name in _PROPERTIES))
        said = dict(line.split("=", 1) for line in shown.said.splitlines() if "=" in line)
        pid = int(said.get("MainPID") or 0)
        return State(
            installed=(self._folder / SERVICE).exists(),
            loaded=said.get("LoadState") == "loaded",
            pid=pid or None,
            program=self._program(),
            last_exit=_last_exit(said),
        )

    def _ask(self, *arguments: str, seconds: float = EXIT_TIMEOUT_S) -> str:
        done = self._call(*arguments, seconds=seconds)
        if done.status != 0:
            raise AgentError(f"systemctl --user {' '.join(arguments)} failed: {done.said}{_hint(done.said)}")
        return done.said

    def _call(self, *arguments: str, seconds: float = EXIT_TIMEOUT_S) -> Ran:
        return run([*self._systemctl, *arguments], _with_runtime(os.environ), seconds=seconds)

    def _need_files(self) -> None:
        if not (self._folder / SERVICE).exists():
            raise AgentError("the login agent is not installed: routerctl install")

    def _program(self) -> Path | None:
        try:
            lines = (self._folder / SERVICE).read_text().splitlines()
        except OSError:
            return None
        started = next((line.partition("=")[2] for line in lines if line.startswith("ExecStart=")), "")
        words = shlex.split(started.replace("%%", "%"))
        return Path(words[0]) if words else None


def _listen(setup: Setup) -> str:
    socket = setup.socket
    if setup.runtime and socket.is_relative_to(setup.runtime):
        return f"%t/{_escaped(str(socket.relative_to(setup.runtime)))}"
    return _escaped(str(socket))


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """A word of a unit's line, in quotes where it needs them."""
    if word and not any(character in word for character in " \t\\\"';"):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _last_exit(said: Mapping[str, str]) -> str:
    result, status = said.get("Result", "success"), said.get("ExecMainStatus", "0")
    return "" if result == "success" and status == "0" else f"{result}, status {status}"


def _hint(said: str) -> str:
    if "connect to bus" in said or "XDG_RUNTIME_DIR" in said:
        return (
            ". There is no systemd of this user here: log in to a session of your own (not by su), or keep one running"
            " with: loginctl enable-linger"
        )
    return f". See why with: journalctl --user -u {SERVICE} -n 20"


def _with_runtime(environ: Mapping[str, str]) -> dict[str, str]:
    """Over SSH without PAM, or from cron, the variable is missing though the folder is there."""
    runtime = Path(f"/run/user/{os.getuid()}")
    return {**({"XDG_RUNTIME_DIR": str(runtime)} if runtime.is_dir() else {}), **environ}


def _config_folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")
    return Path(base) if base else Path.home() / ".config"
