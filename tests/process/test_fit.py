"""The real daemon with real tokenizers: prompts are counted for models that nobody has loaded."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from routerd_client import RequestFailedError
from routerd_client.protocol import ErrorCode
from tests.support.daemon import Standalone, alive, standalone_daemon
from tests.support.tiny_model import make_tiny_model
from tests.support.wait import until_blocking

WORDS = "the quick brown fox jumps over the lazy dog "
"""Some five letters to a token of the tiny model."""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Standalone]:
    small = make_tiny_model(tmp_path / "small", context=1024)
    large = make_tiny_model(tmp_path / "large", context=4096)
    routes = f"""\
version: 1
backends:
  small: {{mlx: {{model: {small}, max_tokens: 4}}}}
  large: {{mlx: {{model: {large}, max_tokens: 4}}}}
endpoints: {{primary: {{fallback: [small, large]}}}}
default: primary
"""
    with standalone_daemon(tmp_path, routes) as running:
        until_blocking(lambda: contexts(running) == [1024, 4096], "both folders have been read")
        yield running


def contexts(daemon: Standalone) -> list[int | None]:
    with daemon.client() as client:
        return [model.context for model in client.status().models]


def prompt(characters: int) -> str:
    return (WORDS * (characters // len(WORDS) + 1))[:characters]


def processes(daemon: Standalone) -> dict[str, int]:
    records = json.loads((daemon.places.state / "workers.json").read_bytes())
    return {record["backend"]: record["pid"] for record in records}


def test_the_first_that_the_prompt_fits_answers_and_the_others_are_not_loaded(daemon: Standalone) -> None:
    with daemon.client() as client:
        done = client.chat(prompt(6500))
        assert done.usage.prompt_tokens >= 1024
        assert (done.backend, done.attempt) == ("large", 1)
        counter = processes(daemon)["small"]
        assert counter not in daemon.workers(), "what counts is no model process"

        # Loaded, it counts by itself, and comes to the same.
        client.models("load", "small")
        again = client.chat(prompt(6500))
        assert (again.backend, again.usage.prompt_tokens) == ("large", done.usage.prompt_tokens)
        assert client.chat(prompt(3500)).backend == "small"


def test_what_fits_nobody_is_refused_and_a_killed_daemon_leaves_no_counter(daemon: Standalone) -> None:
    with daemon.client() as client:
        with pytest.raises(RequestFailedError, match=r"tokens do not fit its context of 4096") as caught:
            client.chat(prompt(24_000))
        assert caught.value.code is ErrorCode.CONTEXT_OVERFLOW
    assert daemon.workers() == []
    counters = list(processes(daemon).values())
    assert counters
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    until_blocking(lambda: not any(map(alive, counters)), "the counters end")
