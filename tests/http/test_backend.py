"""What a backend over HTTP says of itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from routerd.backends.build import FORMATS
from routerd.backends.http import Http
from routerd.config.http import HTTP_KINDS, HttpSpec
from routerd.routing.view import Limits
from routerd.selftest.fake_api import FakeApi

from .asking import KEY, ask, backend, each_kind


def test_every_kind_has_its_format() -> None:
    assert tuple(FORMATS) == HTTP_KINDS


@pytest.mark.parametrize(
    ("base_url", "note"),
    [
        ("http://127.0.0.1:8080/v1", "127.0.0.1:8080"),
        ("unix:/run/x.sock", "/run/x.sock"),
        ("https://api.other.test/v1", "remote"),
        ("", "remote"),
    ],
)
async def test_where_it_is(http: Http, base_url: str, note: str) -> None:
    assert backend(http, "openai", base_url).note() == note


@each_kind
async def test_it_never_shows_its_key(http: Http, kind: str) -> None:
    there = backend(http, kind, "https://api.other.test/v1/", headers={"x-key": KEY})

    assert there.identity == f"there|{kind}|https://api.other.test/v1/|m"
    assert KEY not in f"{there!r} {there} {there.identity} {there.note()}"


async def test_what_an_address_asks_for_beside_its_path_is_kept(http: Http, api: FakeApi) -> None:
    there = backend(http, "openai", f"{api.base_url}/?api-version=1" if api.base_url[0] == "h" else api.base_url)

    assert (await ask(there)).text == "Hello, world!"


async def test_what_it_can(http: Http) -> None:
    there = backend(http, "openai", "", context=1000, tools=False)

    assert there.limits() == Limits(context=1000, tools=False, embeddings=True)
    assert there.refusal() is None
    assert (there.busy(), there.wait()) == (0, 0)


def test_the_makers_own_addresses() -> None:
    urls = {kind: api.BASE_URL + api.PATH for kind, api in FORMATS.items()}

    assert urls == {
        "openai": "https://api.openai.com/v1/chat/completions",
        "anthropic": "https://api.anthropic.com/v1/messages",
        "responses": "https://api.openai.com/v1/responses",
    }
    assert not HttpSpec(model="m").local


def test_a_daemon_without_such_backends_does_not_load_aiohttp() -> None:
    code = "import routerd.backends.build, sys; sys.exit('aiohttp' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
