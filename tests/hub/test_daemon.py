"""A daemon whose routes.yaml names a model that is not there yet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from routerd_client import Delta, Progress, RequestFailedError
from tests.support.daemon import Standalone, standalone_daemon

from .pulling import Machine

ROUTES = """\
version: 1
backends:
  small: {mlx: {model: org/tiny, max_tokens: 4}}
default: small
"""


@pytest.fixture
def daemon(machine: Machine) -> Iterator[Standalone]:
    prefix = ["env", "-u", "HF_HUB_CACHE", *(f"{name}={value}" for name, value in machine.hub_settings.items())]
    with standalone_daemon(machine.home, ROUTES, prefix=prefix) as running:
        yield running


def test_the_first_request_downloads_the_model_and_says_so(machine: Machine, daemon: Standalone) -> None:
    with daemon.client() as client:
        events = list(client.stream("hello"))

    fractions = [event.fraction for event in events if isinstance(event, Progress) and event.phase == "download"]
    assert fractions
    assert any(isinstance(event, Delta) for event in events)
    assert machine.whole


def test_a_download_that_fails_is_the_answers_error(machine: Machine, daemon: Standalone) -> None:
    machine.hub.repos["org/tiny"].gated = True
    with daemon.client() as client, pytest.raises(RequestFailedError, match="accepted its terms"):
        client.chat("hello")


def test_rm_refuses_while_the_model_is_loaded(machine: Machine, daemon: Standalone) -> None:
    with daemon.client() as client:
        client.chat("hello")
    refused = machine.ctl("models", "rm", "org/tiny", "--yes", socket=daemon.socket)
    daemon.ctl("models", "unload", "small")
    done = machine.ctl("models", "rm", "org/tiny", "--yes", socket=daemon.socket)

    assert refused.returncode == 1
    assert "routerctl models unload small" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert machine.whole is None


def test_ps_is_the_bare_listing(daemon: Standalone) -> None:
    assert daemon.ctl("models", "ps").stdout == daemon.ctl("models").stdout
