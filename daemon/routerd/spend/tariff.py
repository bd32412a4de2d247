"""What a backend's answers cost: by its own block in routes.yaml, the file's ``prices``, or the table. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

from routerd_client.chat import ChatRequest, Usage

from ..config.budgets import PriceSpec
from ..config.http import MESSAGES_MAX_TOKENS
from ..config.schema import BackendSpec, ConfigSpec
from .price import FREE, OUTPUT_TOKENS, Price, Prices, Rates, microusd, most_prompt_tokens
from .quota import ANSWER_TOKENS, BYTES_A_TOKEN, Use

MOST_TOKENS = 10**9
"""No answer is longer, whatever a request allows."""
_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "n_predict")


class Tariff(Struct, frozen=True):
    """What one model of a backend costs. ``price`` is None where nobody knows.

    ``answer`` is the longest answer, in tokens, where the request does not bound it.
    """

    bills: Literal["local", "prepaid", "metered"]
    price: Price | None
    answer: int
    model: str = ""

    @property
    def metered(self) -> bool:
        return self.bills == "metered"

    def unpriced(self, backend: str) -> str:
        """Why it may not be used where each token costs, ``""`` where it may."""
        if not self.metered or self.price is not None:
            return ""
        return (
            f"what '{self.model}' costs is not known: give backends.{backend} a price "
            "({input: ..., output: ...}, in dollars a million tokens), or 'billing: local' where it costs nothing"
        )

    def bound(self, chat: ChatRequest, prompt_bytes: int) -> int:
        """The most micro-dollars that ``chat`` can cost."""
        price = self.price or FREE
        return price.bound(most_prompt_tokens(chat, prompt_bytes), self._longest(chat) * _choices(chat))

    def expected(self, chat: ChatRequest, prompt_bytes: int) -> Use:
        """What ``chat`` is taken to use of a quota before it is known."""
        prompt = prompt_bytes // BYTES_A_TOKEN
        answer = ANSWER_TOKENS if chat.max_tokens is None or chat.max_tokens < 0 else chat.max_tokens
        return Use(prompt + answer, 1, (self.price or FREE).bound(prompt, answer))

    def used(self, usage: Usage) -> Use:
        """What an answer used of a quota."""
        return Use(usage.total_tokens, 1, (self.price or FREE).cost(usage))

    def _longest(self, chat: ChatRequest) -> int:
        """Tokens of the longest answer that ``chat`` allows. Less than none is what some servers take for no cap."""
        answer = self.answer if chat.max_tokens is None or chat.max_tokens < 0 else chat.max_tokens
        return min(max([answer, *_caps(chat)]), MOST_TOKENS)


class Tariffs(Struct, frozen=True):
    """Those of one configuration, by backend and the model that is asked for."""

    own: dict[str, Tariff] = {}
    others: dict[tuple[str, str], Tariff] = {}
    """Where a route names another model."""

    @property
    def metered(self) -> bool:
        """Whether any backend costs money."""
        return any(tariff.metered for tariff in self.own.values())

    def unpriced(self, backend: str) -> str:
        """Why ``backend`` may not be used for any model, ``""`` where it may."""
        others = (tariff.unpriced(backend) for (name, _), tariff in self.others.items() if name == backend)
        return "" if "" in others else self.own[backend].unpriced(backend)

    def of(self, backend: str, model: str = "") -> Tariff:
        """``model`` is the one that a route names, ``""`` for the backend's own."""
        return self.others.get((backend, model)) or self.own[backend]


def tariffs(config: ConfigSpec, prices: Prices) -> Tariffs:
    """Takes up to milliseconds a backend: patterns of a thousand models are tried."""
    named = {route.set.model for route in config.routes if route.set and route.set.model}
    backends = config.backends.items()
    own = {name: _tariff(config, spec, prices, spec.http.model if spec.http else "") for name, spec in backends}
    others = {
        (name, model): _tariff(config, spec, prices, model) for name, spec in backends for model in named if spec.http
    }
    return Tariffs(own, others)


def _tariff(config: ConfigSpec, spec: BackendSpec, prices: Prices, model: str) -> Tariff:
    price = FREE if spec.bills == "local" else _price(config.prices, spec, prices, model)
    return Tariff(spec.bills, price, _answer(spec, price), model)


def _price(given: Mapping[str, PriceSpec], spec: BackendSpec, prices: Prices, model: str) -> Price | None:
    stated = spec.price or next((price for name, price in given.items() if fnmatchcase(model, name)), None)
    listed = prices.find(_address(spec), model) if spec.http else None
    if stated is None:
        return listed
    read, written = (stated.input if usd is None else usd for usd in (stated.cache_read, stated.cache_write))
    rates = Rates(*map(microusd, (stated.input, stated.output, read, written)))
    request = microusd(stated.request)
    return Price(rates, (), request, listed.context if listed else None, listed.answer if listed else None)


def _answer(spec: BackendSpec, price: Price | None) -> int:
    if spec.http and spec.http.max_tokens is not None:
        return spec.http.max_tokens
    if spec.anthropic:
        return MESSAGES_MAX_TOKENS
    context = spec.http.context if spec.http else None
    limits = (price.answer if price else None, context, price.context if price else None)
    return next((limit for limit in limits if limit is not None), OUTPUT_TOKENS)


def _address(spec: BackendSpec) -> str:
    makers = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com/v1"}
    assert spec.http
    return spec.http.base_url or makers["anthropic" if spec.anthropic else "openai"]


def _caps(chat: ChatRequest) -> list[int]:
    """Those among the fields that a front did not know: a server may heed them before the one that it is sent."""
    named = (extra.get(name) for extra in chat.extra.values() if isinstance(extra, dict) for name in _CAPS)
    return [int(min(max(0, cap), MOST_TOKENS)) for cap in named if isinstance(cap, int | float)]


def _choices(chat: ChatRequest) -> int:
    """How many answers a request asks for at once."""
    asked = [extra.get("n") for extra in chat.extra.values() if isinstance(extra, dict)]
    return max((math.ceil(min(n, MOST_TOKENS)) for n in asked if isinstance(n, int | float) and n > 1), default=1)
