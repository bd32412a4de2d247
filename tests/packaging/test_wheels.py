"""What is published: built, installed where nothing of this folder is, and run."""

from __future__ import annotations

import json
import plistlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from routerd import __version__
from routerd.agent.launchd import plist
from routerd.agent.setup import setup
from routerd.config.places import places
from tests.support.daemon import make_places, short_folder
from tests.support.wait import until_blocking

ROOT = Path(__file__).parents[2]
ROUTES = 'backends: {a: {openai: {model: m, base_url: "http://127.0.0.1:9/v1"}}}\ndefault: a\n'


def build(folder: Path, kind: str, into: Path) -> Path:
    """The one file that hatchling makes of ``folder``; what the index's own tools do, without the index."""
    before = set(into.glob("*"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(into)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    (made,) = set(into.glob("*")) - before
    return made


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """The sdists of both distributions, and the wheels that are made from those."""
    out = tmp_path_factory.mktemp("dist")
    sdists = [build(folder, "sdist", out) for folder in (ROOT / "client", ROOT)]
    wheels = []
    for sdist in sdists:
        with tarfile.open(sdist) as archive:
            archive.extractall(out / "unpacked", filter="data")
        wheels.append(build(out / "unpacked" / sdist.name.removesuffix(".tar.gz"), "wheel", out))
    return sdists, wheels


def test_a_distribution_holds_its_own_package_and_license_and_no_more(
    published: tuple[list[Path], list[Path]],
) -> None:
    sdists, wheels = published
    for wheel, package in zip(wheels, ("routerd_client", "routerd"), strict=True):
        names = zipfile.ZipFile(wheel).namelist()
        assert {name.partition("/")[0] for name in names} == {package, f"{package}-{__version__}.dist-info"}
        assert f"{package}/py.typed" in names
        assert [name for name in names if name.endswith("LICENSE")]
        source = ROOT / ("client" if package == "routerd_client" else "daemon") / package
        kept = [path.relative_to(source.parent) for path in source.rglob("*") if path.is_file()]
        assert {str(path) for path in kept if not any(part[0] in "._" for part in path.parts[:-1])} <= set(names)
    for sdist in sdists:
        with tarfile.open(sdist) as archive:
            assert not [name for name in archive.getnames() if "__pycache__" in name or "/.git/" in name]


def test_the_wheels_run_where_they_are_installed(published: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    _, wheels = published
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python, programs = home / "bin/python", home / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "-q"]
    subprocess.run([*pip, *map(str, wheels)], check=True, timeout=120)
    # What they depend on is taken from here. A .pth in a folder that a .pth names is not read: routerd itself is not.
    (purelib,) = home.glob("lib/python*/site-packages")
    (purelib / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    code = "import routerd, routerd_client; print(routerd.__file__); print(routerd_client.__file__)"
    places = subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert [Path(place).is_relative_to(purelib) for place in places] == [True, True]
    (tmp_path / "routes.yaml").write_text(ROUTES)
    with short_folder() as sockets:
        where = make_places(tmp_path, sockets)
        options = ["--config", where.config, "--socket", where.socket, "--state-dir", where.state]
        with subprocess.Popen([programs / "routerd", "serve", "--quiet", *options]) as daemon:
            try:
                until_blocking(where.socket.is_socket, "it listens", deadline=30)
                status = subprocess.run(
                    [programs / "routerctl", "--socket", where.socket, "status", "--json"],
                    check=True,
                    capture_output=True,
                )
                assert (json.loads(status.stdout)["version"], json.loads(status.stdout)["pid"]) == (
                    __version__,
                    daemon.pid,
                )
                daemon.terminate()
                assert daemon.wait(30) == 0
            finally:
                daemon.kill()


def test_the_formula_runs_the_agent_as_install_does() -> None:
    formula = (ROOT / "packaging/homebrew/routerd.rb").read_text()
    agent = plistlib.loads(plist(setup(places(), {})))

    assert f'run [opt_bin/"routerd", {", ".join(map(json.dumps, agent["ProgramArguments"][1:]))}]' in formula
    assert f"process_type :{agent['ProcessType'].lower()}" in formula
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert "keep_alive successful_exit: false" in formula
    if ruby := shutil.which("ruby"):
        assert subprocess.run([ruby, "-wc"], input=formula, text=True, check=False, capture_output=True).returncode == 0
