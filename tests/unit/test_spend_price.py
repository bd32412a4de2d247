"""What tokens cost: the shipped table, tiers, bounds, and whose price is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.config.load import load
from routerd.routing.features import Features
from routerd.spend.fresh import convert
from routerd.spend.price import FREE, Price, Prices, Rates, dollars, microusd, most_prompt_tokens, shipped
from routerd.spend.quota import ANSWER_TOKENS
from routerd.spend.tariff import Tariff, Tariffs, tariffs
from routerd_client.chat import (
    ChatRequest,
    Function,
    FunctionSpec,
    ImagePart,
    ImageURL,
    Message,
    NamedTool,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
    Usage,
)

MAKERS = {
    "claude-haiku-4-5": "https://api.anthropic.com/v1",
    "claude-sonnet-4-5-20250929": "https://api.anthropic.com/v1",
    "claude-opus-4-6": "https://api.anthropic.com/v1",
    "gpt-4o": "https://api.openai.com/v1",
    "gpt-5": "https://api.openai.com/v1",
    "gpt-5-mini": "https://api.openai.com/v1",
    "grok-4": "https://api.x.ai/v1",
    "gemini-2.5-pro": "https://generativelanguage.googleapis.com/v1beta/openai",
    "deepseek-chat": "https://api.deepseek.com/v1",
    "mistral-large-latest": "https://api.mistral.ai/v1",
    "anthropic/claude-opus-4.6": "https://openrouter.ai/api/v1",
}


@pytest.mark.parametrize("model", MAKERS)
def test_the_shipped_table_knows_the_common_models(model: str) -> None:
    price = shipped().find(MAKERS[model], model)

    assert price
    assert 0 < price.rates.cache_read <= price.rates.input < price.rates.output


@pytest.mark.parametrize(
    ("model", "dollars_in", "dollars_out"),
    [("claude-haiku-4-5", 1, 5), ("claude-opus-4-6", 5, 25), ("gpt-4o", 2.5, 10), ("grok-4", 3, 15)],
)
def test_its_prices_are_the_makers(model: str, dollars_in: float, dollars_out: float) -> None:
    price = shipped().find(MAKERS[model], model)

    assert price
    assert (price.rates.input, price.rates.output) == (microusd(dollars_in), microusd(dollars_out))


def test_the_table_says_of_when_it_is() -> None:
    assert date.fromisoformat(shipped().date).year >= 2026


def test_a_seller_nobody_knows_takes_the_makers_price_and_an_unknown_model_has_none() -> None:
    prices = shipped()

    assert prices.find("https://proxy.example/v1", "openai/gpt-4o") == prices.find(
        "https://api.openai.com/v1", "gpt-4o"
    )
    assert prices.find("https://proxy.example/v1", "my-own-model") is None
    assert prices.find("https://api.openai.com/v1", "claude-haiku-4-5") is None  # it does not sell that


def test_cached_written_and_fresh_tokens_have_their_rates() -> None:
    price = Price(Rates(1_000_000, 5_000_000, 100_000, 1_250_000))

    assert price.cost(Usage(1000, 100, cached_tokens=600, cache_write_tokens=300)) == 100 + 60 + 375 + 500
    assert price.cost(Usage(1, 0, cached_tokens=1)) == 1  # a tenth of a micro-dollar is one


def test_a_long_prompt_costs_its_tier_as_a_whole() -> None:
    price = Price(Rates(3, 15, 1, 4), ((200_000, Rates(6_000_000, 22_000_000, 600_000, 7_500_000)),))

    assert price.cost(Usage(200_000, 0)) == 1
    assert price.cost(Usage(200_001, 1)) == 200_001 * 6 + 22


RATES = st.builds(Rates, *[st.integers(0, 10**8)] * 4)
PRICES = st.builds(
    Price,
    RATES,
    st.lists(st.tuples(st.integers(1, 10**6), RATES), max_size=3, unique_by=lambda tier: tier[0]).map(
        lambda tiers: tuple(sorted(tiers, key=lambda tier: tier[0]))
    ),
    st.integers(0, 1000),
)


@given(PRICES, st.integers(0, 2 * 10**6), st.integers(0, 10**6), st.data())
def test_nothing_costs_more_than_its_bound(price: Price, prompt: int, answer: int, data: st.DataObject) -> None:
    used = data.draw(st.integers(0, prompt))
    cached = data.draw(st.integers(0, used))
    usage = Usage(used, data.draw(st.integers(0, answer)), cached, 0, data.draw(st.integers(0, used - cached)))

    assert price.cost(usage) <= price.bound(prompt, answer)


def test_the_bound_of_a_prompt_counts_bytes_images_and_what_formats_add() -> None:
    plain = ChatRequest(messages=[Message("user", "hello")])
    image = ImagePart(ImageURL("https://example.com/x.png"))
    shown = ChatRequest(messages=[Message("user", [TextPart("hello"), image])])

    assert 5 < most_prompt_tokens(plain, 5) < 100
    assert most_prompt_tokens(shown, 5) > 50_000
    refused = Message("assistant", refusal="r" * 1000, name="n" * 1000)
    called = Message("tool", "", tool_call_id="i" * 1000)
    assert most_prompt_tokens(ChatRequest(messages=[refused, called]), 0) > 3000


def _call(name: str = "f", arguments: str = "{}") -> Message:
    return Message("assistant", tool_calls=[ToolCall("c", Function(name, arguments))])


def _asks(text: str) -> dict[str, ChatRequest]:
    """Requests with ``text`` in each place from which a server may put it into what the model reads."""
    tool = Tool(FunctionSpec("f", parameters={"description": text}))
    user = Message("user", "hello")
    return {
        "content": ChatRequest(messages=[Message("user", text)]),
        "part": ChatRequest(messages=[Message("user", [TextPart(text)])]),
        "reasoning": ChatRequest(messages=[Message("assistant", reasoning=text)]),
        "call": ChatRequest(messages=[_call(name=text)]),
        "arguments": ChatRequest(messages=[_call(arguments=text)]),
        "tool": ChatRequest(messages=[user], tools=[Tool(FunctionSpec(text))]),
        "description": ChatRequest(messages=[user], tools=[Tool(FunctionSpec("f", text))]),
        "parameters": ChatRequest(messages=[user], tools=[tool]),
        "choice": ChatRequest(messages=[user], tool_choice=NamedTool(Function(text))),
        "schema": ChatRequest(messages=[user], response_format=ResponseFormat("json_schema", {"schema": text})),
        "template": ChatRequest(messages=[user], template_args={"documents": text}),
        "effort": ChatRequest(messages=[user], reasoning_effort=text),
        "extra": ChatRequest(messages=[user], extra={"openai": {"documents": text}}),
    }


@pytest.mark.parametrize("character", ["a", '"', "\u4e16", "\U0001f30d"])
@pytest.mark.parametrize("place", _asks(""))
def test_the_bound_of_a_prompt_counts_every_byte_wherever_it_stands(place: str, character: str) -> None:
    chat = _asks(character * 5000)[place]
    written = place in ("parameters", "schema", "template", "extra")  # as JSON
    size = len(msgspec.json.encode(character * 5000)) - 2 if written else len(character.encode()) * 5000

    assert most_prompt_tokens(chat, Features(chat).prompt_bytes) >= size


@pytest.mark.parametrize(
    "fields", [{"n": 3}, {"n": 3.0}, {"max_completion_tokens": 300}, {"n_predict": 300.0}, {"max_new_tokens": 300}]
)
def test_fields_that_a_server_may_heed_before_others_count(fields: dict[str, Any]) -> None:
    tariff = priced("{openai: {model: m, base_url: https://there.example/v1}, price: {input: 0, output: 1}}")
    chat = ChatRequest(messages=[Message("user", "hello")], max_tokens=100, extra={"openai": fields})

    assert tariff.bound(chat, 5) == 300


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "$0.00"), (12_345, "$0.012345"), (5_000_000, "$5.00"), (-1_100_000, "-$1.10")]
)
def test_money_is_written_in_full(amount: int, text: str) -> None:
    assert dollars(amount) == text


def priced(backend: str, rest: str = "") -> Tariff:
    return _tariffs(backend, rest).of("a")


def _tariffs(backend: str, rest: str = "") -> Tariffs:
    return tariffs(load(f"version: 1\nbackends:\n  a: {backend}\ndefault: a\n{rest}", "routes.yaml").config, shipped())


def test_the_backends_own_price_is_before_the_files_and_that_before_the_table() -> None:
    own = "{openai: {model: gpt-4o}, price: {input: 1, output: 2, cache_read: 0.5}}"
    files = 'prices: {"gpt-*": {input: 7, output: 8}}'

    assert priced(own, files).price == Price(Rates(1_000_000, 2_000_000, 500_000, 1_000_000), (), 0, 128_000, 16_384)
    stated = priced("{openai: {model: gpt-4o}}", files).price
    assert stated
    assert stated.rates == Rates(7_000_000, 8_000_000, 7_000_000, 7_000_000)
    assert priced("{openai: {model: gpt-4o}}").price == shipped().find("https://api.openai.com/v1", "gpt-4o")


def test_what_is_local_costs_nothing() -> None:
    assert priced("{mlx: {model: demo}}").price == FREE
    assert priced("{openai: {model: m, base_url: http://127.0.0.1:1/v1}}").price == FREE
    assert priced("{openai: {model: m, base_url: http://box:1/v1}, billing: local}").price == FREE


def test_a_metered_model_that_nobody_knows_says_what_to_do() -> None:
    unknown = _tariffs("{openai: {model: my-model, base_url: https://there.example/v1}}")

    assert "backends.a a price" in unknown.unpriced("a")
    assert "my-model" in unknown.unpriced("a")


def test_a_model_that_a_route_names_has_its_own_price() -> None:
    found = _tariffs("{openai: {model: gpt-4o}}", "routes: [{match: {task: plan}, use: a, set: {model: gpt-5}}]")

    assert found.of("a", "gpt-5").price == shipped().find("https://api.openai.com/v1", "gpt-5")
    assert found.of("a", "").model == "gpt-4o"


@pytest.mark.parametrize(
    ("backend", "answer"),
    [
        ("{openai: {model: gpt-4o}}", 16_384),
        ("{openai: {model: gpt-4o, max_tokens: 100}}", 100),
        ("{anthropic: {model: claude-haiku-4-5}}", 4096),
        ("{openai: {model: m, context: 9000, base_url: http://box/v1}}", 9000),
        ("{openai: {model: m, base_url: http://box/v1}}", 128_000),
    ],
)
def test_an_answer_that_nobody_bounds_is_as_long_as_the_model_allows(backend: str, answer: int) -> None:
    assert priced(backend).answer == answer


def test_a_request_for_several_answers_may_cost_several() -> None:
    tariff = priced("{openai: {model: gpt-4o}}")
    one = ChatRequest(messages=[Message("user", "x")], max_tokens=1000, extra={"openai": {"n": 1}})
    four = ChatRequest(messages=[Message("user", "x")], max_tokens=1000, extra={"openai": {"n": 4}})

    assert tariff.bound(four, 1) - tariff.bound(one, 1) == 30_000


def test_what_is_no_cap_and_what_a_server_may_heed_instead_is_set_aside() -> None:
    tariff = priced("{openai: {model: gpt-4o}}")

    def bound(cap: int | None, **extra: object) -> int:
        return tariff.bound(ChatRequest(messages=[], max_tokens=cap, extra={"openai": {"x": 1} | extra}), 0)

    assert bound(-1) == bound(None) > bound(16_000)
    assert bound(1, max_completion_tokens=16_000) > bound(16_000) - 1000
    assert bound(16_000, max_tokens=1) >= bound(16_000)
    assert bound(10**30) < 2**63  # a number that the ledger can keep
    assert tariff.expected(ChatRequest(messages=[], max_tokens=-5), 0).tokens == ANSWER_TOKENS


@dataclass
class Model:
    """A model as the package describes one."""

    id: str
    match: Any
    prices: Any
    context_window: int | None = None

    def get_prices(self, _now: datetime) -> Any:
        return self.prices[-1].prices


@dataclass
class Provider:
    id: str
    api_pattern: str
    models: list[Model] = field(default_factory=list)
    fallback_model_providers: list[str] | None = None


def converted(*models: Model) -> Prices:
    return convert([Provider("openai", r"https://api\.openai\.com", list(models))], datetime(2026, 11, 21, tzinfo=UTC))


NEWER = [int(part) for part in shipped().version.split(".")]


@pytest.mark.parametrize(
    ("version", "used"),
    [
        ("0.0.9", False),
        (shipped().version, True),
        (f"{NEWER[0]}.{NEWER[1]}.{NEWER[2] + 10}", True),
        (f"{NEWER[0]}.{NEWER[1] + 10}", True),
    ],
)
def test_the_installed_package_is_used_unless_it_is_older_than_the_shipped_table(
    version: str, used: bool, tmp_path: Path
) -> None:
    """A package of that version, which an interpreter of its own finds; it has no date, as the real one has none."""
    (tmp_path / "genai_prices").mkdir()
    (tmp_path / "genai_prices/__init__.py").touch()
    (tmp_path / "genai_prices/data.py").write_text("providers = []")
    about = tmp_path / f"genai_prices-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: genai-prices\nVersion: {version}\n")
    code = (
        "import datetime; from routerd.spend.fresh import newest; "
        "table = newest(datetime.datetime.now(datetime.UTC)); print(table.date, len(table.sellers), sep='|')"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    told = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout

    table = shipped()
    assert told.strip() == (f"genai-prices {version}|0" if used else f"{table.date}|{len(table.sellers)}")


def mtok(**prices: object) -> Any:
    return SimpleNamespace(**prices)


def test_the_package_is_read_as_it_is() -> None:
    """Tiers, matches of every kind, and the dearest time of the day."""
    tiers = SimpleNamespace(base=Decimal("1.25"), tiers=[SimpleNamespace(start=200_000, price=Decimal("2.5"))])
    either = SimpleNamespace(or_=[SimpleNamespace(equals="Big"), SimpleNamespace(regex=r"^big-\d+$")])
    both = SimpleNamespace(and_=[SimpleNamespace(starts_with="night"), SimpleNamespace(contains="x")])
    night = SimpleNamespace(start_time=time(16), end_time=time(0))
    table = converted(
        Model("big", either, mtok(input_mtok=tiers, output_mtok=Decimal(10), requests_kcount=Decimal(5)), 1000),
        Model(
            "nightly",
            both,
            [
                SimpleNamespace(constraint=None, prices=mtok(input_mtok=Decimal(2), output_mtok=Decimal(4))),
                SimpleNamespace(constraint=night, prices=mtok(input_mtok=Decimal(1), output_mtok=Decimal(2))),
            ],
        ),
        Model("voice", SimpleNamespace(equals="voice"), mtok(input_mtok=Decimal(1), output_mtok=None)),
    )
    url = "https://api.openai.com/v1"

    big = table.find(url, "big-7")
    assert big == table.find(url, "Big")
    assert big == Price(
        Rates(1_250_000, 10_000_000, 1_250_000, 1_250_000),
        ((200_000, Rates(2_500_000, 10_000_000, 2_500_000, 2_500_000)),),
        5000,
        1000,
    )
    nightly = table.find(url, "nightly-x")
    assert nightly
    assert nightly.rates.input == 2_000_000
    assert table.find(url, "nightly") is None
    assert table.find(url, "voice") is None
