"""What is installed, and what comes with it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import routerd
import routerd_client

ROOT = Path(__file__).parents[2]


def test_there_is_one_version_in_all_places() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    version = subprocess.run(
        [sys.executable, "packaging/version.py"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()

    assert version == routerd.__version__ == routerd_client.__version__
    assert f"routerd-client=={version}" in dependencies


def test_a_release_sets_the_version_in_all_places(tmp_path: Path) -> None:
    places = ["client/routerd_client/__init__.py", "daemon/routerd/__init__.py", "pyproject.toml"]
    for place in [*places, "packaging/homebrew/routerd.rb", "packaging/version.py"]:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / place, tmp_path / place)
    command = [sys.executable, "packaging/version.py"]

    done = subprocess.run([*command, "9.8.7rc1"], cwd=tmp_path, check=True, capture_output=True, text=True)

    assert done.stdout == "9.8.7rc1\n"
    assert '"routerd-client==9.8.7rc1"' in (tmp_path / "pyproject.toml").read_text()
    assert "routerd-9.8.7rc1.tar.gz" in (tmp_path / "packaging/homebrew/routerd.rb").read_text()
    assert subprocess.run([*command, "9.8"], cwd=tmp_path, check=False, capture_output=True).returncode == 1


def test_the_client_has_the_license_of_the_whole() -> None:
    assert (ROOT / "client/LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_client_alone_brings_msgspec_and_anyio_and_works(tmp_path: Path) -> None:
    """Installed from its folder into an empty environment, as a stranger would."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, "install", "-q", ROOT / "client"], check=True, timeout=300)

    listed = subprocess.run([*pip, "list", "--format=freeze"], check=True, capture_output=True, text=True)
    names = {re.split("==| @", line)[0].lower().replace("_", "-") for line in listed.stdout.splitlines()}
    missing = subprocess.run(
        [python, "-I", "-c", f"from routerd_client import Client; Client({str(tmp_path / 'none')!r}).status()"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert names == {"routerd-client", "msgspec", "anyio", "idna", "typing-extensions"}
    assert "the daemon is not running" in missing.stderr


def test_the_daemon_imports_without_mlx() -> None:
    code = "import sys, routerd.app.serve, routerd.ctl; print([m for m in sys.modules if m.startswith('mlx')])"

    found = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)

    assert found.stdout.strip() == "[]"
