"""Another maker's server, as it is: mlx-lm's own, on a tiny model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from routerd.backends.http import Http
from routerd_client.chat import FinishReason, Sampling
from routerd_client.records import FailureKind
from tests.support.tiny_model import make_tiny_model
from tests.support.wait import until_blocking

from .asking import ask, backend, chat, failure


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[str]:
    """Its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", str(model), "--port", str(port)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_blocking(lambda: _listens(port) or process.poll() is not None, "it listens", deadline=90.0)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_an_answer_with_its_usage(http: Http, server: str, model: Path) -> None:
    there = backend(http, "openai", server, model=str(model), api_key=None)

    heard = await ask(there, chat(max_tokens=12, sampling=Sampling(temperature=0.0, top_k=3, seed=1)))

    assert heard.text
    assert heard.end
    assert heard.end.finish_reason is FinishReason.LENGTH
    assert heard.end.usage.completion_tokens == 12
    assert heard.end.usage.prompt_tokens > 0


async def test_what_it_refuses_is_the_callers(http: Http, server: str, model: Path) -> None:
    there = backend(http, "openai", server, model=str(model), api_key=None)

    error = await failure(there, chat(sampling=Sampling(temperature=-1.0)))

    assert error.kind is FailureKind.BAD_REQUEST
    assert "temperature must be at least 0" in error.message
