"""The scheduler alone, and in a simulation of thousands of arrivals."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from routerd.supervisor.schedule import Policy, Slot, Waiter, order, relieve, schedule
from routerd_client.chat import Priority
from routerd_client.records import Residency

POLICY = Policy(budget=10, max_wait=15, aging=10)
READY, LOADING, STOPPING, STOPPED = Residency.READY, Residency.LOADING, Residency.STOPPING, Residency.STOPPED


def waiter(number: int, model: str, arrived: float = 0, priority: Priority = Priority.NORMAL) -> Waiter:
    return Waiter(number=number, model=model, priority=priority, arrived=arrived)


def test_a_ready_model_takes_its_waiters_up_to_its_limit() -> None:
    slots = [Slot(name="a", residency=READY, in_flight=1, limit=3, claim=4)]
    assert schedule(slots, [waiter(i, "a") for i in range(5)], POLICY, 0).admit == [0, 1]


def test_the_urgent_goes_first_and_age_makes_urgent() -> None:
    waiters = [
        waiter(0, "a", arrived=0, priority=Priority.BACKGROUND),
        waiter(1, "a", arrived=19, priority=Priority.NORMAL),
        waiter(2, "a", arrived=19, priority=Priority.INTERACTIVE),
    ]
    assert [w.number for w in order(waiters, 19, POLICY)] == [2, 0, 1]
    assert [w.number for w in order(waiters, 20, POLICY)] == [0, 2, 1]


def test_a_load_that_fits_is_granted_and_one_beside_it_waits() -> None:
    slots = [Slot(name="a", residency=LOADING, need=6), Slot(name="b", residency=LOADING, need=6)]
    actions = schedule(slots, [waiter(0, "b"), waiter(1, "a")], POLICY, 0)
    assert actions.grant == ["b"]
    assert actions.evict == []


def test_an_idle_model_gives_way_and_the_grant_waits_for_its_end() -> None:
    idle = Slot(name="a", residency=READY, claim=6)
    asking = Slot(name="b", residency=LOADING, need=6)
    first = schedule([idle, asking], [waiter(0, "b")], POLICY, 0)
    assert (first.evict, first.grant) == (["a"], [])
    second = schedule([replace(idle, residency=STOPPING), asking], [waiter(0, "b")], POLICY, 0)
    assert (second.evict, second.grant) == ([], [])
    third = schedule([replace(idle, residency=STOPPED, claim=0), asking], [waiter(0, "b")], POLICY, 0)
    assert (third.evict, third.grant) == ([], ["b"])


def test_a_model_that_somebody_waits_for_is_not_idle() -> None:
    slots = [Slot(name="a", residency=READY, limit=1, claim=6), Slot(name="b", residency=LOADING, need=6)]
    actions = schedule(slots, [waiter(0, "b"), waiter(1, "a")], POLICY, 0)
    assert (actions.evict, actions.admit) == ([], [1])


def test_an_overdue_load_stops_what_is_in_its_way_from_taking_more() -> None:
    busy = Slot(name="a", residency=READY, in_flight=1, limit=4, claim=6, since=-100)
    slots = [busy, Slot(name="b", residency=LOADING, need=6)]
    waiters = [waiter(0, "b"), waiter(1, "a")]
    before = schedule(slots, waiters, POLICY, 14.9)
    assert (before.admit, before.held, before.look_again) == ([1], frozenset(), 15)
    after = schedule(slots, waiters, POLICY, 15)
    assert (after.admit, after.held, after.evict) == ([], {"a"}, [])
    drained = schedule([replace(busy, in_flight=0), slots[1]], waiters, POLICY, 16)
    assert drained.evict == ["a"]


def test_a_fresh_model_serves_before_it_gives_way() -> None:
    fresh = Slot(name="a", residency=READY, limit=4, claim=6, since=20)
    slots = [fresh, Slot(name="b", residency=LOADING, need=6)]
    actions = schedule(slots, [waiter(0, "b"), waiter(1, "a")], POLICY, 21)
    assert (actions.admit, actions.evict, actions.held) == ([1], [], frozenset())
    assert actions.look_again == 35


def test_nobody_overtakes_an_overdue_load() -> None:
    slots = [
        Slot(name="a", residency=READY, in_flight=1, limit=4, claim=6, since=-100),
        Slot(name="b", residency=LOADING, need=6),
        Slot(name="c", residency=LOADING, need=3),
    ]
    waiters = [waiter(0, "b"), waiter(1, "c", arrived=5)]
    assert schedule(slots, waiters, POLICY, 10).grant == ["c"]
    assert schedule(slots, waiters, POLICY, 20).grant == []


def test_a_pinned_model_stays_and_what_cannot_fit_beside_it_is_refused_with_numbers() -> None:
    slots = [Slot(name="a", residency=READY, claim=6, pinned=True), Slot(name="b", residency=LOADING, need=6)]
    actions = schedule(slots, [waiter(0, "b")], POLICY, 100)
    assert actions.evict == []
    assert "pinned by a" in actions.refuse["b"]


def test_a_load_that_nobody_waits_for_is_abandoned_unless_it_is_kept() -> None:
    slots = [Slot(name="a", residency=LOADING, claim=3), Slot(name="b", residency=LOADING, claim=3, kept=True)]
    assert schedule(slots, [], POLICY, 0).abandon == ["a"]


@dataclass
class World:
    """Models, requests and memory, moved in steps of a tenth of a second by what `schedule` says."""

    sizes: dict[str, int]
    pinned: set[str]
    rng: random.Random
    now: float = 0.0
    slots: dict[str, Slot] = field(default_factory=dict)
    waiting: dict[int, Waiter] = field(default_factory=dict)
    running: dict[int, tuple[str, float]] = field(default_factory=dict)
    until: dict[str, float] = field(default_factory=dict)
    longest_wait: float = 0.0
    served: int = 0

    def __post_init__(self) -> None:
        self.slots = {n: Slot(name=n, residency=STOPPED, limit=2, pinned=n in self.pinned) for n in self.sizes}

    def change(self, name: str, **fields: object) -> None:
        self.slots[name] = replace(self.slots[name], **fields)

    def step(self) -> None:
        self.now += 0.1
        for number, (model, end) in list(self.running.items()):
            if end <= self.now:
                del self.running[number]
                self.change(model, in_flight=self.slots[model].in_flight - 1, idle_since=self.now)
        for name, end in list(self.until.items()):
            if end <= self.now:
                del self.until[name]
                if self.slots[name].residency is STOPPING:
                    self.change(name, residency=STOPPED, claim=0)
                else:
                    self.change(name, residency=READY, since=self.now, idle_since=self.now)
        for model in {w.model for w in self.waiting.values()}:
            if self.slots[model].residency is STOPPED:
                self.change(model, residency=LOADING, need=self.sizes[model])
        self.carry_out()

    def carry_out(self) -> None:
        actions = schedule(list(self.slots.values()), self.waiting.values(), POLICY, self.now)
        assert not actions.refuse
        for name in actions.abandon:
            ends = self.until.pop(name, None)
            self.change(name, residency=STOPPING if ends else STOPPED, need=None)
            if ends:
                self.until[name] = self.now + 0.2
        for name in actions.grant:
            self.change(name, need=None, claim=self.sizes[name], load_s=self.sizes[name])
            self.until[name] = self.now + self.sizes[name] / 3
        for name in actions.evict:
            slot = self.slots[name]
            assert slot.residency is READY
            assert slot.in_flight == 0, "a busy model was evicted"
            assert not slot.pinned, "a pinned model was evicted"
            self.change(name, residency=STOPPING)
            self.until[name] = self.now + 0.2
        for number in actions.admit:
            waiter = self.waiting.pop(number)
            self.longest_wait = max(self.longest_wait, self.now - waiter.arrived)
            self.change(waiter.model, in_flight=self.slots[waiter.model].in_flight + 1)
            self.running[number] = (waiter.model, self.now + self.rng.uniform(0.1, 3))
            self.served += 1
        held = sum(slot.claim for slot in self.slots.values())
        assert held <= (POLICY.budget or 0), "over budget"


@pytest.mark.parametrize("seed", range(8))
def test_thousands_of_arrivals_never_pass_the_budget_and_all_are_served(seed: int) -> None:
    """Over budget, a busy or pinned victim: asserted at each step. Starvation: the longest wait is bounded
    by some turns of ``max_wait`` for each of the models, although arrivals never pause."""
    rng = random.Random(seed)
    world = World({"a": 6, "b": 5, "c": 4, "d": 3, "e": 2}, {"e"} if seed % 2 else set(), rng)
    arrivals = 0
    while arrivals < 500 or world.waiting:
        if arrivals < 500 and rng.random() < 0.12:
            model = rng.choices("abcde", [8, 4, 2, 1, 1])[0]
            priority = rng.choices(list(Priority), [3, 2, 1])[0]
            world.waiting[arrivals] = Waiter(number=arrivals, model=model, priority=priority, arrived=world.now)
            arrivals += 1
        if world.waiting and rng.random() < 0.002:
            del world.waiting[rng.choice(list(world.waiting))]
            world.served += 1
        world.step()
        assert world.now < 10_000, f"starved: {world.waiting}"
    assert world.served == 500
    assert world.longest_wait < 15 * POLICY.max_wait


def test_under_pressure_only_loads_that_are_waited_for_get_memory() -> None:
    slots = [Slot(name="a", residency=LOADING, need=1, kept=True), Slot(name="b", residency=LOADING, need=1)]
    pressed = Policy(budget=10, pressed=True)
    assert schedule(slots, [waiter(0, "b")], pressed, 0).grant == ["b"]
    assert schedule(slots, [waiter(0, "b"), waiter(1, "a")], pressed, 0).grant == ["b", "a"]
    assert schedule(slots, [waiter(0, "b")], POLICY, 0).grant == ["b", "a"]


def test_pressure_takes_the_idle_model_that_is_cheapest_to_bring_back() -> None:
    slots = [
        Slot(name="dear", residency=READY, load_s=20, uses=2, idle_since=0),
        Slot(name="cheap", residency=READY, load_s=2, uses=2, idle_since=5),
        Slot(name="as cheap, idle longer", residency=READY, load_s=4, uses=1, idle_since=4),
        Slot(name="busy", residency=READY, in_flight=1),
        Slot(name="pinned", residency=READY, pinned=True),
        Slot(name="wanted", residency=READY),
        Slot(name="loading", residency=LOADING),
    ]
    gone: list[str] = []
    while name := relieve([slot for slot in slots if slot.name not in gone], [waiter(0, "wanted")]):
        gone.append(name)
    assert gone == ["as cheap, idle longer", "cheap", "dear"]


def test_pressure_takes_one_after_the_other() -> None:
    slots = [Slot(name="a", residency=STOPPING, claim=4), Slot(name="b", residency=READY, claim=4)]
    assert relieve(slots, []) is None


def test_a_model_measured_above_its_claim_leaves_the_others_less() -> None:
    slots = [Slot(name="a", residency=READY, in_flight=1, claim=6), Slot(name="b", residency=LOADING, need=4)]
    assert schedule(slots, [waiter(0, "b")], POLICY, 0).grant == ["b"]
    grown = [replace(slots[0], claim=7), slots[1]]
    assert schedule(grown, [waiter(0, "b")], POLICY, 0).grant == []


def alone(number: int, model: str = "a", arrived: float = 0) -> Waiter:
    return replace(waiter(number, model, arrived), alone=True)


def test_one_that_must_be_alone_waits_for_an_idle_model_and_others_pass_it() -> None:
    busy = Slot(name="a", residency=READY, in_flight=1, limit=3, claim=4)
    waiters = [alone(0), waiter(1, "a"), waiter(2, "a")]
    actions = schedule([busy], waiters, POLICY, 0)
    assert (actions.admit, actions.look_again) == ([1, 2], 15)
    assert schedule([busy], waiters, POLICY, 15).admit == [], "after max_wait nobody passes it"
    assert schedule([replace(busy, in_flight=0)], waiters, POLICY, 15).admit == [0]


def test_nobody_joins_one_that_must_be_alone() -> None:
    idle = Slot(name="a", residency=READY, limit=3, claim=4)
    assert schedule([idle], [alone(0), waiter(1, "a"), alone(2)], POLICY, 0).admit == [0]
    assert schedule([replace(idle, in_flight=1, lone=True)], [waiter(1, "a")], POLICY, 0).admit == []
    other = Slot(name="b", residency=READY, limit=1, claim=4)
    assert schedule([idle, other], [alone(0), waiter(1, "b")], POLICY, 0).admit == [0, 1]
