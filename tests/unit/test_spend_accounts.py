"""The books: no order of events spends more than the limits; days and months are those of the user's home."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from routerd.config.budgets import BudgetsSpec, LimitSpec
from routerd.spend.accounts import EVERY, MOST, Accounts, Entry, Reservation
from routerd.spend.budget import TOTAL, Calendar, Denied, Limit, limits, scopes

BERLIN = ZoneInfo("Europe/Berlin")
DAY = 86_400.0


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def books(zone: ZoneInfo = BERLIN, **given: Limit) -> Accounts:
    return Accounts(Calendar(zone), {name.replace("_", ":"): limit for name, limit in given.items()})


LIMITS = {
    TOTAL: Limit(1000, 2500),
    "backend:a": Limit(400, None),
    "route:r": Limit(None, 900),
    "client:c": Limit(300, 800),
}


class Spending(RuleBasedStateMachine):
    """Any interleaving of reservations, settlements and clocks, against the sums done the slow way."""

    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.accounts = Accounts(Calendar(BERLIN), LIMITS)
        self.now = at("2026-03-27T12:00")  # a change of the clocks and a month's end are near
        self.count = 0
        self.taken: dict[str, Reservation] = {}
        self.done: list[tuple[Reservation, int]] = []

    @rule(
        target=reservations,
        amount=st.integers(0, 700),
        backend=st.sampled_from("ab"),
        route=st.sampled_from(["r", ""]),
        client=st.sampled_from(["c", ""]),
    )
    def reserve(self, amount: int, backend: str, route: str, client: str) -> str:
        self.count += 1
        id_ = str(self.count)
        found = self.accounts.reserve(id_, scopes(backend, route, client), amount, self.now)
        if isinstance(found, Denied):
            assert not found.waits or self.taken
        else:
            self.taken[id_] = found
        return id_

    @rule(id_=consumes(reservations), share=st.floats(0, 1))
    def settle(self, id_: str, share: float) -> None:
        if reservation := self.taken.pop(id_, None):
            amount = int(reservation.amount * share)
            self.accounts.settle(id_, amount)
            self.done.append((reservation, amount))

    @rule(id_=consumes(reservations))
    def release(self, id_: str) -> None:
        if self.taken.pop(id_, None):
            self.accounts.release(id_)

    @rule(id_=consumes(reservations))
    def forfeit(self, id_: str) -> None:
        if reservation := self.taken.pop(id_, None):
            self.accounts.settle(id_, reservation.amount)
            self.done.append((reservation, reservation.amount))

    @rule(seconds=st.floats(-3 * DAY, 2 * DAY))
    def turn_the_clock(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def nothing_is_beyond_a_limit(self) -> None:
        counted = [*self.done, *((reservation, reservation.amount) for reservation in self.taken.values())]
        periods = {period for r, _ in counted for period in (r.period.day, r.period.month)}
        for scope, limit in LIMITS.items():
            for period in periods:
                total = sum(a for r, a in counted if scope in r.scopes and period in (r.period.day, r.period.month))
                assert total == self.accounts.spent(scope, period) + self.accounts.reserved(scope, period)
                most = limit.daily if len(period) == 10 else limit.monthly
                assert most is None or total <= most


Spending.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSpending = Spending.TestCase


def test_a_denial_says_which_limit_and_whether_waiting_helps() -> None:
    accounts = books(total=Limit(100, 150))
    now = at("2026-11-21T12:00")

    accounts.reserve("a", (TOTAL,), 80, now)
    waiting = accounts.reserve("b", (TOTAL,), 30, now)
    assert isinstance(waiting, Denied)
    assert (waiting.word, waiting.waits) == ("budget_daily", True)

    accounts.settle("a", 80)
    never = accounts.reserve("b", (TOTAL,), 30, now)
    assert isinstance(never, Denied)
    assert (
        str(never)
        == "budget_daily: $0.00008 of $0.0001 spent today; $0.00002 is left, and this request may cost $0.00003"
    )
    assert not never.waits
    assert isinstance(accounts.reserve("b", (TOTAL,), 20, now), Reservation)

    monthly = accounts.reserve("c", (TOTAL,), 60, now + DAY)
    assert isinstance(monthly, Denied)
    assert monthly.word == "budget_monthly"


def test_a_reservation_is_settled_once() -> None:
    accounts = books(total=Limit(100, None))
    accounts.reserve("a", (TOTAL,), 80, at("2026-11-21T12:00"))
    accounts.settle("a", 10)

    with pytest.raises(KeyError):
        accounts.settle("a", 10)
    with pytest.raises(KeyError):
        accounts.release("a")


def test_what_is_reserved_before_midnight_counts_on_that_day() -> None:
    accounts = books(total=Limit(100, None))
    accounts.reserve("late", (TOTAL,), 100, at("2026-11-21T23:59:59"))

    assert isinstance(accounts.reserve("early", (TOTAL,), 100, at("2026-11-22T00:00:01")), Reservation)
    accounts.settle("late", 100)
    assert accounts.spent(TOTAL, "2026-11-21") == 100
    assert accounts.spent(TOTAL, "2026-11-22") == 0


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2026-03-28T23:59:59", "2026-03-28"),
        ("2026-03-29T00:00:00", "2026-03-29"),  # a day of 23 hours
        ("2026-03-29T23:59:59", "2026-03-29"),
        ("2026-10-25T00:00:00", "2026-10-25"),  # and one of 25
        ("2026-10-25T23:59:59", "2026-10-25"),
        ("2026-10-31T23:59:59", "2026-10-31"),
        ("2026-11-01T00:00:00", "2026-11-01"),
        ("2028-02-29T12:00:00", "2028-02-29"),
        ("2026-12-31T23:59:59", "2026-12-31"),
    ],
)
def test_a_day_is_one_where_the_user_lives(moment: str, day: str) -> None:
    period = Calendar(BERLIN).today(at(moment))

    assert (period.day, period.month) == (day, day[:7])


def test_every_second_of_a_year_with_two_changes_of_the_clocks_has_its_day() -> None:
    calendar, moment, days = Calendar(BERLIN), at("2026-01-01T00:00"), []
    while moment < at("2027-01-01T00:00"):
        day = calendar.today(moment).day
        if not days or days[-1][0] != day:
            days.append((day, moment))
        moment += 1800

    assert len(days) == 365
    lengths = {second[1] - first[1] for first, second in pairwise(days)}
    assert lengths == {23 * 3600, 24 * 3600, 25 * 3600}


def test_a_clock_that_is_set_back_opens_no_fresh_day() -> None:
    accounts = books(total=Limit(100, 100))
    accounts.reserve("a", (TOTAL,), 100, at("2026-11-02T08:00"))
    accounts.settle("a", 100)

    for earlier in ("2026-11-01T08:00", "2026-10-31T08:00", "2020-01-01T00:00"):
        assert isinstance(accounts.reserve("b", (TOTAL,), 1, at(earlier)), Denied)


def test_after_a_restart_too() -> None:
    accounts = books(total=Limit(100, 100))
    accounts.load([Entry(at("2026-11-02T08:00"), (TOTAL,), 100)])

    assert isinstance(accounts.reserve("b", (TOTAL,), 1, at("2026-10-02T08:00")), Denied)


def test_a_clock_that_was_wrong_is_believed_again_when_somebody_says_so() -> None:
    accounts = books(total=Limit(100, 1000))
    accounts.reserve("a", (TOTAL,), 60, at("2031-01-01T08:00"))
    accounts.settle("a", 60)
    now = at("2026-11-21T12:00")

    accounts.restart(now)

    assert accounts.spent(TOTAL, "2026-11-21") == 60
    assert accounts.spent(TOTAL, "2026-11") == 60
    assert isinstance(accounts.reserve("b", (TOTAL,), 41, now), Denied)
    assert isinstance(accounts.reserve("c", (TOTAL,), 40, now), Reservation)


def test_what_nobody_can_divide_counts_everywhere() -> None:
    accounts = books(total=Limit(100, None), backend_a=Limit(50, None))
    now = at("2026-11-21T12:00")
    accounts.load([Entry(now, (EVERY,), 30)])

    assert accounts.spent("backend:a", "2026-11-21") == 30
    assert accounts.spent(TOTAL, "2026-11-21") == 30
    assert isinstance(accounts.reserve("b", scopes("a", "", ""), 21, now), Denied)
    assert isinstance(accounts.reserve("c", scopes("b", "", ""), 70, now), Reservation)


def test_clients_that_call_themselves_anything_are_kept_apart_up_to_a_number() -> None:
    accounts = books(total=Limit(None, 10**9), client_known=Limit(10**6, None))
    now = at("2026-11-21T12:00")
    for n in range(2 * MOST):
        accounts.record(scopes("a", "", f"c{n}"), 1, now)
    accounts.record(scopes("a", "", "known"), 5, now)

    assert len(accounts.scopes()) <= MOST + 3
    assert accounts.spent("client:known", "2026-11-21") == 5
    assert accounts.spent(TOTAL, "2026-11") == accounts.spent("backend:a", "2026-11") == 2 * MOST + 5
    each = [accounts.spent(f"client:c{n}", "2026-11") for n in range(2 * MOST)]
    assert sum(each) + accounts.spent("client:(others)", "2026-11") == 2 * MOST


def test_who_was_not_kept_apart_and_gets_a_limit_may_have_spent_all_of_the_others() -> None:
    accounts = books()
    now = at("2026-11-21T12:00")
    for n in range(2 * MOST):
        accounts.record(scopes("a", "", f"c{n}"), 1, now)
    accounts.record(scopes("a", "", "late"), 30, now)

    accounts.limit({"client:late": Limit(MOST, None), "client:c1": Limit(MOST, None)})

    assert accounts.spent("client:late", "2026-11-21") >= 30
    assert accounts.spent("client:c1", "2026-11-21") == 1
    assert isinstance(accounts.reserve("x", scopes("a", "", "late"), MOST - 30, now), Denied)


def test_days_that_are_over_are_kept_only_where_a_limit_may_ask_for_them() -> None:
    accounts = books(client_known=Limit(100, None))
    for day in range(1, 31):
        for name in ("known", "other"):
            accounts.record(scopes("a", "", name), 1, at(f"2026-11-{day:02}T12:00"))

    assert accounts.spent("client:known", "2026-11-01") == accounts.spent(TOTAL, "2026-11-01") / 2 == 1
    assert accounts.spent("client:other", "2026-11-01") == 0
    assert accounts.spent("client:other", "2026-11-29") == 1  # in another time zone it may be today
    assert accounts.spent("client:other", "2026-11") == 30


def test_nothing_is_kept_of_reservations_that_are_closed() -> None:
    accounts = books(total=Limit(100, None))
    for n in range(3):
        accounts.reserve(f"r{n}", scopes("a", "", f"c{n}"), 10, at("2026-11-21T12:00"))
        accounts.settle(f"r{n}", 0)

    assert accounts.scopes() == [TOTAL]


def test_locked_books_allow_nothing() -> None:
    accounts = books()
    accounts.locked = "the ledger cannot be read"

    denied = accounts.reserve("a", (TOTAL,), 1, 0.0)
    assert isinstance(denied, Denied)
    assert denied.word == "budget_locked"
    assert str(denied).endswith("the ledger cannot be read; say what was spent: routerctl budget set-spent")


def test_the_files_budgets_are_read() -> None:
    spec = BudgetsSpec(
        daily_usd=5.0,
        backends={"a": LimitSpec(monthly_usd=0.1)},
        clients={"c": LimitSpec(daily_usd=0.0)},
        routes={"none": LimitSpec()},
    )

    assert limits(spec) == {
        TOTAL: Limit(5_000_000, None),
        "backend:a": Limit(None, 100_000),
        "client:c": Limit(0, None),
    }
