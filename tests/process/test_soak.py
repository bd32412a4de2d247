"""A tenth of the soak: many clients, kills and reloads, and every answer compared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_tenth_of_the_soak_finds_nothing() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--quick", "--seconds", "100"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout.splitlines()[-1])
    assert figures["terminal"] + figures["left"] == figures["requests"] == 200
    assert figures["done"] > 0
    for fault in ("wrong", "truncated_as_success", "over_budget", "orphans", "fd_growth"):
        assert figures[fault] == 0, fault
