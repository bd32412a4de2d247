"""The log's files: when a new one begins, and what is kept."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from routerd import logs
from tests.support.wait import until_blocking


def lines(file: Path) -> list[str]:
    return [json.loads(line)["event"] for line in file.read_text().splitlines()]


@pytest.mark.parametrize(("days", "rotated"), [(6, False), (8, True)])
def test_a_file_whose_oldest_line_is_a_week_old_is_put_aside(days: int, rotated: bool, tmp_path: Path) -> None:
    file = tmp_path / "routerd.log"
    began = datetime.now(UTC) - timedelta(days=days)
    file.write_text(json.dumps({"event": "old", "timestamp": began.isoformat()}) + "\n")

    with logs.logging_to(file, terminal=False):
        structlog.get_logger().info("new")

    assert (tmp_path / "routerd.log.1").exists() is rotated
    assert lines(file) == (["new"] if rotated else ["old", "new"])


def test_a_full_file_is_put_aside_and_five_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "routerd.log"
    for round_ in range(7):
        with file.open("a") as log:
            log.truncate(logs.MAX_BYTES)
        with logs.logging_to(file, terminal=False):
            structlog.get_logger().info(f"round {round_}")

    assert sorted(p.name for p in tmp_path.iterdir()) == ["routerd.log", *(f"routerd.log.{n}" for n in range(1, 6))]
    assert lines(file) == ["round 6"]


def test_a_log_that_is_deleted_under_the_daemon_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "routerd.log"
    with logs.logging_to(file, terminal=False):
        log = structlog.get_logger()
        log.info("first")
        until_blocking(file.exists, "the log begins")
        shutil.rmtree(file.parent)
        log.info("second")

    assert lines(file)[-1] == "second"


@pytest.mark.parametrize("text", ["", "no json\n", '{"event": "x"}\n', '{"timestamp": 7}\n', '{"timestamp": "soon"}\n'])
def test_a_log_whose_beginning_nobody_can_date_is_gone_on_with(text: str, tmp_path: Path) -> None:
    file = tmp_path / "routerd.log"
    file.write_text(text)
    with logs.logging_to(file, terminal=False):
        structlog.get_logger().info("new")

    assert file.read_text().startswith(text)
    assert not (tmp_path / "routerd.log.1").exists()


def test_lines_that_a_stuck_disk_leaves_waiting_are_bounded_and_counted() -> None:
    seen: list[str] = []
    stuck, goes_on = threading.Event(), threading.Event()

    class Disk(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            stuck.set()
            assert goes_on.wait(30)
            event: Any = record.msg
            seen.append(event["event"] if event["event"] != "log.dropped" else f"dropped {event['lines']}")

    lines = logs._Lines()
    with lines.written([Disk()]):
        lines.info({"event": "first"})
        assert stuck.wait(30)
        for _ in range(logs.MOST_WAITING + 5):
            lines.info({"event": "more"})
        goes_on.set()

    assert (seen[0], len(seen), seen[-1]) == ("first", logs.MOST_WAITING + 2, "dropped 5")
