from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from routerd.backends.http import Http
from tests.support.fake_api import FakeApi, fake_api, make_certificate


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[Http]:
    """What the backends of one daemon share."""
    async with Http(tmp_path) as http:
        yield http


@pytest.fixture(params=["tcp", "unix"])
async def api(request: pytest.FixtureRequest, sockets: Path) -> AsyncIterator[FakeApi]:
    """An API that is well, over either kind of socket."""
    unix = sockets / "api.sock" if request.param == "unix" else None
    async with fake_api(unix=unix) as api:
        yield api


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))
