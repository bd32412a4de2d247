from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "support" / "launch_activate_socket.c"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """launchd's socket function, compiled."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform == "darwin":
        pytest.skip("no C compiler here, or launchd itself")
    built = tmp_path_factory.mktemp("library") / "launch_activate_socket.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", built, SOURCE], check=True)
    return str(built)
