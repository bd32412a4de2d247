from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from routerd.backends.http import Http
from routerd.selftest.fake_api import FakeApi, fake_api


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
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A certificate for localhost that nobody vouches for."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
