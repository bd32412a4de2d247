"""The examples run as they are, against a real daemon with a real model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from routerd.config.load import load
from tests.support.daemon import standalone_daemon
from tests.support.tiny_model import make_tiny_model

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_example_routes_are_without_mistakes() -> None:
    assert load((EXAMPLES / "routes.yaml").read_text(), "routes.yaml").warnings == []


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
