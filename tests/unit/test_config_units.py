"""Durations and sizes: text -> number -> text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.config.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("20", 20),
    ],
)
def test_a_duration_is_seconds(written: str, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "m", "15 m", "30m1h", "1h1h", "-5s", "abc", "1_0", "inf", "nan", "9" * 50, "१s", -1, float("nan")]
)
def test_what_is_no_duration_is_refused(written: str | float) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("512MB", 512 * 10**6),
        ("8GB", 8 * 10**9),
        ("8GiB", 8 * 2**30),
        ("1.5kB", 1500),
        ("8 gb", 8 * 10**9),
        ("7", 7),
        (7, 7),
    ],
)
def test_a_size_is_bytes(written: int | str, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["", "GB", "8G", "8XB", "-1GB", "1_0", "1e3", "iB", "8iB", "9" * 50, -1])
def test_what_is_no_size_is_refused(written: int | str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(written)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.5, "500ms"), (900, "15m"), (5400, "1h30m"), (86400, "1d"), (90.25, "1m30.25s"), (59.9999, "1m")],
)
def test_a_duration_is_written_shortly(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1_234_567, "1.2MB"), (999_970_000, "1GB"), (8 * 10**9, "8GB")],
)
def test_a_size_is_written_shortly(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 10**12))
def test_a_written_duration_reads_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-4)


@given(st.text("0123456789.msdhGkiB _-+e") | st.text())
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            assert parse(text) >= 0
        except ValueError:
            pass
