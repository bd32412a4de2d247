"""A reload that fails in the daemon's own hands: refused like any other, and the last good generation stays."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from routerd.app.compiled import compile_file
from routerd.app.reload import Reloader
from routerd.backends.http import Http
from routerd.config.load import ConfigFailedError, contained
from routerd.dispatch.dispatcher import Dispatcher
from routerd.health.tracker import Tracker
from routerd.logs import logging_to
from routerd.supervisor.supervisor import Supervisor
from routerd.tasks import BackgroundTasks, FailureLog
from routerd_client.protocol import ReloadResult
from tests.support.daemon import make_places, routes

FIRST = routes(a="{openai: {model: m, base_url: http://127.0.0.1:9/v1}}")
SECOND = FIRST.replace("model: m", "model: other")


class Purse:
    """A stand-in that raises for the configuration in ``refused``."""

    def __init__(self) -> None:
        self.refused = ""
        self.model = ""

    def configure(self, config: Any, _prices: object) -> None:
        model = config.backends["a"].http.model
        if model == self.refused:
            raise RuntimeError("no room for it")
        self.model = model


async def test_whatever_fails_while_it_is_taken_over_is_a_refused_reload(tmp_path: Path) -> None:
    places = make_places(tmp_path, tmp_path)
    places.config.write_text(FIRST)
    purse, published = Purse(), list[ReloadResult]()
    dispatcher = SimpleNamespace(sessions=SimpleNamespace(expires=0.0), purse=purse)
    supervisor = SimpleNamespace(reconcile=lambda _models, _memory: None)

    def publish(result: ReloadResult) -> None:
        published.append(result)
        raise KeyError("the listener fails too")

    with logging_to(tmp_path / "log", terminal=False):
        async with Http(tmp_path) as http, BackgroundTasks(FailureLog()) as tasks:
            first = compile_file(places.config, places.state)
            reloader = Reloader(
                places, first, cast("Dispatcher", dispatcher), cast("Supervisor", supervisor), http, Tracker(), publish
            )
            purse.refused = "other"
            places.config.write_text(SECOND)
            result = await reloader.reload(tasks, "a test")
            (error,) = result.errors
            assert (result.changed, result.generation, reloader.generation.number) == (False, 1, 1)
            assert (error.file, error.line) == (str(places.config), 0)
            assert "RuntimeError: no room for it" in error.message
            assert reloader.errors == [error]
            assert purse.model == "m"

            purse.refused = ""
            result = await reloader.reload(tasks, "a test")
            assert (result.changed, result.generation, result.errors) == (True, 2, [])
            assert (purse.model, reloader.errors) == ("other", [])
            assert [one.generation for one in published] == [1, 2]
    assert "no room for it" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("error", [RecursionError(), KeyError("x"), OSError("gone"), ValueError("bad"), MemoryError()])
def test_any_exception_while_a_file_is_read_is_a_mistake_of_that_file(error: Exception) -> None:
    with pytest.raises(ConfigFailedError) as caught, contained("routes.yaml"):
        raise error
    (found,) = caught.value.errors
    assert (found.file, found.line, found.column) == ("routes.yaml", 0, 0)
    assert type(error).__name__ in found.message
    assert caught.value.__cause__ is error
