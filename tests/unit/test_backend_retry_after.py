"""The ways in which makers say when to ask again."""

from __future__ import annotations

import pytest

from routerd.backends.retry_after import retry_after

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": " 7980 "}, 7980.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:02:00 GMT"}, 120.0),
        ({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:02:00 GMT", "date": "Fri, 15 Jan 2027 08:01:30 GMT"}, 30.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset-requests": "120ms"}, 0.12),
        ({"x-ratelimit-reset-requests": "1d"}, 86400.0),
        ({"anthropic-ratelimit-requests-reset": "2027-01-15T08:01:00Z"}, 60.0),
        ({"anthropic-ratelimit-unified-reset": "1800000300"}, 300.0),
        ({"x-ratelimit-reset": "1800000010000"}, 10.0),
        ({"x-ratelimit-reset": "45"}, 45.0),
    ],
    ids=str,
)
def test_every_way_of_saying_it(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers, NOW, limited=True) == pytest.approx(seconds)


def test_of_several_limits_those_that_are_spent_count() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "99",
        "x-ratelimit-reset-requests": "2s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "40s",
    }

    assert retry_after(headers, NOW, limited=True) == 40.0
    assert retry_after(headers | {"x-ratelimit-remaining-tokens": "5"}, NOW, limited=True) == 2.0


def test_limits_count_only_where_one_was_hit() -> None:
    assert retry_after({"x-ratelimit-reset-tokens": "6m0s"}, NOW, limited=False) is None
    assert retry_after({"retry-after": "6"}, NOW, limited=False) == 6.0


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "1e999", "-", "5 minutes", "6m0x", "2027-99-99", "0x10"])
def test_what_is_no_time_is_none(text: str) -> None:
    names = ("retry-after", "retry-after-ms", "x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset", "date")

    assert retry_after(dict.fromkeys(names, text), NOW, limited=True) is None
