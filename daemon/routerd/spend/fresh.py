"""Prices from the package ``genai-prices``, where it is installed (``routerd[prices]``)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .price import Listed, Price, Prices, Rates, Seller, ceil_div, shipped

PACKAGE = "genai-prices"
_SELLERS = (
    *("anthropic", "openai", "google", "x-ai", "deepseek", "mistral", "cohere", "moonshotai", "zai", "minimax"),
    *("azure", "aws", "openrouter", "groq", "cerebras", "together", "fireworks", "perplexity", "meta"),
)
_ANSWERS = {
    # what the package does not say: the longest answer, by the beginning of the name; the first that fits
    **dict.fromkeys(("claude-3-opus", "claude-3-haiku", "claude-3-sonnet", "claude-2"), 4_096),
    **dict.fromkeys(("claude-3-5", "claude-3.5"), 8_192),
    **dict.fromkeys(("claude-opus-4-0", "claude-opus-4-1", "claude-4-opus"), 32_000),
    **dict.fromkeys(("claude-haiku-4-5", "claude-sonnet-4", "claude-opus-4-5", "claude-3-7", "claude-4"), 64_000),
    **dict.fromkeys(("claude-haiku-4.5", "claude-opus-4.5", "claude-3.7"), 64_000),
    "claude": 128_000,
    "gpt-4o": 16_384,
    "gpt-4.1": 32_768,
    **dict.fromkeys(("gpt-4-", "gpt-3.5"), 4_096),
    **dict.fromkeys(("gpt-", "o1", "o3", "o4"), 128_000),
    **dict.fromkeys(("gemini-1.", "gemini-2.0"), 8_192),
    "gemini": 65_536,
}


def newest(now: datetime) -> Prices:
    """The installed package's prices, unless it is not there or older than what routerd ships: else those.

    Imports it: takes a while.
    """
    try:
        return shipped() if _order(version(PACKAGE)) < _order(shipped().version) else installed(now)
    except ImportError:
        return shipped()


def installed(now: datetime) -> Prices:
    """The package's prices as they are at ``now``. Raises ``ImportError`` where it is not installed."""
    from genai_prices.data import providers

    return convert(providers, now)


def convert(providers: Iterable[Any], now: datetime) -> Prices:
    """The part of the package's ``providers`` that sells answers by the token."""
    sellers = [
        Seller(p.id, p.api_pattern, tuple(_listed(p.models, now)), tuple(p.fallback_model_providers or ()))
        for p in providers
        if p.id in _SELLERS
    ]
    found = _version()
    return Prices(f"{PACKAGE} {found}", tuple(sellers), found)


def _listed(models: Iterable[Any], now: datetime) -> Iterable[Listed]:
    for model in models:
        prices = _prices(model, now)
        if prices:
            yield Listed(_clauses(model.match), _price(prices, model.id, model.context_window))


def _prices(model: Any, now: datetime) -> list[Any]:
    """Those that hold at ``now``; several where they depend on the time of day."""
    if not isinstance(model.prices, list):
        found = [model.prices]
    elif any(hasattr(option.constraint, "start_time") for option in model.prices):
        found = [option.prices for option in model.prices]
    else:
        found = [model.get_prices(now)]
    key = "input_mtok" if "embed" in model.id else "output_mtok"  # what only listens or draws is no use here
    return [prices for prices in found if prices.__dict__.get(key) is not None]


def _price(prices: list[Any], name: str, context: int | None) -> Price:
    starts = sorted({tier.start for price in prices for value in price.__dict__.values() for tier in _tiers(value)})
    above = tuple((start, _rates(prices, start + 1)) for start in starts)
    request = max((price.__dict__.get("requests_kcount") or Decimal(0) for price in prices), default=Decimal(0))
    own = name.rpartition("/")[2]
    answer = next((most for start, most in _ANSWERS.items() if own.startswith(start)), None)
    return Price(_rates(prices, 0), above, _whole(request * 1000), context, answer)


def _rates(prices: list[Any], prompt: int) -> Rates:
    """For a prompt of that many tokens; what has no rate of its own costs as the rest of the prompt does."""
    first = _most(prices, "input_mtok", prompt) or 0
    read, written = _most(prices, "cache_read_mtok", prompt), _most(prices, "cache_write_mtok", prompt)
    output = max(_most(prices, key, prompt) or 0 for key in ("output_mtok", "output_reasoning_mtok"))
    return Rates(first, output, first if read is None else read, first if written is None else written)


def _most(prices: list[Any], key: str, prompt: int) -> int | None:
    found = [_at(value, prompt) for price in prices if (value := price.__dict__.get(key)) is not None]
    return max((_whole(value * 1_000_000) for value in found), default=None)


def _at(value: Any, prompt: int) -> Decimal:
    """The price of a token in a prompt of that many."""
    price: Decimal = getattr(value, "base", value)
    for tier in _tiers(value):
        price = tier.price if prompt > tier.start else price
    return price


def _tiers(value: Any) -> list[Any]:
    return sorted(getattr(value, "tiers", ()), key=lambda tier: tier.start)


def _whole(value: Decimal) -> int:
    numerator, denominator = value.as_integer_ratio()
    return ceil_div(numerator, denominator)


def _clauses(clause: Any) -> tuple[tuple[str, ...], ...]:
    """Any of which all must fit."""
    if hasattr(clause, "or_"):
        return tuple(patterns for inner in clause.or_ for patterns in _clauses(inner))
    if hasattr(clause, "and_"):
        made: tuple[tuple[str, ...], ...] = ((),)
        for inner in clause.and_:
            made = tuple((*left, *right) for left in made for right in _clauses(inner))
        return made
    if hasattr(clause, "regex"):
        return ((f"/{clause.regex}",),)
    for sign, key in (("=", "equals"), ("^", "starts_with"), ("$", "ends_with"), ("~", "contains")):
        if (text := getattr(clause, key, None)) is not None:
            return ((sign + text.lower(),),)
    raise TypeError(f"{PACKAGE} {_version()} has a kind of match that is not known: {clause!r}")


def _order(number: str) -> list[int]:
    """What versions are compared by."""
    return [int(part) for part in re.findall(r"\d+", number)]


def _version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "?"
