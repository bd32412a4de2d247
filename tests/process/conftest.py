from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Standalone, standalone_daemon
from tests.support.tiny_model import make_tiny_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model, of random weights: its answers last until max_tokens."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", context=8192)


@pytest.fixture
def routes_yaml(tiny: Path) -> str:
    return f"""\
version: 1
backends:
  small: {{mlx: {{model: {tiny}, max_tokens: 16}}}}
  large: {{mlx: {{model: {tiny}, max_tokens: 16}}}}
endpoints:
  primary: {{fallback: [small, large]}}
routes:
  - {{name: plans, match: {{task: plan}}, use: large}}
default: primary
"""


@pytest.fixture
def daemon(tmp_path: Path, routes_yaml: str) -> Iterator[Standalone]:
    with standalone_daemon(tmp_path, routes_yaml) as running:
        yield running
