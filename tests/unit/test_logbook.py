"""Reading the daemon's log back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from routerd.ctl.logbook import Tail, Wanted, decode, human, rotated, written_at

EVENT = {"event": "chat.failed", "level": "warning", "request": "3f9c0a11", "timestamp": "2026-01-02T03:04:05.006Z"}


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Wanted(), True),
        (Wanted(level="warning"), True),
        (Wanted(level="error"), False),
        (Wanted(request="3f9c"), True),
        (Wanted(request="9c"), False),
        (Wanted(since=written_at(EVENT)), True),
        (Wanted(since=written_at(EVENT) + 1), False),
    ],
    ids=repr,
)
def test_a_line_is_taken_by_level_time_and_request(wanted: Wanted, takes: bool) -> None:
    assert wanted.takes(EVENT) is takes


def test_a_line_without_level_or_time_is_shown_unless_a_time_is_asked_for() -> None:
    assert Wanted(level="error").takes({"event": "x"})
    assert not Wanted(since=1.0).takes({"event": "x"})


@pytest.mark.parametrize("line", [b"", b"half a li", b'{"event": "x"', b"[1]", b'{"a": "\xff"}'])
def test_what_is_no_line_of_the_log_is_none(line: bytes) -> None:
    assert decode(line) is None


def test_a_person_reads_time_level_event_and_the_rest() -> None:
    text = human(EVENT | {"backend": "small", "exception": "Traceback\n  boom"})

    head, *rest = text.splitlines()
    assert "chat.failed" in head
    assert "request=3f9c0a11 backend=small" in head
    assert rest == ["Traceback", "  boom"]


def test_rotated_files_come_oldest_first_and_only_those_that_reach_into_the_time(tmp_path: Path) -> None:
    log = tmp_path / "routerd.log"
    for number in (1, 2, 10):
        file = tmp_path / f"routerd.log.{number}"
        file.write_text(f"{number}\n")
        os.utime(file, (1000 - number, 1000 - number))
    (tmp_path / "routerd.log.old").write_text("not ours\n")

    assert list(rotated(log)) == [b"10\n", b"2\n", b"1\n"]
    assert list(rotated(log, since=998)) == [b"2\n", b"1\n"]


def test_a_tail_gives_whole_lines_and_goes_on_in_the_file_that_follows(tmp_path: Path) -> None:
    log = tmp_path / "routerd.log"
    with Tail(log) as tail:
        assert list(tail.news()) == []

        log.write_text("one\ntwo\nthr")
        assert list(tail.news()) == [b"one", b"two"]
        with log.open("a") as old:
            old.write("ee\n")
            old.flush()
            log.rename(tmp_path / "routerd.log.1")
            assert list(tail.news()) == [b"three"]
            old.write("last\n")
            old.flush()
            log.write_text("new\n")
            assert list(tail.news()) == [b"last", b"new"]
        log.unlink()
        assert list(tail.news()) == []
        log.write_text(json.dumps(EVENT) + "\n")
        assert [decode(line) for line in tail.news()] == [EVENT]
