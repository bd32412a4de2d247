"""One explainable decision: from a request to the ordered candidates. Pure, microseconds.

Order: the model the request names > the session's own model > the first matching route > the default.
Then the route's ``set`` is laid on, the endpoint's strategy orders its targets, and each is admitted or
skipped with a reason. Matching fails open: a matcher that breaks is passed over. Privacy fails closed.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from routerd_client.chat import ChatRequest
from routerd_client.records import Candidate, Decision

from .admit import admit, prefer
from .features import Features
from .overrides import NONE
from .strategy import Item
from .table import CompiledRoute, Endpoint, Table
from .terms import Terms
from .trace import trace_of
from .view import Asking, View, Wanted

_SHOWN = 200
"""Characters of a name in a message."""


class UnknownModelError(LookupError):
    """A request names a model that is neither endpoint nor backend."""

    def __init__(self, name: str, nearest: str) -> None:
        super().__init__(f"there is no endpoint or backend {name[:_SHOWN]!r}")
        self.hint = f"did you mean {nearest!r}?" if nearest else "routerctl status lists them"


class Decided(Struct, frozen=True):
    """A decision, and what follows from it.

    ``chat`` has the route's overrides on it. ``items`` are the candidates as their strategy gave them.
    ``unsure`` are candidates that the prompt may not fit: to be sure, count its tokens and decide again. ``unproven``
    were skipped though they may keep here what must stay here: ask them and decide again.
    ``broken`` are routes whose matcher failed, with the error. ``factors`` say what each score is made of, by the
    classifier's name.
    """

    decision: Decision
    chat: ChatRequest
    terms: Terms
    items: list[Item]
    unsure: list[str]
    unproven: list[str]
    broken: list[tuple[str, str]]
    factors: dict[str, dict[str, int]]


class _Destination(Struct, frozen=True):
    """``named`` says who named the endpoint: ``request``, ``session``, or ``""`` where routes did, or nobody."""

    endpoint: str
    named: str = ""
    route: CompiledRoute | None = None


def decide(
    table: Table,
    features: Features,
    view: View,
    *,
    session_model: str = "",
    seed: str = "",
    generation: int = 0,
    trace: bool = False,
) -> Decided:
    """The decision for one request. ``session_model`` is what its session chose for itself.

    ``trace`` fills `Decision.trace`; nobody pays for it otherwise. Raises `UnknownModelError`.
    """
    broken: list[tuple[str, str]] = []
    goes = _destination(table, features, session_model, broken)
    endpoint, overrides = table.endpoints[goes.endpoint], goes.route.overrides if goes.route else NONE
    chat = overrides.lay_on(features.chat)
    terms = replace(endpoint.terms, **overrides.terms) if overrides.terms else endpoint.terms
    # any of the three will do: a route that sets it to false does not undo what the request asks for
    local_only = bool(features.chat.local_only or chat.local_only or endpoint.spec.local_only)
    if local_only and not chat.local_only:
        chat = replace(chat, local_only=True)  # backends go by what they are sent
    asking = Asking(features, view, table.scorers, seed, overrides.policy)
    wanted = Wanted(chat, terms, goes.route.name if goes.route else "")
    order = endpoint.strategy.order(asking)
    admission = admit(order, asking, wanted, endpoint.spec, table.backends, local_only=local_only)
    items = prefer(admission.admitted, asking, goes.endpoint, endpoint.spec, table.backends)
    decision = Decision(
        route=wanted.route,
        endpoint=goes.endpoint,
        named=goes.named,
        candidates=[_candidate(item, view) for item in items],
        skipped=admission.skipped,
        overrides=overrides.said,
        scores={name: score.value for name, score in asking.scores.items()},
        variant=asking.variant,
        generation=generation,
    )
    if trace:
        decision = replace(decision, trace=trace_of(table, asking, decision, goes.route, broken))
    return Decided(
        decision=decision,
        chat=_spilling(chat, endpoint, items, table),
        terms=_judged(terms, items),
        items=items,
        unsure=[backend for backend in admission.unsure if any(item.backend == backend for item in items)],
        unproven=admission.unproven,
        broken=broken,
        factors={name: score.factors for name, score in asking.scores.items() if score.factors},
    )


def _destination(table: Table, features: Features, session_model: str, broken: list[tuple[str, str]]) -> _Destination:
    for model, who in ((features.chat.model, "request"), (session_model, "session")):
        if named := table.named(model):
            if named not in table.endpoints and who == "session":
                continue  # a reload has removed what the session chose
            if named not in table.endpoints:
                raise UnknownModelError(named, table.nearest(named))
            return _Destination(named, who)
    for route in table.possible(features.context):
        try:
            if route.predicate(features):
                return _Destination(route.use, route=route)
        except Exception as error:  # whatever it is: routing must not stop a request
            broken.append((route.name, f"{type(error).__name__}: {error}"))
    return _Destination(table.default)


def _candidate(item: Item, view: View) -> Candidate:
    note = view.note(item.backend)
    return Candidate(item.backend, [item.reason, note] if note else [item.reason], view.wait(item.backend))


def _spilling(chat: ChatRequest, endpoint: Endpoint, items: list[Item], table: Table) -> ChatRequest:
    """Where spill is active, a local backend that would let the request wait gives way to one elsewhere."""
    if endpoint.spec.spill != "active" or chat.when_full is not None:
        return chat
    places = [table.backends[item.backend].near for item in items]
    return replace(chat, when_full="next") if True in places and False in places[places.index(True) :] else chat


def _judged(terms: Terms, items: list[Item]) -> Terms:
    judges = {item.backend: item.judge for item in items if item.judge is not None}
    return replace(terms, judges=judges) if judges else terms
