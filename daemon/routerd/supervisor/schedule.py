"""Who is served next, what is loaded, and what gives way: one decision over all models and waiters. Pure.

1. A load that nobody waits for any more is abandoned.
2. Memory goes to loads in the order of their first waiters. What fits is granted; idle models give
   way where that suffices. A load that would have to wait for busy models lets others pass it, but
   only for ``max_wait``: then nobody overtakes it, and models in its way that have been ready for
   ``max_wait`` themselves take nobody new until they are idle, and give way. So a model that was
   loaded serves those it was loaded for.
3. A ready model takes its waiters, by priority and then by age, up to its limit. One that must be answered
   ``alone`` waits until the model is idle; others pass it, but only for ``max_wait``.

A waiter rises by one priority class with every ``aging``, so that nobody waits for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from routerd_client.chat import Priority
from routerd_client.records import Residency

from .evict import Claim, Evict, Fits, Refuse, Standing, decide

_CLASSES = {Priority.INTERACTIVE: 0, Priority.NORMAL: 1, Priority.BACKGROUND: 2}
_ENDING = (Residency.STOPPING, Residency.DRAINING)


class Slot(Struct, frozen=True, kw_only=True):
    """One model process. ``claim`` is what it holds in bytes; ``need`` what its load asks for, None where it
    asks for nothing. ``kept`` is a load that goes on without waiters (a preload). ``since`` is when it became
    ready, in seconds of a steady clock; ``idle_since``, ``load_s`` and ``uses`` as in `Claim`. ``lone``: the request
    in flight is to have no other beside it."""

    name: str
    residency: Residency
    in_flight: int = 0
    limit: int = 1
    claim: int = 0
    need: int | None = None
    pinned: bool = False
    kept: bool = False
    since: float = 0.0
    idle_since: float = 0.0
    load_s: float = 0.0
    uses: float = 0.0
    lone: bool = False


class Waiter(Struct, frozen=True, kw_only=True):
    """One request that waits for ``model``. ``number`` counts arrivals; ``arrived`` is seconds of a steady clock;
    ``alone``: it is to be answered with no other beside it."""

    number: int
    model: str
    priority: Priority
    arrived: float
    alone: bool = False


class Policy(Struct, frozen=True):
    """``budget`` in bytes, None for no limit; ``max_wait`` and ``aging`` in seconds. ``pressed``: the machine is
    short of memory, and nothing is loaded that nobody waits for."""

    budget: int | None
    max_wait: float = 15.0
    aging: float = 10.0
    pressed: bool = False


class Actions(Struct, frozen=True):
    """What to do now. ``admit`` has waiters' numbers; ``grant`` loads that get their memory; ``evict`` idle
    models to stop; ``abandon`` loads to stop; ``refuse`` loads that can never fit, and why; ``held`` models
    that take nobody new; ``look_again`` the time at which, nothing else happening, the answer may change."""

    admit: list[int]
    grant: list[str]
    evict: list[str]
    abandon: list[str]
    refuse: dict[str, str]
    held: frozenset[str]
    look_again: float | None


def order(waiters: Iterable[Waiter], now: float, policy: Policy) -> list[Waiter]:
    """The waiters as they are to be served: by class, risen by age, then by arrival."""

    def rank(waiter: Waiter) -> tuple[int, int]:
        return max(0, _CLASSES[waiter.priority] - int((now - waiter.arrived) / policy.aging)), waiter.number

    return sorted(waiters, key=rank)


def schedule(slots: Sequence[Slot], waiters: Iterable[Waiter], policy: Policy, now: float) -> Actions:
    """What to do now. Deciding again after carrying it out changes nothing, until something else happens."""
    queue = order(waiters, now, policy)
    memory = _Memory(slots, queue, policy, now)
    memory.distribute()
    return Actions(
        admit=memory.admit(),
        grant=memory.grant,
        evict=memory.evict,
        abandon=memory.abandon,
        refuse=memory.refuse,
        held=frozenset(memory.held),
        look_again=memory.look_again,
    )


def relieve(slots: Sequence[Slot], waiters: Iterable[Waiter]) -> str | None:
    """The model to unload next where the machine is short of memory: of those that nobody needs now and that are
    not pinned, the cheapest to bring back. None where there is no such model, or one is ending already."""
    wanted = {waiter.model for waiter in waiters}
    if any(slot.residency is Residency.STOPPING for slot in slots):
        return None
    idle = [s for s in slots if s.residency is Residency.READY and not (s.in_flight or s.pinned or s.name in wanted)]
    return min(idle, key=lambda s: (s.load_s * s.uses, s.idle_since)).name if idle else None


class _Memory:
    """The second and the third rule, as they go through the loads and the waiters."""

    def __init__(self, slots: Sequence[Slot], queue: Sequence[Waiter], policy: Policy, now: float) -> None:
        self._slots = {slot.name: slot for slot in slots}
        self._queue = queue
        self._policy = policy
        self._now = now
        self._first: dict[str, Waiter] = {}
        for waiter in queue:
            self._first.setdefault(waiter.model, waiter)
        self._promised: dict[str, int] = {}
        """Bytes that loads were granted, or that models are being evicted for."""
        self.grant: list[str] = []
        self.evict: list[str] = []
        self.abandon = [s.name for s in slots if self._unwanted(s)]
        self.refuse: dict[str, str] = {}
        self.held: set[str] = set()
        self.look_again: float | None = None

    def _unwanted(self, slot: Slot) -> bool:
        return slot.residency is Residency.LOADING and not slot.kept and slot.name not in self._first

    def distribute(self) -> None:
        asking = [s for s in self._slots.values() if s.need is not None and s.name not in self.abandon]
        if self._policy.pressed:
            asking = [s for s in asking if s.name in self._first]
        place = {name: number for number, name in enumerate(self._first)}
        for slot in sorted(asking, key=lambda s: place.get(s.name, len(place))):
            if not self._serve(slot, slot.need or 0):
                return  # it is overdue: nobody overtakes it

    def admit(self) -> list[int]:
        """Apply the third rule: return the numbers of the waiters that are taken in."""
        admit = []
        taken = {name: slot.in_flight for name, slot in self._slots.items()}
        limits = {name: slot.limit for name, slot in self._slots.items() if self._open(slot)}
        for waiter in self._queue:
            if taken.get(waiter.model, 0) >= limits.get(waiter.model, 0):
                continue
            if waiter.alone and taken[waiter.model]:
                if self._past(waiter.arrived):
                    limits[waiter.model] = 0  # nobody passes it any more
                continue
            taken[waiter.model] += 1
            admit.append(waiter.number)
            if waiter.alone:
                limits[waiter.model] = 0
        return admit

    def _open(self, slot: Slot) -> bool:
        ready = slot.residency is Residency.READY and not slot.lone
        return ready and slot.name not in self.held and slot.name not in self.evict

    def _serve(self, slot: Slot, need: int) -> bool:
        """Find memory for one load; false where nobody behind it may have any."""
        match decide(slot.name, need, self._claims(), self._policy.budget):
            case Fits():
                self._promised[slot.name] = need
                if self._free() >= 0:
                    self.grant.append(slot.name)
            case Evict(names):
                self._promised[slot.name] = need
                self.evict += names
            case Refuse(message):
                self.refuse[slot.name] = message
            case _:
                return self._wait(slot, need)
        return True

    def _wait(self, slot: Slot, need: int) -> bool:
        waiter = self._first.get(slot.name)
        if waiter is None:
            return True
        if not self._past(waiter.arrived):
            return True
        # As if the busy ones were idle already: the cheapest that would do take nobody new from now on.
        match decide(slot.name, need, self._claims(as_idle=True), self._policy.budget):
            case Evict(names):
                self.held.update(names)
                self.evict += [name for name in names if self._idle(self._slots[name])]
                self._promised[slot.name] = need
            case _:
                pass  # other loads are in the way; they end by themselves
        return False

    def _past(self, since: float) -> bool:
        """Whether ``max_wait`` has passed; if not, it is worth looking again when it has."""
        due = since + self._policy.max_wait
        if self._now >= due:
            return True
        self.look_again = min(due, self.look_again or due)
        return False

    def _claims(self, *, as_idle: bool = False) -> list[Claim]:
        """What is held once all that is ending has ended."""
        claims = [
            Claim(
                name=slot.name,
                size=slot.claim,
                standing=self._standing(slot, as_idle=as_idle),
                idle_since=slot.idle_since,
                load_s=slot.load_s,
                uses=slot.uses,
            )
            for slot in self._slots.values()
            if slot.claim and slot.residency not in _ENDING and slot.name not in self.evict
        ]
        promised = [Claim(name=n, size=size, standing=Standing.LOADING) for n, size in self._promised.items()]
        return claims + promised

    def _standing(self, slot: Slot, *, as_idle: bool) -> Standing:
        if slot.pinned:
            return Standing.PINNED
        if slot.residency is Residency.LOADING:
            return Standing.LOADING
        if self._idle(slot) or (as_idle and self._past(slot.since)):
            return Standing.IDLE
        return Standing.BUSY

    def _idle(self, slot: Slot) -> bool:
        wanted = slot.name in self._first and slot.name not in self.held
        return slot.residency is Residency.READY and not slot.in_flight and not wanted

    def _free(self) -> int:
        """Bytes left now, with what is still ending counted in; negative where a grant must wait for it."""
        if self._policy.budget is None:
            return 0
        held = sum(slot.claim for slot in self._slots.values())
        return self._policy.budget - held - sum(self._promised.values())
