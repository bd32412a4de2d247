"""Reports of model processes that died: what their files hold, and how many are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from routerd.crashes import KEEP, Crash, keep, kept, parse, render

CRASH = Crash(
    at="2026-01-02T03:04:05.000006+00:00",
    backend="small",
    pid=77,
    kind="worker_died",
    says="the model process was killed by signal 11 (SIGSEGV) while it answered",
    planned=2_000_000_000,
    measured=1_500_000_000,
    command="python -m routerd.worker serve --model '/models/a b'",
    stderr=("Fatal Python error: Segmentation fault", "Thread 0x1: no Python frame"),
)


@pytest.mark.parametrize(
    "crash", [CRASH, replace(CRASH, stderr=()), replace(CRASH, command="", says="")], ids=["all", "silent", "bare"]
)
def test_a_report_is_read_as_it_was_written(crash: Crash) -> None:
    assert parse(render(crash)) == crash


def test_a_field_of_two_lines_stays_one_field() -> None:
    assert parse(render(replace(CRASH, says="first: line\n\nsecond"))).says == "first: line second"


@pytest.mark.parametrize("text", ["", "nonsense", "at: now\n\nx", render(CRASH).replace("pid: 77", "pid: many")])
def test_what_is_no_report_is_passed_over(text: str, tmp_path: Path) -> None:
    keep(tmp_path, CRASH)
    (tmp_path / "crashes" / "z.txt").write_text(text)

    with pytest.raises(ValueError, match="no report of a crash"):
        parse(text)
    assert [crash for _, crash in kept(tmp_path)] == [CRASH]


def test_the_last_twenty_are_kept_the_oldest_first(tmp_path: Path) -> None:
    for number in range(KEEP + 5):
        keep(tmp_path, replace(CRASH, at=f"2026-01-{number + 1:02}T00:00:00+00:00"))

    days = [crash.at[8:10] for _, crash in kept(tmp_path)]
    assert days == [f"{day:02}" for day in range(6, KEEP + 6)]


def test_without_a_crash_there_is_nothing(tmp_path: Path) -> None:
    assert list(kept(tmp_path)) == []
