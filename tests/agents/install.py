"""Agents from their registries, each in a folder of its own that is kept for the next time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .clients import Client

CACHE = Path(os.environ.get("ROUTERD_AGENTS", Path.home() / ".cache" / "routerd-agents"))


def folder(client: Client) -> Path:
    return CACHE / f"{client.harness}-{client.version}"


def program(client: Client) -> Path:
    inside = "node_modules/.bin" if client.registry == "npm" else "bin"
    return folder(client) / inside / client.program


def install(client: Client) -> None:
    """Install the agent where it is not yet. Ends the program where its registry has not got it."""
    done = folder(client) / "installed"
    if done.exists():
        return
    sys.stderr.write(f"installing {' '.join(client.packages)}\n")
    where = str(folder(client))
    if client.registry == "npm":
        commands = [["npm", "install", "--prefix", where, "--no-audit", "--no-fund", *client.packages]]
    else:
        pip = [str(folder(client) / "bin" / "python"), "-m", "pip", "install", "--quiet", *client.packages]
        commands = [[sys.executable, "-m", "venv", where], pip]
    folder(client).mkdir(parents=True, exist_ok=True)
    for command in commands:
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            sys.exit(f"{client.name} cannot be installed: {' '.join(command)}")
    done.touch()
