"""Memory is claimed before it is used, and never twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.supervisor.memory import MemoryBook, MemoryFullError


def test_claims_add_up_until_they_are_given_back() -> None:
    book = MemoryBook(100)
    first, second = book.reserve("a", 60), book.reserve("b", 40)
    assert book.claimed == 100
    first.release()
    assert book.claimed == 40
    second.release()
    assert book.claimed == 0


def test_a_claim_that_does_not_fit_names_the_numbers_and_the_owners() -> None:
    book = MemoryBook(100)
    book.reserve("b", 30)
    book.reserve("a", 60)
    with pytest.raises(MemoryFullError, match="c needs 11 bytes; 90 of 100 are claimed by a, b"):
        book.reserve("c", 11)
    assert book.claimed == 90


def test_a_claim_may_fill_the_budget_exactly() -> None:
    assert MemoryBook(100).reserve("a", 100).size == 100


def test_without_a_budget_everything_fits() -> None:
    assert MemoryBook().reserve("a", 1 << 60).owner == "a"


def test_giving_back_twice_gives_back_once() -> None:
    book = MemoryBook(100)
    first, _ = book.reserve("a", 50), book.reserve("a", 50)
    first.release()
    first.release()
    assert book.claimed == 50


def test_a_claim_ends_with_its_with_also_after_an_error() -> None:
    book = MemoryBook(100)
    with pytest.raises(ZeroDivisionError), book.reserve("a", 100):
        raise ZeroDivisionError
    assert book.claimed == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=30))
def test_the_budget_is_never_exceeded(steps: list[tuple[bool, int]]) -> None:
    book = MemoryBook(100)
    for gives_back, size in steps:
        if gives_back and book.open:
            next(iter(book.open)).release()
        else:
            try:
                book.reserve("x", size)
            except MemoryFullError:
                assert book.claimed + size > 100
        assert 0 <= book.claimed <= 100
