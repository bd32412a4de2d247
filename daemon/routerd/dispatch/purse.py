"""Who pays: money is set aside before a metered request leaves, and settled when it is known what it cost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from time import perf_counter
from zoneinfo import ZoneInfo

import anyio
import structlog
from msgspec.structs import astuple, replace

from routerd_client.chat import Usage
from routerd_client.records import FailureKind

from ..config.schema import ConfigSpec
from ..spend.accounts import EVERY, Accounts, Entry
from ..spend.budget import TOTAL, Calendar, Denied, limits, scopes
from ..spend.price import Prices
from ..spend.quota import Quotas, Told, Use
from ..spend.tariff import MOST_TOKENS, Tariffs
from ..store import money
from ..store.money import Spend
from ..store.writer import Store, StoreError
from .hop import Asking, DeniedError, Hop

log = structlog.get_logger()

HISTORY_S = 40 * 86_400.0
"""So far back counts what was spent and used: a month, wherever in it one is."""
AGAIN_S = 5.0
"""So often it is looked whether a ledger that told nothing at the start can be read."""
_HINT = "routerctl budget shows what is spent"
_CORRECTION = "set-spent"
_UNKNOWN = "nobody knows what was spent before"


class Purse:
    """The one owner of money and quotas. ``clock`` tells seconds since 1970."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.accounts = Accounts(Calendar(), {})
        self.quotas = Quotas()
        self._store = store
        self._clock = clock
        self._prices = Prices("", ())
        self._unloaded: set[str] = set()
        self._loading = anyio.Lock()
        self._meanwhile: list[tuple[str, float, int, int, int]] | None = None
        """What is used of quotas while the ledger is read of them."""
        self._freed = anyio.Event()

    def __repr__(self) -> str:
        return f"<Purse {self.accounts} {self.quotas}>"

    async def load(self) -> None:
        """Read what was spent and used before. What was reserved and never settled counts as spent."""
        self.accounts.locked = f"{_UNKNOWN}: the ledger was not read yet"
        try:
            await self._load_accounts()
            await self._load_quotas()
        except StoreError as error:
            self.accounts.locked = f"{_UNKNOWN}: {error}"
        self._store.enqueue(partial(money.forget_quota_use, before=self.now() - HISTORY_S))

    async def unlock(self) -> None:
        """Where the ledger did not tell at the start what was spent before: `recover` until it does, or somebody."""
        while self.accounts.locked:
            await anyio.sleep(AGAIN_S)
            await self.recover()

    async def recover(self) -> None:
        """Open the books if the ledger tells by now all that was spent before. While locked, nothing was."""
        try:
            if await self._store.read(money.history_lost):
                return
            await self._load_accounts()
        except StoreError:
            return
        if not self.accounts.locked:
            log.info("spend.unlocked")
            self._unloaded |= set(self.quotas.forget())  # whoever is next reads what was used of them

    def configure(self, config: ConfigSpec, prices: Prices) -> None:
        """Have this configuration's limits and quotas; the books stay. ``prices`` are for `estimate`."""
        self._prices = prices
        zone = config.budgets.time_zone
        self.accounts.calendar.zone = ZoneInfo(zone) if zone else None
        self.accounts.limit(limits(config.budgets))
        specs = {name: spec.quota for name, spec in config.backends.items() if spec.quota}
        self._unloaded |= set(self.quotas.configure(specs, self.accounts.calendar.zone))
        self._free()

    @property
    def prices_date(self) -> str:
        return self._prices.date

    @property
    def store_mode(self) -> str:
        return self._store.mode

    @property
    def sellers(self) -> list[str]:
        """Those whose prices are known, makers and resellers."""
        return [seller.name for seller in self._prices.sellers]

    def estimate(self, tariffs: Tariffs, provider: str, model: str, usage: Usage) -> int | None:
        """What ``usage`` of a backend's or a maker's model cost, in micro-dollars; None where nobody knows."""
        tariff = tariffs.others.get((provider, model)) or tariffs.own.get(provider)
        own = tariff.price if tariff and tariff.model in (model, "") else None
        price = own or self._prices.of_seller(provider, model) or self._prices.find("", model)
        return price.cost(usage) if price else None

    def now(self) -> float:
        """As far as the books are concerned: what is written at it counts on the day on which it was spent."""
        return self.accounts.calendar.moment(self._clock())

    async def open(self, asking: Asking) -> Hop:
        """Set aside the most that ``asking`` can cost, durably, and what it is taken to use of quotas.

        Waits where only what other requests have reserved is in its way. Raises `DeniedError`.
        """
        tariff, backend = asking.tariff, asking.backend
        if backend in self._unloaded:
            await self._know_quotas()
        held = Use()
        if self.quotas.meters(backend):
            held = tariff.expected(asking.chat, asking.prompt_bytes)
            if why := self.quotas.hold(backend, held, self.now()):
                raise DeniedError(FailureKind.QUOTA_SPENT, why, hint=_HINT)
        try:
            row = await self._reserve(asking) if tariff.metered else None
        except BaseException:
            self.quotas.let_go(backend, held, Use(), self.now())
            raise
        return Hop(asking, held, row)

    async def settle(self, hop: Hop, usage: Usage | None, *, billed: bool, told: list[Told]) -> int:
        """The attempt has ended: what it cost, in micro-dollars, once that is durable.

        ``usage`` is None where nobody knows; then all that was reserved is taken for spent if it may be ``billed``.
        """
        cost = self.close(hop, usage, billed=billed, told=told)
        if cost:
            with anyio.CancelScope(shield=True):  # it has happened, whoever leaves
                await self._written()
        return cost

    def close(self, hop: Hop, usage: Usage | None, *, billed: bool, told: list[Told]) -> int:
        """The same without waiting: durable soon."""
        if hop.cost is not None:
            return hop.cost
        if usage and not _believable(usage):
            usage = None
        if hop.held != Use() or self.quotas.meters(hop.asking.backend):
            self._use(hop, usage, billed=billed, told=told)
        hop.cost = self._cost(hop, usage, billed=billed)
        if hop.row:
            if hop.cost > hop.row.reserved:
                log.warning(
                    "spend.more_than_reserved", backend=hop.row.backend, cost=hop.cost, reserved=hop.row.reserved
                )
            self.accounts.settle(hop.row.reservation, hop.cost)
            time_ = min(hop.row.time, self.now())  # `set_spent` may have found the clock wrong meanwhile
            row = replace(hop.row, time=time_, settled=hop.cost, state="settled" if hop.cost else "released")
            self._store.enqueue(partial(money.write, row=row), must=True)
            self._free()
        return hop.cost

    async def record(self, backend: str, model: str, client: str, cost: int) -> None:
        """Book what was spent without routerd, today."""
        now = self.now()
        row = Spend(_new_id(), now, cost, cost, "settled", backend=backend, model=model, client=client)
        with anyio.CancelScope(shield=True):  # once it is in the ledger it counts here too, whoever leaves
            async with self._loading:
                await self._store.commit(partial(money.write, row=row))
                self.accounts.record(scopes(backend, "", client), cost, now)

    async def set_spent(self, day: int, month: int) -> None:
        """Say what today and this month have cost so far. Opens what is locked, and takes the clock for right.

        Where nobody knew what had been spent, this counts in every part that has a limit as well. Raises
        ``ValueError`` where the two cannot both be.
        """
        now = self._clock()
        period = self.accounts.calendar.day_of(now)
        first = datetime.fromisoformat(f"{period.month}-01T00:00").replace(tzinfo=self.accounts.calendar.zone)
        if month < day or (period.day.endswith("-01") and month != day):
            raise ValueError("a month's spending is at least that of its days, and on its first day the same")
        scope = EVERY if self.accounts.locked else TOTAL
        self.accounts.restart(now)
        self._store.enqueue(partial(money.history_found, now=now), must=True)
        today = day - self.accounts.spent(TOTAL, period.day)
        rest = month - self.accounts.spent(TOTAL, period.month) - today
        for moment, amount in ((now, today), (first.timestamp(), rest)):
            self.accounts.load([Entry(moment, (scope,), amount)])
            row = Spend(_new_id(), moment, 0, amount, "settled", backend=scope, model=_CORRECTION)
            self._store.enqueue(partial(money.write, row=row), must=True)
        await self._written()
        self._free()

    async def _reserve(self, asking: Asking) -> Spend | None:
        tariff = asking.tariff
        if why := tariff.unpriced(asking.backend):
            raise _denied(f"budget_unpriced: {why}")
        amount = tariff.bound(asking.chat, asking.prompt_bytes)
        if not amount:
            return None
        counted = scopes(asking.backend, asking.route, asking.client)
        id_ = _new_id()
        while isinstance(found := self.accounts.reserve(id_, counted, amount, now := self.now()), Denied):
            if not found.waits:
                raise _denied(str(found))
            await self._freed.wait()
        row = Spend(
            id_,
            now,
            amount,
            backend=asking.backend,
            model=tariff.model,
            route=asking.route,
            client=asking.client,
            request=asking.request,
            attempt=asking.attempt,
        )
        try:
            await self._store.commit(partial(money.write, row=row))
        except BaseException as error:
            self.accounts.release(id_)
            self._store.enqueue(partial(money.write, row=replace(row, settled=0, state="released")), must=True)
            self._free()
            if isinstance(error, StoreError):
                raise _denied(f"budget_locked: {error}") from error
            raise
        return row

    def _cost(self, hop: Hop, usage: Usage | None, *, billed: bool) -> int:
        price = hop.asking.tariff.price
        if hop.row is None or price is None:
            return 0
        if usage:
            return price.cost(usage)
        return hop.row.reserved if billed else 0

    def _use(self, hop: Hop, usage: Usage | None, *, billed: bool, told: list[Told]) -> None:
        backend, now = hop.asking.backend, self.now()
        used = hop.asking.tariff.used(usage) if usage else hop.held if billed else Use()
        self.quotas.let_go(backend, hop.held, used, now)
        if used != Use():
            amounts = (used.tokens, used.requests, used.cost)
            if self._meanwhile is not None:
                self._meanwhile.append((backend, now, *amounts))
            self._store.enqueue(partial(money.use_quota, backend=backend, moment=now, amounts=amounts))
        self.quotas.correct(backend, told, now, perf_counter())

    async def _load_accounts(self) -> None:
        """Have the books say what the ledger does; they stay locked where that is not all there was."""
        async with self._loading:
            if closed := await self._store.commit(money.close_open):
                log.warning("spend.unsettled", reservations=closed)
            lost, rows = await self._store.read(partial(money.history, moment=self.now() - HISTORY_S))
            if not self.accounts.locked:
                return  # somebody has said meanwhile what was spent
            self.accounts.forget()
            self.accounts.load(Entry(row.time, _scopes(row), row.amount) for row in rows)
            self.accounts.locked = f"{_UNKNOWN}: {lost}" if lost else ""

    async def _know_quotas(self) -> None:
        """Have new quotas know what was used before; where that cannot be read, they count from here until it can."""
        try:
            await self._load_quotas()
        except StoreError as error:
            log.warning("quota.unread", error=str(error))

    async def _load_quotas(self) -> None:
        async with self._loading:
            if not (backends := sorted(self._unloaded)):
                return
            self._meanwhile = []
            try:
                known = partial(money.quota_used, backends=backends, moment=self.now() - HISTORY_S)
                # What came late may be in both: rather too much is used than too little.
                rows = [*await self._store.read(known), *self._meanwhile]
            finally:
                self._meanwhile = None
            for backend in backends:
                self.quotas.load(backend, [(moment, Use(*used)) for name, moment, *used in rows if name == backend])
            self._unloaded.difference_update(backends)

    async def _written(self) -> None:
        """All that was enqueued so far is durable."""
        try:
            await self._store.commit(_nothing)
        except StoreError as error:  # what is not settled in the ledger counts as spent there
            log.error("spend.not_settled", error=str(error))

    def _free(self) -> None:
        self._freed.set()
        self._freed = anyio.Event()


def _scopes(row: Spend) -> tuple[str, ...]:
    """A correction names a scope where others name a backend."""
    if row.backend in (EVERY, TOTAL) and row.model == _CORRECTION:
        return (row.backend,)
    return scopes(row.backend, row.route, row.client)


def _believable(usage: Usage) -> bool:
    """Whether a server can mean it: what it used is neither less than nothing nor beyond every model."""
    return all(0 <= tokens <= MOST_TOKENS for tokens in astuple(usage))


def _nothing(_connection: object) -> None:
    pass


def _denied(why: str) -> DeniedError:
    return DeniedError(FailureKind.BUDGET_DENIED, why, hint=_HINT)


def _new_id() -> str:
    """Ids grow with time: neighbours in time share pages of the ledger, and a commit writes fewer."""
    return f"{time.time_ns():016x}{random.getrandbits(32):08x}"
