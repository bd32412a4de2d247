"""``make install`` as a stranger runs it, and an installation without mlx."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from routerd.models.runtime import remedy
from tests.support.daemon import short_folder
from tests.support.wait import until_blocking

ROOT = Path(__file__).parents[2]
ROUTES = "backends: {own: {mlx: {model: demo}}}\ndefault: own\n"


class Installed:
    """Where it was installed, and its commands, with a home of their own."""

    def __init__(self, home: Path, sockets: Path) -> None:
        self.home = home
        self.bin = home / "bin"
        self.python = home / "venv/bin/python"
        self.socket = sockets / "s"
        (home / "routes.yaml").write_text(ROUTES)

    @property
    def environment(self) -> dict[str, str]:
        where = {"ROUTERD_CONFIG": str(self.home / "routes.yaml"), "ROUTERD_SOCKET": str(self.socket)}
        return {"HOME": str(self.home), "PATH": os.environ["PATH"], **where}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def make(*arguments: str, python: str = sys.executable, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-C", str(ROOT), f"PYTHON={python}", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def places(folder: Path) -> list[str]:
    return [f"INSTALL_DIR={folder / 'venv'}", f"LINK_DIR={folder / 'bin'}"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """An installation without the extra that models need on Linux."""
    home = tmp_path_factory.mktemp("home with spaces")
    done = make("install", "EXTRA=", *places(home))
    assert done.returncode == 0, done.stderr
    assert f'export PATH="{home}/bin:$PATH"' in done.stdout
    with short_folder() as sockets:
        yield Installed(home, sockets)


def test_the_commands_run_from_links_without_the_repository(installed: Installed) -> None:
    for name in ("routerd", "routerctl"):
        assert (installed.bin / name).is_symlink()
        assert installed.run(name, "--version").returncode == 0
    code = "import routerd, routerd_client; print(routerd.__file__, routerd_client.__file__)"
    where = subprocess.run([installed.python, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    assert str(ROOT) not in where
    assert installed.run("routerctl", "check").returncode == 0


def test_without_mlx_the_doctor_and_the_demo_name_what_installs_it(installed: Installed) -> None:
    command = remedy(sys.platform, os.uname().machine, str(installed.python), pip=True)
    assert "-m pip install" in command
    findings = json.loads(installed.run("routerctl", "doctor", "--json").stdout)["findings"]
    (models,) = [finding for finding in findings if finding["check"] == "models"]
    assert models["level"] == "fail"
    assert "mlx and mlx_lm are not installed" in models["says"]
    assert models["fix"] == command
    demo = installed.run("routerctl", "demo")
    assert demo.returncode != 0
    assert command in demo.stderr
    assert "Traceback" not in demo.stderr


def test_without_mlx_a_models_failure_names_what_installs_it(installed: Installed) -> None:
    command = remedy(sys.platform, os.uname().machine, str(installed.python), pip=True)
    program = str(installed.bin / "routerd")
    with (installed.home / "stderr.txt").open("w") as stderr:
        daemon = subprocess.Popen([program, "serve"], env=installed.environment, stdout=stderr, stderr=stderr)
    try:
        until_blocking(installed.socket.is_socket, "it listens")
        asked = installed.run("routerctl", "ask", "hello")
        assert asked.returncode != 0
        assert command in asked.stderr
        assert "mlx and mlx_lm are not installed" in asked.stderr
    finally:
        daemon.terminate()
        daemon.wait(30)


def test_what_stands_in_the_way_of_a_link_is_left_alone(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "routerd").write_text("theirs")
    venv = str(installed.home / "venv")
    link = [str(ROOT / "packaging/link-commands"), venv, str(tmp_path)]
    done = subprocess.run(link, capture_output=True, text=True, check=False)
    assert (done.returncode, (tmp_path / "routerd").read_text()) == (1, "theirs")
    assert "is there already" in done.stderr
    (tmp_path / "routerd").unlink()
    for _ in range(2):  # again is no matter
        assert subprocess.run(link, capture_output=True, check=False).returncode == 0
    (tmp_path / "routerctl").unlink()
    (tmp_path / "routerctl").write_text("theirs")
    subprocess.run([link[0], "--remove", *link[1:]], check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["routerctl"]


PYTHON = '#!/bin/sh\ncase "$*" in *"{word}"*) exit 1 ;; *) exec {real} "$@" ;; esac\n'


@pytest.mark.parametrize("target", ["install", ".venv/installed"])
@pytest.mark.parametrize(
    ("word", "said"),
    [("ensurepip", "sudo apt install python3"), ("< (3, 11)", "3.11 or newer is needed")],
    ids=["Debian without venv", "an old Python"],
)
def test_a_python_that_cannot_is_told_and_nothing_is_made(tmp_path: Path, word: str, said: str, target: str) -> None:
    python = tmp_path / "python3"
    python.write_text(PYTHON.format(word=word, real=sys.executable))
    python.chmod(0o755)
    venv = tmp_path / ".venv"
    arguments = places(tmp_path) if target == "install" else [f"VENV={venv}"]
    done = make(target.replace(".venv", str(venv)), *arguments, python=str(python))
    assert done.returncode != 0
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["python3"]


@pytest.mark.parametrize(
    ("system", "machine", "pip", "said"),
    [
        ("linux", "x86_64", True, "'cpu': '/a b/python' -m pip install 'routerd[cpu]'"),
        ("linux", "aarch64", False, "uv pip install --python '/a b/python' 'routerd[cpu]'"),
        ("darwin", "arm64", True, "'/a b/python' -m pip install 'mlx-lm>=0.32,<0.33'"),
        ("darwin", "x86_64", True, "backends over HTTP"),
    ],
)
def test_every_platform_is_told_its_own_remedy(system: str, machine: str, said: str, *, pip: bool) -> None:
    assert said in remedy(system, machine, "/a b/python", pip)


def test_nothing_unpublished_is_advertised() -> None:
    """Until a release: what is to be typed works from this folder."""
    documents = [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("daemon/routerd/**/*.py")]
    wrong = ("uv tool install routerd", "pipx install routerd", "brew install", "uvx routerd", "pip install routerd")
    found = [f"{path.name}: {word}" for path in documents for word in wrong if word in path.read_text("utf-8")]
    assert found == []
