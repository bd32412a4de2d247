"""What tokens cost, and the most that a request can cost. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from routerd_client.chat import ChatRequest, ImagePart, Message, Usage

MICRO = 1_000_000
"""Micro-dollars a dollar; tokens that a rate is for."""
TEMPLATE_TOKENS = 16
"""What a chat template may add to a message, at most."""
MAKERS_TOKENS = 1024
"""What makers add to a prompt with tools or a schema, at most."""
IMAGE_TOKENS = 50_000
"""The most that a maker counts for one image, whatever its address or size."""
OUTPUT_TOKENS = 128_000
"""The longest answer of a model that says nothing of its limits."""


class Rates(Struct, frozen=True, array_like=True):
    """Micro-dollars a million tokens. ``cache_write`` is for prompt tokens that the maker kept for later."""

    input: int
    output: int
    cache_read: int
    cache_write: int


class Price(Struct, frozen=True, array_like=True):
    """What a model costs. ``above``: prompts with more tokens than that cost these rates, all of them; ascending.

    ``request`` is for each request, whatever its size. ``context`` and ``answer`` are the most tokens the model
    takes and gives, None where unknown.
    """

    rates: Rates
    above: tuple[tuple[int, Rates], ...] = ()
    request: int = 0
    context: int | None = None
    answer: int | None = None

    def cost(self, usage: Usage) -> int:
        """Micro-dollars of what was used, rounded up."""
        rates = next((rates for start, rates in reversed(self.above) if usage.prompt_tokens > start), self.rates)
        fresh = max(0, usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens)
        parts = (
            fresh * rates.input,
            usage.cached_tokens * rates.cache_read,
            usage.cache_write_tokens * rates.cache_write,
            usage.completion_tokens * rates.output,
        )
        return self.request + ceil_div(sum(parts), MICRO)

    def bound(self, prompt_tokens: int, answer_tokens: int) -> int:
        """The most that so many tokens can cost: the dearest rates that apply to that many or fewer."""
        applicable = [self.rates, *(rates for start, rates in self.above if prompt_tokens > start)]
        prompt = max(max(rates.input, rates.cache_read, rates.cache_write) for rates in applicable)
        answer = max(rates.output for rates in applicable)
        return self.request + ceil_div(prompt_tokens * prompt + answer_tokens * answer, MICRO)


FREE = Price(Rates(0, 0, 0, 0))


def ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def microusd(usd: float) -> int:
    """Micro-dollars of dollars as people write them."""
    return round(usd * MICRO)


def dollars(amount: int) -> str:
    """``12_345`` -> ``$0.012345``, ``5_000_000`` -> ``$5.00``: never fewer than two decimals, and none cut off."""
    sign, amount = ("-" if amount < 0 else ""), abs(amount)
    decimals = f"{amount % MICRO:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}${amount // MICRO}.{decimals}"


def most_prompt_tokens(chat: ChatRequest, prompt_bytes: int) -> int:
    """The most tokens that ``chat``'s prompt can have: no token is less than a byte."""
    images = sum(
        isinstance(part, ImagePart) for m in chat.messages if isinstance(m.content, list) for part in m.content
    )
    hidden = (chat.response_format, chat.extra, chat.template_args, chat.tool_choice, chat.reasoning_effort)
    unseen = len(msgspec.json.encode(hidden)) if any(hidden) else 0
    labels = sum(len(text.encode()) for message in chat.messages for text in _labels(message) if text)
    parts = len(chat.messages) + len(chat.tools) + 1
    added = MAKERS_TOKENS if chat.tools or chat.response_format else 0
    return prompt_bytes + labels + unseen + added + TEMPLATE_TOKENS * parts + IMAGE_TOKENS * images


def _labels(message: Message) -> Iterator[str | None]:
    """What is sent of a message beside what the model is to read."""
    yield from (message.name, message.refusal, message.tool_call_id)
    yield from (call.id for call in message.tool_calls)


class Listed(Struct, frozen=True, array_like=True):
    """A model of the table. ``match``: any of these fits its name; of a list of lists, all of one.

    A pattern's first character says how: ``=`` is, ``^`` begins with, ``$`` ends with, ``~`` contains, ``/`` a
    regular expression.
    """

    match: tuple[tuple[str, ...], ...]
    price: Price

    def fits(self, model: str) -> bool:
        return any(all(_fits(pattern, model) for pattern in patterns) for patterns in self.match)


class Seller(Struct, frozen=True, array_like=True):
    """Who sells models: ``url`` is a pattern of its addresses. ``others``: whose prices it takes for the rest."""

    name: str
    url: str
    models: tuple[Listed, ...]
    others: tuple[str, ...] = ()

    def price(self, model: str) -> Price | None:
        return next((listed.price for listed in self.models if listed.fits(model)), None)


class Prices(Struct, frozen=True):
    """A table of prices, made from a ``version`` of genai-prices: as they were on ``date`` (2026-11-21), or, as the
    package tells none, as it has them (``genai-prices 0.2.4``)."""

    date: str
    sellers: tuple[Seller, ...]
    version: str = ""

    def find(self, url: str, model: str) -> Price | None:
        """What ``model`` costs at the address ``url``; where nobody is known to sell there, what its maker takes.

        None where that is not known either.
        """
        model = model.lower()
        here = next((seller for seller in self.sellers if re.search(seller.url, url)), None)
        asked = [here, *self._named(here.others)] if here else self._named(MAKERS)
        names = (model,) if here else (model, model.rpartition("/")[2])
        return next((price for name in names for seller in asked if (price := seller.price(name))), None)

    def of_seller(self, seller: str, model: str) -> Price | None:
        """What ``model`` costs at a seller named so (``anthropic``); None where that is not known."""
        return next((price for one in self._named((seller,)) if (price := one.price(model.lower()))), None)

    def _named(self, names: tuple[str, ...]) -> list[Seller]:
        return [seller for name in names for seller in self.sellers if seller.name == name]


MAKERS = ("anthropic", "openai", "google", "x-ai", "deepseek", "mistral", "moonshotai", "zai", "minimax", "cohere")
"""Whose prices stand where a model is sold by somebody unknown."""


def _fits(pattern: str, model: str) -> bool:
    how, text = pattern[0], pattern[1:]
    match how:
        case "=":
            return model == text
        case "^":
            return model.startswith(text)
        case "$":
            return model.endswith(text)
        case "~":
            return text in model
        case _:
            return re.search(text, model) is not None


@cache
def shipped() -> Prices:
    """The table that comes with routerd. Reads a file of the package, once."""
    return decode(files(__package__).joinpath("prices.json").read_bytes())


def decode(data: bytes) -> Prices:
    return msgspec.json.decode(data, type=Prices)
