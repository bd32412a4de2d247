"""Writes the plist and the units of launchd/ as the code makes them for somebody's ordinary home.

python -m tests.support.make_reference
"""

from __future__ import annotations

from pathlib import Path

from routerd.agent.launchd import plist
from routerd.agent.setup import LABEL, Setup, search_path
from routerd.agent.systemd import SERVICE, SOCKET, service_unit, socket_unit

FOLDER = Path(__file__).parents[2] / "launchd"


def _setup(home: str, platform: str, socket: str, logs: str, language: str, runtime: Path | None = None) -> Setup:
    program = Path(home) / ".local" / "bin" / "routerd"
    return Setup(
        command=(str(program), "serve", "--agent"),
        environment={"PATH": search_path(program, Path(home), platform), "LANG": language},
        socket=Path(socket),
        logs=Path(logs),
        home=Path(home),
        runtime=runtime,
    )


MAC = _setup(
    "/Users/you",
    "darwin",
    "/Users/you/Library/Application Support/routerd/routerd.sock",
    "/Users/you/Library/Logs/routerd",
    "en_US.UTF-8",
)
LINUX = _setup(
    "/home/you",
    "linux",
    "/run/user/1000/routerd/routerd.sock",
    "/home/you/.local/state/routerd/log",
    "C.UTF-8",
    Path("/run/user/1000"),
)

FILES = {f"{LABEL}.plist": plist(MAC), SERVICE: service_unit(LINUX), SOCKET: socket_unit(LINUX)}

if __name__ == "__main__":
    for name, content in FILES.items():
        (FOLDER / name).write_bytes(content)
