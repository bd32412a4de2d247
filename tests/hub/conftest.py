from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_hub import FakeHub, fake_hub
from tests.support.tiny_model import make_tiny_model

from .pulling import Machine


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model, with what a repository holds besides."""
    folder = make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    (folder / "README.md").write_text("not needed")
    (folder / "modeling.py").write_text("raise SystemExit('nobody runs this')")
    return folder


@pytest.fixture
def hub(tiny: Path) -> Iterator[FakeHub]:
    """A hub that has the model ``org/tiny``."""
    with fake_hub() as running:
        running.add("org/tiny", tiny)
        yield running


@pytest.fixture
def machine(hub: FakeHub, tmp_path: Path) -> Machine:
    """One that has downloaded nothing yet."""
    return Machine(hub, tmp_path)
