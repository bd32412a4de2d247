"""Where keys are found, and what is said where they are not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from routerd.backends.base import BackendError
from routerd.backends.http import Http
from routerd.backends.secrets import AGAIN_S, Secrets
from routerd.config.types import SecretSpec
from routerd.routing.terms import Terms
from routerd.selftest.fake_api import FakeApi
from routerd_client.records import FailureKind

from .asking import KEY, ask, backend, each_kind, failure

PRINT_COUNT = (
    "import pathlib, sys; p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text() + 'x'); print(len(p.read_text()))"
)


def python(code: str, *arguments: str) -> SecretSpec:
    return SecretSpec(command=(sys.executable, "-c", code, *arguments))


@pytest.fixture
def counted(tmp_path: Path) -> SecretSpec:
    """A command that says how often it has been run."""
    file = tmp_path / "count"
    file.write_text("")
    return python(PRINT_COUNT, str(file))


async def test_every_place(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "key").chmod(0o600)
    os.environ["ROUTERD_TEST_KEY"] = KEY
    keychain = (sys.executable, "-c", "import sys; print(dict(api='" + KEY + "')[sys.argv[1]])")
    secrets = Secrets(tmp_path, keychain=keychain)

    places = [
        SecretSpec(inline=KEY),
        SecretSpec(env="ROUTERD_TEST_KEY"),
        SecretSpec(file="key"),
        SecretSpec(file=str(tmp_path / "key")),
        SecretSpec(keychain="api"),
        python(f"print('{KEY}')"),
    ]
    try:
        with capture_logs() as logs:
            assert [await secrets.resolve(place) for place in places] == [KEY] * len(places)
    finally:
        del os.environ["ROUTERD_TEST_KEY"]

    assert logs == []
    assert KEY not in repr(secrets)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (SecretSpec(env="ROUTERD_NOT_SET"), "environment variable ROUTERD_NOT_SET is not set"),
        (SecretSpec(file="nothing"), "nothing could not be read: No such file"),
        (SecretSpec(file="."), "could not be read: Is a directory"),
        (SecretSpec(file="empty"), "file empty is empty"),
        (SecretSpec(file="two"), "has characters that a header cannot carry"),
        (SecretSpec(keychain="api"), "keychain (api) is there on macOS alone"),
        (SecretSpec(command=("/nowhere/tool",)), "command /nowhere/tool could not be started: No such file"),
        (python("import sys; print('sk-secret-out'); sys.exit(3)"), "failed with status 3"),
        (python("import time; time.sleep(60)"), "gave no answer within 0.5 s"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_where_it_was_looked_for(tmp_path: Path, spec: SecretSpec, words: str) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "two").write_text("sk-secret-one\nsk-secret-two")

    with pytest.raises(BackendError) as caught:
        await Secrets(tmp_path, keychain=(), timeout=0.5).resolve(spec)

    assert caught.value.kind is FailureKind.AUTH_FAILED
    assert caught.value.retry_after_s == AGAIN_S, "a locked keychain is no wrong key"
    assert words in caught.value.message
    assert "sk-secret" not in caught.value.message + caught.value.hint


async def test_a_file_that_others_can_read_is_warned_of_once(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o644)
    secrets = Secrets(tmp_path)

    with capture_logs() as logs:
        for _ in range(3):
            assert await secrets.resolve(SecretSpec(file="key"), anew=True) == KEY

    assert [entry["event"] for entry in logs] == ["secret.others_can_read"]
    assert KEY not in str(logs)


async def test_many_requests_look_once(tmp_path: Path, counted: SecretSpec) -> None:
    secrets = Secrets(tmp_path)
    found: list[str] = []

    async def look() -> None:
        found.append(await secrets.resolve(counted))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(look)

    assert found == ["1"] * 5
    assert await secrets.resolve(counted, anew=True) == "2"
    assert await secrets.resolve(counted) == "2"


@each_kind
async def test_a_key_that_was_changed_is_looked_up_anew(
    http: Http, api: FakeApi, kind: str, counted: SecretSpec
) -> None:
    there = backend(http, kind, api.base_url, api_key=counted)
    api.knobs.key = "1"
    assert (await ask(there)).text == "Hello, world!"

    api.knobs.key = "2"
    assert (await ask(there)).text == "Hello, world!"

    api.knobs.key = "never"
    assert (await failure(there)).kind is FailureKind.AUTH_FAILED


async def test_a_routes_key_goes_before_the_backends(http: Http, api: FakeApi) -> None:
    api.knobs.key = "of-the-route"

    await ask(backend(http, "openai", api.base_url), terms=Terms(api_key=SecretSpec(inline="of-the-route")))

    assert api.asked[0].headers["authorization"] == "Bearer of-the-route"


async def test_no_key_where_none_is_configured(http: Http, api: FakeApi) -> None:
    await ask(backend(http, "openai", api.base_url, api_key=None))

    assert "authorization" not in api.asked[0].headers
