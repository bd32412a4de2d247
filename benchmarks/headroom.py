"""A month of requests over two prepaid backends and a metered one: how much of what is paid for is used.

    python -m benchmarks.headroom [--days 31] [--demand 1.05]

Quotas, windows and the strategy are routerd's own, told the time; nothing is asked and nothing waits. One prepaid
backend has a quota for the month, the other one for the week; people ask by day more than by night and less at
weekends, in all ``--demand`` times what the two quotas allow. Who has nothing left is skipped; what no prepaid backend
can take is metered. Compared: the strategy ``headroom``; taking turns over all three; and always the one that is
cheapest by its list price, of the prepaid ones first (were the metered one first, nothing prepaid would be used).

The last line is JSON; exit code 1 where ``headroom`` leaves more than a twentieth unused or a quota was exceeded.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from routerd.config.load import load
from routerd.config.schema import QuotaSpec
from routerd.routing.decide import decide
from routerd.routing.expect import AllWell
from routerd.routing.features import Features
from routerd.routing.table import compile_table
from routerd.spend.quota import Meter, Quotas, Use
from routerd.spend.windows import window
from routerd_client.chat import ChatRequest

DAY = 86_400.0
ZONE = ZoneInfo("Europe/Berlin")
BEGIN = 1_767_222_000.0
"""The first of January 2026 there, a Thursday."""
QUOTAS = {
    "monthly": QuotaSpec(per="month", tokens=6_000_000),
    "weekly": QuotaSpec(per="week", tokens=1_500_000, starts="2026-01-01T00:00"),
}
METERED = "metered"
NAMES = (*QUOTAS, METERED)
WEEKLY = 6_000_000 * 7 / 31 + 1_500_000
"""Tokens that the two allow in a week."""

Order = Callable[[Quotas, float, int], list[str]]
"""Who is asked first, of the quotas at a time, for the request of a number."""


class Request(Struct, frozen=True):
    time: float
    prompt_tokens: int
    max_tokens: int
    answer_tokens: int


class Outcome(Struct, frozen=True):
    """``used`` of what the windows that have ended allowed; ``exceeded`` windows; tokens that were ``metered``."""

    used: int
    allowed: int
    exceeded: int
    metered: int

    @property
    def share(self) -> float:
        return self.used / self.allowed


def demand(days: float, times: float, seed: int = 1) -> Iterator[Request]:
    """Requests in their order, ``times`` as many tokens a week as the quotas allow."""
    chance = random.Random(seed)
    per_request = 3000 + 900  # the means of what is drawn below
    rate = times * WEEKLY / (7 * DAY) / per_request / _mean_busy()
    moment, most = BEGIN, 1.6 * rate
    while (moment := moment + chance.expovariate(most)) < BEGIN + days * DAY:
        if chance.random() < rate * _busy(moment) / most:
            answer = min(4000, int(chance.expovariate(1 / 900)) + 1)
            yield Request(moment, int(chance.uniform(1000, 5000)), 4000, answer)


def _busy(moment: float) -> float:
    """How much is asked at this hour, 1 on an average weekday."""
    days = (moment - BEGIN) / DAY
    weekend = 0.4 if 2 <= days % 7 < 4 else 1.0
    return weekend * (1 - 0.6 * math.cos(2 * math.pi * (days % 1)))


def _mean_busy() -> float:
    return (5 + 2 * 0.4) / 7


_CONFIG = """
version: 1
backends:
  monthly: {anthropic: {model: claude-haiku-4-5}, billing: prepaid}
  weekly: {openai: {model: gpt-5}, billing: prepaid}
  metered: {openai: {model: gpt-5-mini}}
endpoints: {all: {headroom: [metered, monthly, weekly]}}
default: all
"""


class _View(AllWell):
    def __init__(self, quotas: Quotas, now: float) -> None:
        self._quotas = quotas
        self._now = now

    def pressure(self, backend: str) -> float | None:
        return self._quotas.pressure(backend, self._now)


_TABLE = compile_table(load(_CONFIG, "routes.yaml").config)
_FEATURES = Features(ChatRequest(messages=[]))


def headroom(quotas: Quotas, now: float, number: int) -> list[str]:
    decided = decide(_TABLE, _FEATURES, _View(quotas, now), seed=str(number))
    return [candidate.backend for candidate in decided.decision.candidates]


def round_robin(_quotas: Quotas, _now: float, number: int) -> list[str]:
    first = number % len(NAMES)
    return [*NAMES[first:], *NAMES[:first]]


def cheapest_first(_quotas: Quotas, _now: float, _number: int) -> list[str]:
    return list(NAMES)


ORDERS: dict[str, Order] = {"headroom": headroom, "round_robin": round_robin, "cheapest_first": cheapest_first}


def simulate(order: Order, days: float, times: float) -> Outcome:
    """What became of the quotas in ``days``, counting the windows that began and ended in them."""
    quotas = Quotas()
    quotas.configure({name: (spec,) for name, spec in QUOTAS.items()}, ZONE)
    used: dict[tuple[str, float], int] = {}
    metered = 0
    for number, request in enumerate(demand(days, times)):
        tokens = request.prompt_tokens + request.answer_tokens
        expected = Use(request.prompt_tokens + request.max_tokens, 1)
        for name in order(quotas, request.time, number):
            if quotas.spent(name, request.time) or quotas.hold(name, expected, request.time):
                continue
            quotas.let_go(name, expected, Use(tokens, 1), request.time)
            metered += tokens if name == METERED else 0
            if name in QUOTAS:
                ends = quotas.meters(name)[0].resets_at(request.time)
                used[name, ends] = used.get((name, ends), 0) + tokens
            break
    ended = [(name, end) for name in QUOTAS for end in _ends(quotas.meters(name)[0], days)]
    return Outcome(
        used=sum(used.get(window, 0) for window in ended),
        allowed=sum(QUOTAS[name].tokens or 0 for name, _ in ended),
        exceeded=sum(amount > (QUOTAS[name].tokens or 0) for (name, _), amount in used.items()),
        metered=metered,
    )


def _ends(meter: Meter, days: float) -> Iterator[float]:
    """The ends of a quota's windows that end within the time; the first begins with it."""
    starts = datetime.fromisoformat(meter.spec.starts) if meter.spec.starts else None
    end = BEGIN
    while (end := window(meter.spec.per, end, ZONE, starts)[1]) <= BEGIN + days * DAY:
        yield end


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=31)
    parser.add_argument("--demand", type=float, default=1.05)
    options = parser.parse_args()
    found = {name: simulate(order, options.days, options.demand) for name, order in ORDERS.items()}
    print(f"{options.days:g} days, {options.demand:.0%} of what the quotas allow, {WEEKLY / 1e6:.2f} M tokens a week\n")
    for name, outcome in found.items():
        print(
            f"{name:15} used {outcome.share:6.1%} of what was paid for by its reset, "
            f"{outcome.metered / 1e6:5.2f} M tokens metered, {outcome.exceeded} quotas exceeded"
        )
    exceeded = sum(outcome.exceeded for outcome in found.values())
    print(json.dumps({"used_share": {n: round(o.share, 4) for n, o in found.items()}, "exceeded": exceeded}))
    return int(exceeded > 0 or found["headroom"].share < 0.95)


if __name__ == "__main__":
    sys.exit(main())
