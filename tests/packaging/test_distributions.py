"""What is installed, and what comes with it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import routerd
import routerd_client

ROOT = Path(__file__).parents[2]


def test_both_distributions_have_one_version_and_the_daemon_pins_it() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]

    assert routerd.__version__ == routerd_client.__version__
    assert f"routerd-client=={routerd_client.__version__}" in dependencies


def test_the_client_has_the_license_of_the_whole() -> None:
    assert (ROOT / "client/LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_client_alone_brings_msgspec_and_anyio_and_works(tmp_path: Path) -> None:
    """Installed from its folder into an empty environment, as a stranger would."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", ROOT / "client"], check=True, timeout=300)

    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
    )
    names = {re.split("==| @", line)[0].lower().replace("_", "-") for line in listed.stdout.splitlines()}
    missing = subprocess.run(
        [python, "-I", "-c", f"from routerd_client import Client; Client({str(tmp_path / 'none')!r}).status()"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert names - {"pip", "setuptools"} == {"routerd-client", "msgspec", "anyio", "idna", "typing-extensions"}
    assert "the daemon is not running" in missing.stderr


def test_the_daemon_imports_without_mlx() -> None:
    code = "import sys, routerd.app.serve, routerd.ctl; print([m for m in sys.modules if m.startswith('mlx')])"

    found = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)

    assert found.stdout.strip() == "[]"
