"""One tiny model a kind and one worker on it for the whole run: each spawn costs two seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from routerd.worker.lm import Model, load
from tests.support.tiny_model import make_tiny_model
from tests.support.worker_client import WorkerClient


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def able_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reasons and calls tools."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "able", reasoning=True, tools=True)


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Model:
    return _measured(load(tiny_folder, lambda _: None))


@pytest.fixture(scope="session")
def able(able_folder: Path) -> Model:
    return _measured(load(able_folder, lambda _: None))


@pytest.fixture(scope="session")
def sliding(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model with a window of 48 tokens: what has left it cannot be brought back."""
    folder = make_tiny_model(tmp_path_factory.mktemp("models") / "sliding", window=48)
    return _measured(load(folder, lambda _: None))


def _measured(model: Model) -> Model:
    model.vocab = len(model.tokenizer)
    return model


@pytest.fixture(scope="session")
def shared_worker(tiny_folder: Path) -> Iterator[WorkerClient]:
    with WorkerClient(tiny_folder) as worker:
        worker.ready()
        yield worker


@pytest.fixture
def worker(shared_worker: WorkerClient) -> Iterator[WorkerClient]:
    """The run's one worker; nothing may be in flight in it after a test."""
    yield shared_worker
    assert shared_worker.ping().in_flight == 0
