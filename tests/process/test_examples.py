"""The examples run as they are, against a real daemon with a real model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from routerd.config.load import load
from tests.support.daemon import Standalone, make_places, standalone_daemon
from tests.support.tiny_model import make_tiny_model

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("routes", sorted(EXAMPLES.rglob("routes.yaml")), ids=lambda path: path.parent.name)
def test_example_routes_are_without_mistakes(routes: Path) -> None:
    assert [note for note in load(routes.read_text(), "routes.yaml").warnings if "(yet)" not in note.message] == []


@pytest.mark.parametrize("program", sorted(p.name for p in EXAMPLES.glob("*.py")))
def test_an_example_runs(program: str, tmp_path: Path) -> None:
    tiny = make_tiny_model(tmp_path / "tiny")
    routes = (EXAMPLES / "routes.yaml").read_text().replace("model: demo", f"model: {tiny}")

    with standalone_daemon(tmp_path, routes) as daemon:
        ran = subprocess.run(
            [sys.executable, EXAMPLES / program],
            env={**os.environ, "ROUTERD_SOCKET": str(daemon.socket)},
            capture_output=True,
            timeout=60,
            check=False,
        )

    assert ran.stderr == b""
    assert ran.returncode == 0
    assert ran.stdout


def test_the_readmes_curl_finds_the_socket_wherever_it_is(tmp_path: Path, sockets: Path) -> None:
    """On a Mac it is below a folder with a space in its name."""
    block = next(
        block
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        if "curl" in block
    )
    places = make_places(tmp_path, sockets / "Application Support")
    tiny = make_tiny_model(tmp_path / "tiny")
    places.config.write_text(f"backends: {{primary: {{mlx: {{model: {tiny}, max_tokens: 4}}}}}}\ndefault: primary\n")
    daemon = Standalone(places)
    try:
        daemon.answers()
        where = {"ROUTERD_SOCKET": str(daemon.socket), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        commands = block.partition("echo ")[0]
        ran = subprocess.run(
            ["sh", "-c", commands], env={**os.environ, **where}, capture_output=True, timeout=60, check=False
        )
    finally:
        daemon.process.kill()
        daemon.process.wait()
    assert json.loads(ran.stdout)["routerd"]["backend"] == "primary", ran.stderr


def test_the_story_of_a_refusal(tmp_path: Path) -> None:
    tiny = make_tiny_model(tmp_path / "tiny")

    ran = subprocess.run(
        [sys.executable, EXAMPLES / "refusal_story" / "story.py", tiny],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    well, refused, down = ran.stdout.strip().split("\n\n")
    assert "  1. claude ok\n  claude (claude-haiku-4-5): 'Canberra, since 1913.'" in well
    assert "  1. claude failed: refusal, the answer refuses the request\n  2. gpt ok\n" in refused
    assert "  gpt (gpt-5-mini): 'Canberra, since 1913.'" in refused
    assert "  1. claude failed: refusal, " in down
    assert "gpt failed: overloaded, " in down
    assert f"local ok\n  local ({tiny}): " in down
