"""The ledger, and the locks, on a real small disk that fills up or becomes read-only."""

from __future__ import annotations

from tests.support.small_disk import on_small_disk


def test_on_a_full_disk_it_goes_on_in_memory_and_comes_back(tmp_path):
    seen = on_small_disk("full", tmp_path)
    every = ["before", "enqueued", *(f"meanwhile {n:02}" for n in range(40))]
    assert seen["mode"] == "memory"
    assert "full" in seen["reason"]
    assert seen["meanwhile"] == every
    assert (seen["after"], seen["open"], seen["dropped"]) == (every, 0, 0)


def test_a_disk_that_is_read_only_at_the_start_is_read_all_the_same(tmp_path):
    seen = on_small_disk("read_only", tmp_path)
    assert seen["mode"] == "memory"
    assert "read" in seen["reason"].lower()
    assert seen["reserved"] == 1  # limits count what was spent before
    assert (seen["after"], seen["keys"]) == (2, [])


def test_what_a_read_only_file_has_of_backends_is_learned(tmp_path):
    assert on_small_disk("older", tmp_path) == {"mode": "memory", "past": ["b"]}


def test_a_lock_needs_no_writing_and_is_written_as_soon_as_it_can_be(tmp_path):
    seen = on_small_disk("locks", tmp_path)
    assert (seen["second"], seen["third"]) == (True, True)
    assert seen["renewed"] == [False, True, False]
    assert seen["named"]
    assert seen["stands"]
    assert "is on a read-only disk; choose another with --socket" in seen["socket"]
