"""The login agent, and whether what it starts is still there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..program import passing
from .finding import Finding, Scene, fail, ok, warn

AGAIN = "routerctl install writes down the one that is there"
_VERSIONED = re.compile(r"/(Cellar|versions|pyenv)/")


def agent(scene: Scene) -> Iterator[Finding]:
    seen = scene.agent
    if seen is None:
        yield (ok if scene.status else warn)("agent", scene.no_agent)
        return
    if not seen.state.installed:
        fix = "routerctl install has it run at each login"
        yield (
            ok("agent", "not installed; this daemon was started by hand")
            if scene.status
            else warn("agent", "not installed", fix)
        )
        return
    if seen.state.program:
        yield from program(seen.state.program)
    if not seen.state.loaded:
        yield fail("agent", "it is installed, and the service manager does not know it", "routerctl start")
    elif seen.state.pid is None and seen.state.last_exit:
        yield fail("agent", f"it ended: {seen.state.last_exit}", "routerctl logs, then routerctl start")
    elif scene.status and scene.status.pid != seen.state.pid:
        says = f"a daemon that is not the login agent's answers (pid {scene.status.pid})"
        yield warn("agent", says, "end it, then: routerctl start")
    else:
        yield ok("agent", f"installed ({seen.name})")
    for file in seen.outdated:
        yield warn("agent", f"{file} was written by another version, or for other places", "routerctl install")


def installations(scene: Scene) -> Iterator[Finding]:
    """Whether a shell finds the installation that answers here."""
    first = shutil.which("routerd")
    if first and Path(first).resolve() != scene.program.resolve():
        says = f"a shell starts {first}, while this is {scene.program}"
        yield warn("installed", says, "keep one of the two, or mind the order in PATH")


def program(path: Path) -> Iterator[Finding]:
    """What the agent starts must be there, also tomorrow."""
    if not path.exists():
        gone = "its link leads nowhere" if path.is_symlink() else "it is gone"
        yield fail("agent", f"it starts {path}, but {gone}", AGAIN)
    elif not os.access(path, os.X_OK):
        yield fail("agent", f"it starts {path}, which cannot be executed", f"chmod +x {path}")
    elif (python := interpreter(path)) and not python.exists():
        yield fail("agent", f"{path} needs {python}, which is gone", f"install routerd again; {AGAIN}")
    elif passing(path):
        yield warn(
            "agent", f"{path} is in a temporary folder, and will vanish", f"make install, in routerd's folder; {AGAIN}"
        )
    elif _VERSIONED.search(str(path)):
        yield warn("agent", f"{path} has a version in it: the next upgrade removes it", AGAIN)


def interpreter(script: Path) -> Path | None:
    """The Python that the first line of ``script`` names; None where it names none by its path."""
    with script.open("rb") as file:
        first = file.readline(1024)
        second = file.readline(1024)
    # Where the path is too long for a first line, pip and uv write a line for the shell: '''exec' PATH "$0" "$@"
    found = re.match(rb"#!\s*(/\S*python\S*)", first) or re.match(rb"'''exec' \"?(/[^\"]*?python[\w.]*)", second)
    return Path(os.fsdecode(found[1])) if found else None
