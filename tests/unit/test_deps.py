"""What importing costs: the client and the CLI's fast commands must stay light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import routerd

HEAVY = ["asyncio", "anyio", "click", "mlx", "mlx_lm", "numpy", "routerd", "structlog", "uvloop", "watchfiles", "yaml"]


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after ``code``."""
    script = f"{code}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import routerd_client", "from routerd_client import Client"])
def test_the_client_loads_msgspec_and_the_standard_library_alone(code: str) -> None:
    assert loaded_by(code).intersection(HEAVY) == set()


def test_the_asynchronous_client_brings_anyio_in_with_its_first_use() -> None:
    assert loaded_by("from routerd_client import AsyncClient").intersection(HEAVY) <= {"anyio", "asyncio"}


def test_the_cli_loads_no_daemon_machinery() -> None:
    assert loaded_by("import routerd.ctl").isdisjoint({"mlx", "mlx_lm", "structlog", "watchfiles", "anyio", "asyncio"})


@pytest.mark.parametrize("command", ["ask", "explain", "models", "reload", "status"])
def test_a_command_that_only_asks_loads_no_daemon_machinery(command: str) -> None:
    loaded = loaded_by(f"import routerd.ctl, routerd.ctl.{command}")
    assert loaded.isdisjoint({"mlx", "mlx_lm", "structlog", "watchfiles", "anyio", "asyncio", "yaml"})


def test_the_daemon_loads_no_model_code() -> None:
    assert loaded_by("import routerd.app.serve").isdisjoint({"mlx", "mlx_lm", "numpy", "transformers"})


def test_the_disk_is_not_waited_for_on_threads_that_are_joined_at_exit() -> None:
    """anyio's worker threads are: one that hangs would keep the daemon from ending (`routerd.disk` has others)."""
    daemon = Path(routerd.__file__).parent
    users = {file for file in daemon.rglob("*.py") if "to_thread" in file.read_text()}
    users.discard(daemon / "dispatch" / "beside.py")  # computes, and so ends by itself
    assert {file.relative_to(daemon).parts[0] for file in users} <= {"worker"}
