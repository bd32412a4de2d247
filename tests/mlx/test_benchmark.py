"""The benchmark of the models runs; what it measures is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIGURES = {
    "rss",
    "first_token",
    "added",
    "added_quiet",
    "newcomer_routerd",
    "newcomer_stock",
    "rate",
    "late",
    "cancel",
    "cancel_prefill",
    "chunk",
}


def test_its_last_line_is_one_object_with_every_figure() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.mlx", "--quick", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout.splitlines()[-1])["figures"]
    assert figures["models"]["tiny"].keys() == FIGURES
    assert all(isinstance(line["measured"], float) for line in figures["models"]["tiny"].values())
    assert isinstance(figures["met"], bool)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.mlx", "--model", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 2
    assert f"{tmp_path} is no model folder" in ran.stderr
    assert "Traceback" not in ran.stderr
