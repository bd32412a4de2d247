"""How a death is put in words."""

from __future__ import annotations

import pytest

from routerd.supervisor.death import End, explain
from routerd_client.records import FailureKind


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (End(code=0, loaded=False), "exited with code 0 while it loaded"),
        (End(code=0, loaded=True, in_flight=2), "exited with code 0 while it answered"),
        (End(code=1, loaded=True), "exited with code 1 while it was idle"),
        (End(code=-6, loaded=True), "was killed by signal 6 (SIGABRT) while it was idle"),
        (End(code=-99, loaded=True), "was killed by signal 99 (unknown) while it was idle"),
        (End(code=-9, loaded=True, forced=True), "closed its socket, and was killed, while it was idle"),
        (End(code=1, loaded=False, last_words="woe"), "exited with code 1 while it loaded; its last words: woe"),
    ],
)
def test_an_end_that_nobody_asked_for_is_a_death(end: End, words: str) -> None:
    failure = explain(end)

    assert failure.kind is FailureKind.WORKER_DIED
    assert failure.message == f"the model process {words}"


def test_out_of_memory_says_what_was_planned_what_was_seen_and_what_to_do() -> None:
    end = End(code=-9, loaded=True, in_flight=1, oom_killed=True, planned=6_000_000_000, measured=7_100_000_000)
    failure = explain(end)

    assert failure.kind is FailureKind.OOM_KILLED
    assert "planned at 6GB and seen to have 7.1GB" in failure.message
    assert "next load asks for more" in failure.hint


def test_out_of_memory_before_anything_was_measured() -> None:
    failure = explain(End(code=-9, loaded=False, oom_killed=True, planned=6_000_000_000))

    assert "while it loaded" in failure.message
    assert "planned at 6GB and not measured yet" in failure.message
