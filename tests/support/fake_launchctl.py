"""``launchctl`` and what of launchd a LaunchAgent meets, small: it keeps state, starts jobs, and errs when told to.

    python fake_launchctl.py FOLDER bootstrap gui/501 agent.plist

FOLDER holds ``knobs.json`` (see `Knobs`), ``calls`` (one a line), ``disabled/`` and ``jobs/``. A job has a process of
its own here that listens on its sockets, starts its program, starts it again after a failure, and ends it on bootout,
which like the real one returns before that is done.
"""

from __future__ import annotations

import json
import os
import plistlib
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

NOT_FOUND, IN_PROGRESS, NO_PROCESS, IO_ERROR, GOING = 113, 37, 3, 5, 36
STEP_S = 0.01

COMMAND = (sys.executable, "-S", "-E", __file__)
"""Without site-packages it starts in a tenth of the time, and it is called often."""


@dataclass
class Knobs:
    """``errors``: statuses that the next bootstraps fail with. ``bootout_s``: how much longer a bootout takes.
    ``library``: the stand-in for launchd's socket function, that jobs get."""

    domains: tuple[str, ...] = ("gui/0", "user/0")
    errors: list[int] = field(default_factory=list)
    bootout_s: float = 0.0
    library: str = ""


@dataclass
class Job:
    target: str
    plist: str
    keeper: int
    pid: int | None = None
    last_exit: str = "(never exited)"
    runs: int = 0


class Launchctl:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("disabled", "jobs"):
            (folder / name).mkdir(exist_ok=True)

    def knobs(self) -> Knobs:
        try:
            return Knobs(**json.loads((self.folder / "knobs.json").read_bytes()))
        except FileNotFoundError:
            return Knobs()

    def turn(self, knobs: Knobs) -> None:
        (self.folder / "knobs.json").write_text(json.dumps(asdict(knobs)))

    def job(self, target: str) -> Job | None:
        try:
            return Job(**json.loads(self.file("jobs", target).read_bytes()))
        except FileNotFoundError:
            return None

    def write(self, job: Job) -> None:
        file = self.file("jobs", job.target)
        scratch = file.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(job)))
        scratch.replace(file)

    def file(self, kind: str, target: str) -> Path:
        return self.folder / kind / target.replace("/", ":")

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def call(self, verb: str, *words: str) -> int:
        with (self.folder / "calls").open("a") as calls:
            calls.write(f"{' '.join([verb, *words])}\n")
        return int(getattr(self, f"do_{verb}")(*words))

    def do_print(self, target: str) -> int:
        if target.count("/") == 1:
            return 0 if target in self.knobs().domains else NOT_FOUND
        job = self.job(target)
        if job is None:
            print(f'Could not find service "{target}" in domain')
            return NOT_FOUND
        lines = [f"\tpath = {job.plist}", f"\tstate = {'running' if job.pid else 'not running'}"]
        lines += ["\targuments = {", "\t\tpid = 1", "\t}", f"\truns = {job.runs}"]
        lines += [f"\tpid = {job.pid}"] if job.pid else []
        print("\n".join([f"{target} = {{", *lines, f"\tlast exit code = {job.last_exit}", "}"]))
        return 0

    def do_enable(self, target: str) -> int:
        self.file("disabled", target).unlink(missing_ok=True)
        return 0

    def do_disable(self, target: str) -> int:
        self.file("disabled", target).touch()
        return 0

    def do_bootstrap(self, domain: str, plist: str) -> int:
        knobs = self.knobs()
        if knobs.errors:
            status = knobs.errors.pop(0)
            self.turn(knobs)
            print(f"Bootstrap failed: {status}: an error that was asked for")
            return status
        target = f"{domain}/{plistlib.loads(Path(plist).read_bytes())['Label']}"
        if domain not in knobs.domains or self.file("disabled", target).exists() or self.job(target):
            print("Bootstrap failed: 5: Input/output error")
            return IO_ERROR
        command = [*COMMAND, str(self.folder), "keep", target, plist]
        with (self.folder / "keeper.txt").open("a") as said:
            subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        while self.job(target) is None:
            time.sleep(STEP_S)
        return 0

    def do_bootout(self, target: str) -> int:
        job = self.job(target)
        if job is None:
            print("Boot-out failed: 3: No such process")
            return NO_PROCESS
        os.kill(job.keeper, signal.SIGTERM)
        return GOING

    def do_kickstart(self, *words: str) -> int:
        job = self.job(words[-1])
        if job is None:
            return NOT_FOUND
        if job.pid and "-k" not in words:
            return IN_PROGRESS
        if job.pid:
            os.kill(job.pid, signal.SIGKILL)
        else:
            os.kill(job.keeper, signal.SIGUSR1)
        return 0

    def do_kill(self, name: str, target: str) -> int:
        job = self.job(target)
        if job is None or job.pid is None:
            return NO_PROCESS
        os.kill(job.pid, getattr(signal, name))
        return 0

    def do_keep(self, target: str, plist: str) -> int:
        Keeper(self, target, Path(plist)).run()
        return 0


class Keeper:
    """launchd's part in the life of one job."""

    def __init__(self, launchctl: Launchctl, target: str, plist: Path) -> None:
        self.launchctl = launchctl
        self.plist: dict[str, Any] = plistlib.loads(plist.read_bytes())
        self.job = Job(target, str(plist), os.getpid())
        self.wanted = bool(self.plist.get("RunAtLoad"))
        self.leaving = False
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.sockets = {name: listen(spec) for name, spec in self.plist.get("Sockets", {}).items()}
        signal.signal(signal.SIGTERM, self.leave)
        signal.signal(signal.SIGUSR1, self.kick)

    def leave(self, _signal: int, _frame: FrameType | None) -> None:
        self.leaving = True

    def kick(self, _signal: int, _frame: FrameType | None) -> None:
        self.wanted = True

    def run(self) -> None:
        self.launchctl.write(self.job)
        while not self.leaving:
            self.step()
            time.sleep(STEP_S)
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(self.plist["ExitTimeOut"])
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        time.sleep(self.launchctl.knobs().bootout_s)
        for listening in self.sockets.values():
            Path(listening.getsockname()).unlink(missing_ok=True)
        self.launchctl.file("jobs", self.job.target).unlink()

    def step(self) -> None:
        if self.process and self.process.poll() is not None:
            self.ended(self.process.returncode)
        called = any(readable(listening) for listening in self.sockets.values())
        rested = self.job.runs == 0 or time.monotonic() - self.started >= self.plist["ThrottleInterval"]
        if self.process is None and rested and (self.wanted or called):
            self.start()

    def start(self) -> None:
        numbers = {f"STAND_IN_SOCKET_{name}": str(one.fileno()) for name, one in self.sockets.items()}
        library = {"LD_PRELOAD": self.launchctl.knobs().library, "STAND_IN_LAUNCHD": "1"}
        with Path(self.plist["StandardErrorPath"]).open("a") as errors:
            self.process = subprocess.Popen(
                self.plist["ProgramArguments"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=[one.fileno() for one in self.sockets.values()],
                cwd=self.plist["WorkingDirectory"],
                env={
                    "HOME": self.plist["WorkingDirectory"],
                    **library,
                    **numbers,
                    **self.plist["EnvironmentVariables"],
                },
            )
        self.wanted, self.started = False, time.monotonic()
        self.job.pid, self.job.runs = self.process.pid, self.job.runs + 1
        self.launchctl.write(self.job)

    def ended(self, status: int) -> None:
        self.process, self.job.pid, self.job.last_exit = None, None, str(status)
        self.wanted = self.wanted or (status != 0 and self.plist["KeepAlive"] == {"SuccessfulExit": False})
        self.launchctl.write(self.job)


def listen(spec: dict[str, Any]) -> socket.socket:
    Path(spec["SockPathName"]).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(spec["SockPathName"])
    Path(spec["SockPathName"]).chmod(spec["SockPathMode"])
    listening.listen()
    return listening


def readable(listening: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    return bool(poll.poll(0))


if __name__ == "__main__":
    sys.exit(Launchctl(Path(sys.argv[1])).call(*sys.argv[2:]))
