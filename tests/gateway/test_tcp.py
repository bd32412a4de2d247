"""HTTP over TCP: where it listens, and whom it lets in."""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from routerd.config.load import ConfigFailedError, load
from routerd.gateway.guard import Guard
from routerd.gateway.page import RefusedError
from routerd.gateway.token import FILE, Token, rotate
from tests.support.daemon import Running, ctl, fake, routes, running_daemon
from tests.support.wait import until

from .sdks import HTTP

TOKEN = "rd-the-token"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def listening(running: Running, other_than: str = "") -> str:
    def address() -> str:
        found = running.status().http
        return "" if found == other_than else found

    return await until(address, "it listens", deadline=60)


async def status(url: str, **headers: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/models", headers=headers) as answer:
        return answer.status


async def closed(url: str) -> bool:
    try:
        await status(url)
    except aiohttp.ClientConnectorError:
        return True
    return False


async def test_it_appears_moves_and_disappears_with_the_file(tmp_path: Path) -> None:
    text = routes(small=fake())
    async with running_daemon(tmp_path, text) as running:
        assert running.status().http == ""
        running.write(f"{text}\n{HTTP}")
        await running.daemon.reload()
        first = await listening(running)
        file = running.places.state / FILE
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        key = file.read_text().strip()
        assert await status(first) == 401
        assert await status(first, authorization=f"Bearer {key}") == 200
        assert await status(first, **{"x-api-key": key}) == 200

        port = free_port()
        running.write(f"{text}\nhttp: {{listen: localhost:{port}}}")
        result = await running.daemon.reload()
        assert result.plan
        assert result.plan.changes == ["http changed"]
        assert await listening(running, other_than=first) == f"http://127.0.0.1:{port}"
        assert await closed(first)
        assert await status(f"http://127.0.0.1:{port}", authorization=f"bearer {key}") == 200

        newer = rotate(running.places.state)
        assert await status(f"http://127.0.0.1:{port}", authorization=f"Bearer {key}") == 401
        assert await status(f"http://127.0.0.1:{port}", authorization=f"Bearer {newer}") == 200

        running.write(text)
        await running.daemon.reload()
        await until(lambda: not running.status().http, "it listens no more")
        assert await closed(f"http://127.0.0.1:{port}")


async def test_a_taken_port_is_told_and_the_daemon_stays(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        rest = f"http: {{listen: 127.0.0.1:{port}}}"
        async with running_daemon(tmp_path, routes(small=fake(), rest=rest)) as running:
            error = await until(lambda: running.status().http_error, "it says so", deadline=60)
            assert error.startswith(f"cannot listen on 127.0.0.1:{port}: another program has that port")
            assert running.status().http == ""
            async with running.client() as client:
                assert (await client.chat("Hello?")).text
            taken.close()
            assert await listening(running) == f"http://127.0.0.1:{port}"
            assert running.status().http_error == ""


def guard(*hosts: str) -> Guard:
    return Guard(hosts, lambda: TOKEN)


def refusal(path: str, headers: dict[str, str], *hosts: str) -> int:
    """The status, 0 where the request is let in."""
    try:
        guard(*hosts).check(path, headers)
    except RefusedError as error:
        return error.refusal.status
    return 0


OURS = {"host": "127.0.0.1:8765", "authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 0),
        ({"host": "localhost:8765"}, 0),
        ({"host": "LOCALHOST."}, 0),
        ({"host": "[::1]:8765"}, 0),
        ({"host": "mac.local:8765"}, 0),
        ({"host": "evil.test:8765"}, 421),
        ({"host": "localhost.evil.test"}, 421),
        ({"host": "127.0.0.1.evil.test:8765"}, 421),
        ({"host": ""}, 421),
        ({"origin": "http://localhost:3000"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 0),
        ({"authorization": ""}, 401),
        ({"authorization": TOKEN}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": "Bearer \udcff\u00e9"}, 401),
        ({"authorization": "", "x-api-key": TOKEN}, 0),
        ({"authorization": "Bearer wrong", "x-api-key": TOKEN}, 401),
    ],
    ids=str,
)
def test_who_is_let_in(headers: dict[str, str], status: int) -> None:
    assert refusal("/v1/models", OURS | headers, "mac.local") == status


def test_what_needs_no_token_needs_the_rest() -> None:
    assert refusal("/health", {"host": "localhost"}) == 0
    assert refusal("/", {"host": "localhost"}) == 0
    assert refusal("/health", {"host": "evil.test"}) == 421
    assert refusal("/", {"host": "localhost", "origin": "http://evil.test"}) == 403


def test_a_token_file_that_is_emptied_lets_nobody_in(tmp_path: Path) -> None:
    token = Token(tmp_path)
    first = token()
    assert (tmp_path / FILE).read_text() == f"{first}\n"
    (tmp_path / FILE).write_text("")
    assert len(token()) > 20
    assert token() != token()


LISTENS: list[tuple[str, str]] = [
    ("0.0.0.0:8765", "http.listen: other machines could ask at 0.0.0.0:8765"),
    ("192.168.1.2:8765", "http.listen: other machines could ask at 192.168.1.2:8765"),
    ("8765", "http.listen: '8765' is not an address and a port"),
    ("mac.local:8765", "http.listen: 'mac.local:8765' is not an address and a port"),
    ("127.0.0.1:99999", "http.listen: '127.0.0.1:99999' is not an address and a port"),
    ("127.0.0.1", "http.listen: '127.0.0.1' is not an address and a port"),
]


def loaded(http: str) -> Any:
    return load(f"backends: {{a: {{mlx: {{model: m}}}}}}\ndefault: a\nhttp: {http}", "routes.yaml").config.http


@pytest.mark.parametrize(("listen", "wrong"), LISTENS, ids=[listen for listen, _ in LISTENS])
def test_an_address_that_is_refused(listen: str, wrong: str) -> None:
    with pytest.raises(ConfigFailedError) as failed:
        loaded(f"{{listen: '{listen}'}}")

    (error,) = failed.value.errors
    assert (error.line, error.message) == (3, wrong)
    assert error.hint


@pytest.mark.parametrize("url", ["http://127.0.0.1:8765/v1", "http://localhost:8765", "http://127.0.0.1:8765"])
def test_a_backend_that_is_routerd_itself(url: str) -> None:
    text = (
        f"backends:\n  a: {{openai: {{model: m, base_url: '{url}'}}}}\ndefault: a\nhttp: {{listen: 'localhost:8765'}}"
    )
    with pytest.raises(ConfigFailedError) as failed:
        load(text, "routes.yaml")

    (error,) = failed.value.errors
    assert (error.line, error.column) == (2, 36)
    assert error.message == "backends.a.openai.base_url: routerd itself listens there (http.listen)"
    assert load(text.replace("listen: 'localhost:8765'", "listen: 'localhost:8766'"), "routes.yaml")


def test_addresses_that_are_taken() -> None:
    assert loaded("{listen: '127.0.0.1:8765'}").place == ("127.0.0.1", 8765)
    assert loaded("{listen: localhost:1}").place == ("127.0.0.1", 1)
    assert loaded("{listen: '[::1]:8765'}").place == ("::1", 8765)
    assert loaded("{listen: 0.0.0.0:8765, remote: true, hosts: [mac.local]}").hosts == ("mac.local",)


def test_the_command_prints_the_token(tmp_path: Path) -> None:
    env = {"ROUTERD_STATE_DIR": str(tmp_path), "ROUTERD_SOCKET": str(tmp_path / "none.sock")}
    first = ctl("token", env=env)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == (tmp_path / FILE).read_text() == ctl("token", env=env).stdout
    rotated = ctl("token", "--rotate", env=env).stdout
    assert rotated == (tmp_path / FILE).read_text()
    assert rotated != first.stdout
