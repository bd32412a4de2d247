"""Quotas: their windows, what is left, and what providers say of them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from routerd.backends.rate_limits import rate_limits
from routerd.config.schema import QuotaSpec
from routerd.spend.quota import Meter, Quotas, Told, Use
from routerd.spend.windows import window

BERLIN = ZoneInfo("Europe/Berlin")
DAY = 86_400.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("per", "moment", "starts", "begin", "end"),
    [
        ("minute", "2026-11-21T12:34:56", None, "2026-11-21T12:34:00", "2026-11-21T12:35:00"),
        ("hour", "2026-11-21T12:34:56", "2026-11-01T00:30", "2026-11-21T12:30:00", "2026-11-21T13:30:00"),
        ("5h", "2026-11-21T12:34:56", "2026-11-21T09:00", "2026-11-21T09:00:00", "2026-11-21T14:00:00"),
        ("day", "2026-03-29T12:00:00", None, "2026-03-29T00:00:00", "2026-03-30T00:00:00"),
        ("day", "2026-11-21T08:59:59", "2026-11-01T09:00", "2026-11-20T09:00:00", "2026-11-21T09:00:00"),
        ("week", "2026-11-21T12:00:00", None, "2026-11-16T00:00:00", "2026-11-23T00:00:00"),
        ("week", "2026-11-21T12:00:00", "2026-11-03T09:00", "2026-11-17T09:00:00", "2026-11-24T09:00:00"),
        ("week", "2026-11-17T08:00:00", "2026-11-03T09:00", "2026-11-10T09:00:00", "2026-11-17T09:00:00"),
        ("month", "2026-11-21T12:00:00", None, "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
        ("month", "2026-12-31T12:00:00", "2026-01-31T10:00", "2026-12-31T10:00:00", "2027-01-31T10:00:00"),
        ("month", "2026-03-01T12:00:00", "2026-01-31T10:00", "2026-02-28T10:00:00", "2026-03-31T10:00:00"),
        ("month", "2026-01-15T12:00:00", "2026-01-31T10:00", "2025-12-31T10:00:00", "2026-01-31T10:00:00"),
    ],
)
def test_windows_follow_the_clock_on_the_wall(per: str, moment: str, starts: str | None, begin: str, end: str) -> None:
    anchor = datetime.fromisoformat(starts) if starts else None

    assert window(per, at(moment), BERLIN, anchor) == (at(begin), at(end))


def test_windows_follow_each_other_without_gaps_for_years() -> None:
    for per in ("day", "week", "month"):
        moment = at("2025-01-31T10:00")
        for _ in range(100):
            begin, end = window(per, moment, BERLIN, datetime.fromisoformat("2024-01-31T02:30"))  # in the spring gap
            assert begin <= moment < end
            assert window(per, end, BERLIN, datetime.fromisoformat("2024-01-31T02:30"))[0] == end
            moment = end


def tokens(per: str = "week", amount: int = 1000, **more: object) -> QuotaSpec:
    return QuotaSpec(per=per, tokens=amount, **more)  # type: ignore[arg-type]


def test_a_fixed_window_is_full_again_at_its_end() -> None:
    meter = Meter(tokens(), BERLIN)
    meter.add(1000, at("2026-11-21T12:00"))

    assert meter.left(at("2026-11-22T23:59")) == 0
    assert "1000 of 1000 tokens used in this week" in meter.spent(at("2026-11-22T23:59"))
    assert meter.left(at("2026-11-23T00:00")) == 1000
    assert meter.resets_at(at("2026-11-22T12:00")) == at("2026-11-23T00:00")


def test_a_clock_that_is_set_back_fills_no_quota() -> None:
    meter = Meter(tokens(), BERLIN)
    meter.add(1000, at("2026-11-21T12:00"))

    assert meter.left(at("2026-11-02T12:00")) == 0
    meter.add(10, at("2026-11-02T12:00"))
    assert meter.used(at("2026-11-21T13:00")) == 1010


def test_a_rolling_window_gives_back_what_is_old() -> None:
    meter = Meter(tokens("hour", 100, window="rolling"), BERLIN)
    for minute in range(60):
        meter.add(1, 60.0 * minute)

    assert meter.used(3599) == 60
    assert 29 <= meter.used(3600 + 30 * 60) <= 31
    assert meter.used(3 * 3600) == 0


def test_five_hours_begin_with_the_first_request() -> None:
    meter = Meter(QuotaSpec(per="5h", requests=10), BERLIN)
    meter.add(1, 1000.0)

    assert meter.resets_at(1001.0) == 1000 + 5 * 3600
    meter.add(1, 1000 + 6 * 3600)
    assert meter.used(1000 + 6 * 3600) == 1
    assert meter.resets_at(1000 + 6 * 3600) == 1000 + 11 * 3600


def test_pressure_is_what_is_left_against_the_time_that_is_left() -> None:
    meter = Meter(tokens(), BERLIN)
    monday = at("2026-11-16T00:00")
    meter.add(500, monday)

    assert meter.pressure(monday) == pytest.approx(0.5)
    assert meter.pressure(monday + 3.5 * DAY) == pytest.approx(1.0)
    assert meter.pressure(monday + 6.3 * DAY) == pytest.approx(5.0)


def quotas(*specs: QuotaSpec) -> Quotas:
    found = Quotas()
    assert found.configure({"a": specs}, BERLIN) == ["a"]
    found.load("a", [])
    return found


def test_open_requests_count_and_the_tightest_quota_decides() -> None:
    found = quotas(tokens("week", 1000), QuotaSpec(per="minute", requests=2))
    use = Use(tokens=300, requests=1)

    assert found.hold("a", use, 0.0) == ""
    assert found.hold("a", use, 0.0) == ""
    assert "requests a minute" in found.hold("a", use, 0.0)
    found.let_go("a", use, Use(tokens=100, requests=1), 1.0)
    found.let_go("a", use, Use(), 1.0)  # it never left
    assert [meter.used(2.0) for meter in found.meters("a")] == [100, 1]
    assert [meter.held for meter in found.meters("a")] == [0, 0]
    assert found.pressure("a", 2.0) == min(meter.pressure(2.0) for meter in found.meters("a"))
    assert found.pressure("other", 2.0) is None


def test_a_request_larger_than_a_quota_may_have_a_fresh_one_alone() -> None:
    found = quotas(tokens("minute", 100))

    assert found.hold("a", Use(tokens=500), 0.0) == ""
    assert found.hold("a", Use(tokens=1), 0.0) != ""


def test_a_reload_keeps_what_was_used() -> None:
    found = quotas(tokens("week", 1000))
    found.let_go("a", Use(), Use(tokens=400), at("2026-11-21T12:00"))

    assert found.configure({"a": (tokens("week", 1000), tokens("day", 500))}, BERLIN) == ["a"]
    found.load("a", [(at("2026-11-21T12:00"), Use(tokens=400))])

    assert [meter.used(at("2026-11-21T13:00")) for meter in found.meters("a")] == [400, 400]


def test_a_quota_that_comes_with_a_reload_knows_what_is_set_aside() -> None:
    found = quotas(tokens("week", 1000))
    first, second = Use(tokens=300), Use(tokens=200)
    assert found.hold("a", first, 0.0) == ""
    found.configure({"a": (tokens("week", 800),)}, BERLIN)
    assert found.hold("a", second, 0.0) == ""

    (meter,) = found.meters("a")
    assert meter.held == 500
    found.let_go("a", first, Use(), 1.0)
    assert meter.held == 200
    found.configure({}, BERLIN)
    found.let_go("a", second, Use(), 1.0)
    found.configure({"a": (tokens("week", 800),)}, BERLIN)
    assert [meter.held for meter in found.meters("a")] == [0]


def test_a_reload_that_changes_the_time_zone_begins_days_anew() -> None:
    found = quotas(tokens("day", 1000))

    assert found.configure({"a": (tokens("day", 1000),)}, UTC) == ["a"]
    assert [meter.resets_at(at("2026-11-21T12:00")) for meter in found.meters("a")] == [
        datetime(2026, 11, 22, tzinfo=UTC).timestamp()
    ]


def test_what_was_used_before_is_known_once_however_late_it_is_read() -> None:
    found = Quotas()
    found.configure({"a": (tokens("day", 1000),)}, BERLIN)
    found.let_go("a", Use(), Use(tokens=30), at("2026-11-21T12:00"))  # a reload came while it was under way

    used = [(at(f"2026-11-{day}T12:00"), Use(tokens=400)) for day in (18, 19, 20)]
    found.load("a", [*used, (at("2026-11-21T12:00"), Use(tokens=30))])

    assert [meter.used(at("2026-11-21T13:00")) for meter in found.meters("a")] == [30]


def test_what_the_provider_says_is_believed_of_the_quota_it_speaks_of() -> None:
    found = quotas(tokens("minute", 30_000), tokens("week", 2_000_000), QuotaSpec(per="5h", requests=50))
    now = at("2026-11-21T12:00:10")

    found.correct("a", [Told("tokens", 30_000, 12_000, 20.0), Told("requests", 1000, 3, 1.0)], now, 0.0)
    found.correct("a", [Told("share", 1.0, 0.25, 3600.0, 18_000.0)], now, 0.0)

    minute, week, hours = found.meters("a")
    assert minute.left(now) == 12_000
    assert minute.resets_at(now) == now + 20
    assert week.left(now) == 2_000_000
    assert hours.used(now) == 38
    assert hours.resets_at(now) == now + 3600


def test_what_was_said_before_does_not_override_what_was_said_later() -> None:
    """A long answer's headers came with its beginning, and are looked at when it ends."""
    found = quotas(tokens("hour", 1000))
    now = at("2026-11-21T12:00")

    found.correct("a", [Told("tokens", 1000, 400, 600.0, heard=50.0)], now, 50.0)
    found.correct("a", [Told("tokens", 1000, 900, 660.0, heard=10.0)], now, 50.0)

    (meter,) = found.meters("a")
    assert meter.left(now) == 400
    assert meter.resets_at(now) == now + 600


def test_what_was_said_a_while_ago_counts_from_then() -> None:
    found = quotas(tokens("minute", 1000))
    now = at("2026-11-21T12:00:10")
    (meter,) = found.meters("a")

    found.correct("a", [Told("tokens", 1000, 400, 30.0, heard=50.0)], now, 70.0)
    assert (meter.left(now), meter.resets_at(now)) == (400, now + 10)
    found.correct("a", [Told("tokens", 1000, 100, 30.0, heard=60.0)], now, 100.0)
    assert meter.left(now) == 400  # that was of a window that is over


def test_the_makers_headers_are_understood() -> None:
    openai = {
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "12000",
        "x-ratelimit-reset-tokens": "6m0s",
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
    }
    anthropic = {
        "anthropic-ratelimit-tokens-limit": "80000",
        "anthropic-ratelimit-tokens-remaining": "79000",
        "anthropic-ratelimit-tokens-reset": "2026-11-21T12:01:00Z",
        "anthropic-ratelimit-unified-5h-utilization": "0.4",
        "anthropic-ratelimit-unified-5h-reset": "1795262400",
    }
    codex = {
        "x-codex-primary-used-percent": "25",
        "x-codex-primary-window-minutes": "300",
        "x-codex-primary-reset-after-seconds": "60",
    }
    now = datetime.fromisoformat("2026-11-21T12:00:00+00:00").timestamp()

    assert rate_limits(openai, now, 7.0) == [
        Told("tokens", 30000, 12000, 360.0, heard=7.0),
        Told("requests", 500, 499, 0.12, heard=7.0),
    ]
    assert rate_limits(anthropic, now, 0.0) == [
        Told("tokens", 80000, 79000, 60.0),
        Told("share", 1.0, 0.6, 1795262400 - now, 18000.0),
    ]
    assert rate_limits(codex, now, 0.0) == [Told("share", 1.0, 0.75, 60.0, 18000.0)]
    assert rate_limits({"x-ratelimit-limit-tokens": "many", "content-type": "text/html"}, now, 0.0) == []
