"""A user's real systemd, in a mount namespace of its own, on a machine that need not run systemd at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .wait import until_blocking

SYSTEMD = Path("/lib/systemd/systemd")
_INSIDE = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system "$XDG_RUNTIME_DIR"
chmod 700 "$XDG_RUNTIME_DIR"
exec "$0" --user
"""


def why_no_systemd() -> str:
    """Why none can be had here; ``""`` where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a systemd of one's own needs Linux and root"
    if missing := [tool for tool in (str(SYSTEMD), "unshare", "nsenter", "systemctl") if not shutil.which(tool)]:
        return f"no {', '.join(missing)} here"
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        return "this root may not make a mount namespace"
    return ""


class UserSystemd:
    """``home`` is the home of everything that runs in it."""

    def __init__(self, process: subprocess.Popen[bytes], environ: dict[str, str]) -> None:
        self.home = Path(environ["HOME"])
        self.root = Path(f"/proc/{process.pid}/root")
        self.socket = self.root / environ["XDG_RUNTIME_DIR"].lstrip("/") / "routerd" / "routerd.sock"
        self.prefix = ["nsenter", "-m", "-t", str(process.pid), "env", "-i", *(f"{k}={v}" for k, v in environ.items())]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run ``command`` to its end, in there."""
        return subprocess.run([*self.prefix, *command], capture_output=True, text=True, timeout=90, check=False)

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", "--user", *arguments)

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The real ``routerctl``."""
        return self.run(str(Path(sys.executable).parent / "routerctl"), *arguments)

    def show(self, unit: str, name: str) -> str:
        return self.systemctl("show", unit, f"--property={name}", "--value").stdout.strip()


@contextmanager
def user_systemd(home: Path) -> Iterator[UserSystemd]:
    """One that runs until the ``with`` ends, and all it has started with it."""
    runtime = f"/run/user/{os.getuid()}"
    environ = {"HOME": str(home), "XDG_RUNTIME_DIR": runtime, "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    command = ["unshare", "-m", "bash", "-c", _INSIDE, str(SYSTEMD)]
    with (home / "systemd.txt").open("w") as said:
        process = subprocess.Popen(command, env=environ, stdout=said, stderr=said)
    try:
        systemd = UserSystemd(process, environ)
        until_blocking(
            lambda: systemd.systemctl("is-system-running").stdout.strip() in ("running", "degraded"),
            f"systemd runs; it said: {(home / 'systemd.txt').read_text() or 'nothing'}",
            deadline=60.0,
        )
        yield systemd
    finally:
        process.terminate()
        process.wait(60)
