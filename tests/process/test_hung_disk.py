"""The daemon where a disk hangs: it answers, whoever waits for that disk gets an error, and it stops."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from routerd_client.errors import RequestFailedError
from tests.support.daemon import Standalone, make_places, standalone_daemon
from tests.support.hung_disk import with_hung

HTTP = '{{openai: {{model: m, base_url: "http://127.0.0.1:9/v1", api_key: {{file: {hung}/key}}}}}}'


@pytest.fixture
def hung(tmp_path: Path) -> Path:
    folder = tmp_path / "hung"
    folder.mkdir()
    return folder


def test_what_lies_on_a_hung_disk_holds_up_nobody_else(tmp_path: Path, hung: Path, routes_yaml: str) -> None:
    with standalone_daemon(tmp_path, routes_yaml, prefix=with_hung(hung)) as daemon, daemon.client() as client:
        pid = client.status().pid

        daemon.places.config.write_text(f"{routes_yaml}persona: {hung}/SOUL.md\n")
        (error,) = client.reload().errors
        line = routes_yaml.count("\n") + 1
        assert (error.line, error.column) == (line, 10)
        assert f"the disk did not answer within 10 s: {hung}/SOUL.md; check that disk" in error.message
        assert client.status().config_errors == [error]
        assert client.chat("Hello").backend == "small"

        text = routes_yaml.replace("backends:\n", f"backends:\n  there: {{mlx: {{model: {hung}/m}}}}\n", 1)
        text = text.replace("backends:\n", f"backends:\n  api: {HTTP.format(hung=hung)}\n", 1)
        daemon.places.config.write_text(text.replace(f"model: {hung}/m", "model: org/m"))
        assert client.reload().errors == [], "the next good file is not held up by the one before"
        with pytest.raises(RequestFailedError, match=r"the disk did not answer within 10 s: .*key"):
            client.chat("Hello", model="api")
        assert client.chat("Hello").backend == "small"

        assert client.status().pid == pid
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert "Traceback" not in daemon.stderr


def test_a_state_folder_on_a_hung_disk_is_no_endless_start(
    tmp_path: Path, sockets: Path, hung: Path, routes_yaml: str
) -> None:
    (tmp_path / "state").symlink_to(hung)
    (tmp_path / "routes.yaml").write_text(routes_yaml)
    daemon = Standalone(make_places(tmp_path, sockets), with_hung(hung))
    try:
        assert daemon.process.wait(60) == 2
    finally:
        daemon.process.kill()
    assert f"the disk did not answer within 10 s: {tmp_path}/state/classifier.msgpack" in daemon.stderr
    assert "Traceback" not in daemon.stderr


def test_a_state_folder_that_comes_to_hang_is_not_waited_for(tmp_path: Path, hung: Path, routes_yaml: str) -> None:
    with standalone_daemon(tmp_path, routes_yaml, prefix=with_hung(hung)) as daemon, daemon.client() as client:
        client.chat("Hello")
        daemon.places.state.rename(tmp_path / "away")
        daemon.places.state.symlink_to(hung)  # the ledger, the log, the locks and workers.json hang from now on
        for _ in range(3):
            assert client.chat("Hello").backend == "small"
        assert client.status().pid == daemon.process.pid
        daemon.ctl("models", "unload", "small", "--force")
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(60) == 0
