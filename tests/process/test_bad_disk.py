"""The daemon where its state folder is on a read-only disk, or its ledger is damaged."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from routerd_client.errors import RequestFailedError
from tests.support.daemon import standalone_daemon
from tests.support.small_disk import with_read_only
from tests.support.wait import until_blocking


def test_it_starts_and_answers_where_its_state_cannot_be_written(tmp_path: Path, routes_yaml: str) -> None:
    with standalone_daemon(tmp_path, routes_yaml) as daemon, daemon.client() as client:
        before = client.chat("before").request_id
        assert client.decisions()  # so it is on the disk
        daemon.signal(signal.SIGKILL)  # leaves its lock, workers.json, and a journal beside the ledger
        daemon.wait()

    text = f"{routes_yaml}http: {{listen: 127.0.0.1:8765}}\n"
    prefix = with_read_only(daemon.places.state)
    with standalone_daemon(tmp_path, text, prefix=prefix) as daemon, daemon.client() as client:
        status = client.status()
        assert status.ledger
        assert status.ledger.mode == "memory"
        assert "read" in status.ledger.reason.lower()
        until_blocking(lambda: "the token cannot be kept" in client.status().http_error, "it says so")

        after = client.chat("after").request_id
        assert [chat.request_id for chat in client.decisions()] == [after, before]
        assert [chat.request_id for chat in client.decisions(limit=1)] == [after]
        assert [chat.request_id for chat in client.decisions(before=after)] == [before]
        assert client.decisions(before=before) == []
        assert client.show(before).outcome.value == "ok"
        client.feedback(before, ok=True)
        with pytest.raises(RequestFailedError, match="no request 'nobody' while it is in memory"):
            client.feedback("nobody", ok=True)

        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    said = daemon.stderr
    assert said.count("log.unwritable") == 1
    assert "state.unwritable" in said
    assert "Traceback" not in said


def test_a_damaged_ledger_is_told_as_long_as_it_stands_there(tmp_path: Path, routes_yaml: str) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state/ledger.db").write_bytes(b"no database at all " * 300)
    with standalone_daemon(tmp_path, routes_yaml) as daemon:
        (aside,) = daemon.places.state.glob("ledger.db.corrupt-*")
        assert f"what was in it is in {aside}" in daemon.ctl("status").stdout
        assert f"what was in it is in {aside}" in daemon.ctl("doctor").stdout
