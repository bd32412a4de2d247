"""What is remembered of sessions, and for how long."""

from __future__ import annotations

from routerd.dispatch.sessions import MOST, Sessions


def test_a_session_is_remembered_by_endpoint_until_it_expires() -> None:
    sessions = Sessions()
    sessions.expires = 10
    sessions.keep("s", "e", "a", 0)
    sessions.keep("s", "f", "b", 1)
    assert [sessions.backend("s", endpoint, 10.9) for endpoint in ("e", "f", "g")] == ["a", "b", ""]
    assert sessions.backend("s", "e", 11) == ""
    assert sessions.backend("other", "e", 1) == sessions.backend("", "e", 1) == ""


def test_it_lasts_longer_with_each_request() -> None:
    sessions = Sessions()
    sessions.expires = 10
    sessions.choose("s", "m", 0)
    for now in range(0, 100, 9):
        assert sessions.model("s", now) == "m"
        sessions.touch("s", now)
    assert sessions.model("s", 108) == "m"
    assert sessions.model("s", 109) == ""


def test_what_has_expired_does_not_come_back() -> None:
    sessions = Sessions()
    sessions.expires = 10
    sessions.choose("s", "m", 0)
    sessions.keep("s", "e", "a", 0)
    sessions.touch("s", 10)
    sessions.keep("s", "f", "b", 11)
    assert (sessions.model("s", 12), sessions.backend("s", "e", 12), sessions.backend("s", "f", 12)) == ("", "", "b")


def test_those_that_never_chose_are_not_remembered_for_asking() -> None:
    sessions = Sessions()
    for n in range(100):
        sessions.touch(f"{n}", 0)
    sessions.touch("", 0)
    assert len(sessions) == 0


def test_the_longest_unused_are_forgotten_first() -> None:
    sessions = Sessions()
    sessions.expires = 10 * MOST
    for n in range(MOST):
        sessions.keep(f"{n}", "e", "a", n)
    sessions.touch("0", MOST)
    sessions.keep("new", "e", "a", MOST)
    assert len(sessions) == MOST
    assert [sessions.backend(name, "e", MOST) for name in ("0", "1", "2", "new")] == ["a", "", "a", "a"]
