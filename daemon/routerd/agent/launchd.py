"""The login agent under launchd: its plist, and asking ``launchctl``."""

from __future__ import annotations

import os
import plistlib
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from .activation import NAME
from .manager import CALL_S, AgentError, Ran, State, make_ready, remove, run, write
from .setup import EXIT_TIMEOUT_S, LABEL, Setup

IO_ERROR, NO_PROCESS, IN_PROGRESS = 5, 3, 37
"""Statuses of ``launchctl``: among much else, it is not quite gone yet; it is not there; it is being done already."""
TRIES = 8
_FIELD = re.compile(r"^\t(\w[\w ]*) = (.*[^{\s].*)$", re.MULTILINE)


def plist(setup: Setup) -> bytes:
    """The LaunchAgent's property list, as XML. What each key is for stands in launchd/README.md. Pure."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(setup.command),
            "EnvironmentVariables": {"ROUTERD_SOCKET": str(setup.socket), **setup.environment},
            "WorkingDirectory": str(setup.home),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": int(setup.throttle_s),
            "ExitTimeOut": EXIT_TIMEOUT_S,
            "ProcessType": "Interactive",
            "LimitLoadToSessionType": ["Aqua", "Background"],
            "Umask": 0o077,
            "Sockets": {NAME: {"SockPathName": str(setup.socket), "SockPathMode": 0o600, "SockType": "stream"}},
            "StandardErrorPath": str(setup.logs / "agent.err"),
        },
        sort_keys=False,
    )


class Launchd:
    """Asks launchd. ``pause_s`` is the first wait before something is tried again; each is twice the one before."""

    name = "launchd"

    def __init__(
        self,
        folder: Path | None = None,
        *,
        launchctl: Sequence[str] = ("/bin/launchctl",),
        uid: int | None = None,
        pause_s: float = 0.1,
        exit_s: float = EXIT_TIMEOUT_S + 5.0,
    ) -> None:
        self._file = (folder or Path.home() / "Library" / "LaunchAgents") / f"{LABEL}.plist"
        self._launchctl = tuple(launchctl)
        self._uid = os.getuid() if uid is None else uid
        self._pause_s = pause_s
        self._exit_s = exit_s

    def __repr__(self) -> str:
        return f"<Launchd {self._file}>"

    def files(self, setup: Setup) -> dict[Path, bytes]:
        return {self._file: plist(setup)}

    def commands(self) -> list[str]:
        target = f"gui/{self._uid}"
        return [f"launchctl enable {target}/{LABEL}", f"launchctl bootstrap {target} {self._file}"]

    def install(self, setup: Setup) -> None:
        make_ready(setup)
        changed = write(self.files(setup))
        if self._loaded_in() and not changed:
            self.restart()
            return
        self._bootout()
        self._bootstrap()

    def uninstall(self) -> list[Path]:
        self._bootout()
        return remove([self._file])

    def start(self) -> None:
        self._need_file()
        if domain := self._loaded_in():
            self._kickstart(domain)
        else:
            self._bootstrap()

    def stop(self) -> None:
        self._need_file()
        self._bootout()

    def restart(self) -> None:
        """The daemon ends by itself once it has drained; only what hangs is killed, by ``kickstart -k``."""
        self._need_file()
        domain = self._loaded_in()
        if domain is None:
            self._bootstrap()
            return
        before = self._print(domain)
        if pid := _pid(before):
            self._ask("kill", "SIGTERM", f"{domain}/{LABEL}")
            self._wait(lambda: _pid(self._print(domain)) != pid, self._exit_s)
        self._kickstart(domain, *(["-k"] if pid and _pid(self._print(domain)) == pid else []))

    def state(self) -> State:
        domain = self._loaded_in()
        said = parse_print(self._print(domain).said) if domain else {}
        return State(
            installed=self._file.exists(),
            loaded=domain is not None,
            pid=int(said["pid"]) if said.get("pid", "").isdigit() else None,
            program=self._program(),
            last_exit=said.get("last exit code", said.get("last terminating signal", "")),
        )

    def _bootstrap(self) -> None:
        """Enable first: what was once disabled by hand is refused for ever, with an error that says nothing."""
        domain = self._domain()
        self._ask("enable", f"{domain}/{LABEL}")
        for attempt in range(TRIES):
            done = self._ask("bootstrap", domain, str(self._file))
            if done.status == 0 or self._print(domain).status == 0:
                return
            if done.status not in (IO_ERROR, IN_PROGRESS):
                break
            time.sleep(self._pause_s * 2**attempt)  # an earlier bootout may still be under way
        raise AgentError(
            f"launchctl bootstrap {domain} {self._file} failed with status {done.status}: {done.said}. "
            f"See why with: plutil -lint {self._file}; log show --last 5m --predicate 'process == \"launchd\"'"
        )

    def _bootout(self) -> None:
        """Returns when it is gone, which launchctl does not wait for."""
        for domain in self._domains():
            if self._gone(domain):
                continue
            done = self._ask("bootout", f"{domain}/{LABEL}", seconds=self._exit_s)
            if not self._wait(partial(self._gone, domain), self._exit_s):
                raise AgentError(
                    f"launchd did not end {domain}/{LABEL} within {self._exit_s:g} s (status {done.status}: "
                    f"{done.said}). Try again, or: launchctl kill SIGKILL {domain}/{LABEL}"
                )

    def _kickstart(self, domain: str, *options: str) -> None:
        done = self._ask("kickstart", *options, f"{domain}/{LABEL}", seconds=self._exit_s)
        if done.status not in (0, IN_PROGRESS):
            raise AgentError(f"launchctl kickstart {domain}/{LABEL} failed with status {done.status}: {done.said}")

    def _domains(self) -> tuple[str, str]:
        return f"gui/{self._uid}", f"user/{self._uid}"

    def _domain(self) -> str:
        """The one with the user's windows; over SSH, with nobody logged in at the screen, there is none."""
        gui, user = self._domains()
        return gui if self._ask("print", gui).status == 0 else user

    def _loaded_in(self) -> str | None:
        return next((domain for domain in self._domains() if self._print(domain).status == 0), None)

    def _gone(self, domain: str) -> bool:
        return self._print(domain).status != 0

    def _print(self, domain: str) -> Ran:
        return self._ask("print", f"{domain}/{LABEL}")

    def _ask(self, *arguments: str, seconds: float = CALL_S) -> Ran:
        return run([*self._launchctl, *arguments], seconds=seconds)

    def _wait(self, fact: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        pause = self._pause_s
        while not fact():
            if time.monotonic() > end:
                return False
            time.sleep(pause)
            pause = min(pause * 2, 1.0)
        return True

    def _need_file(self) -> None:
        if not self._file.exists():
            raise AgentError("the login agent is not installed: routerctl install")

    def _program(self) -> Path | None:
        try:
            return Path(plistlib.loads(self._file.read_bytes())["ProgramArguments"][0])
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            return None


def parse_print(text: str) -> dict[str, str]:
    """The fields of a service itself in what ``launchctl print`` says, without those of its blocks. Pure."""
    return dict(_FIELD.findall(text))


def _pid(printed: Ran) -> int | None:
    pid = parse_print(printed.said).get("pid", "") if printed.status == 0 else ""
    return int(pid) if pid.isdigit() else None
