"""Who may answer, in which order, and why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from routerd.config.match import MatchSpec
from routerd.config.schema import BackendSpec, ConfigSpec, MlxSpec, OverrideSpec, RouteSpec
from routerd.config.strategy import EndpointSpec
from routerd.routing.decide import UnknownModelError, decide
from routerd.routing.features import Features
from routerd.routing.match import compile_match
from routerd.routing.overrides import compile_overrides
from routerd.routing.table import Table, compile_table
from routerd_client.chat import ChatRequest, Message, Priority, Sampling
from routerd_client.records import Decision, FailureKind, Skipped
from tests.support.view import FakeView


def table(*routes: RouteSpec) -> Table:
    return compile_table(
        ConfigSpec(
            backends={name: BackendSpec(mlx=MlxSpec(model="demo")) for name in ("small", "large")},
            endpoints={"primary": EndpointSpec(fallback=("small", "large"))},
            routes=routes,
            default="primary",
        )
    )


def ask(model: str = "", **context: str) -> ChatRequest:
    return ChatRequest(messages=[Message("user", "hello")], model=model, context=context)


def decided(routes: Table, chat: ChatRequest, view: FakeView | None = None, *, trace: bool = False) -> Decision:
    return decide(routes, Features(chat), view or FakeView(), generation=7, trace=trace).decision


def features(context: dict[str, str]) -> Features:
    return Features(ChatRequest(messages=[], context=context))


def names(decision: Decision) -> list[str]:
    return [candidate.backend for candidate in decision.candidates]


STRANGERS = RouteSpec(match=MatchSpec(context={"source_kind": "stranger"}), use="small", name="strangers")
PLANS = RouteSpec(match=MatchSpec(context={"task": ("plan", "design")}), use="large")


def test_a_named_model_beats_the_routes() -> None:
    decision = decided(table(STRANGERS), ask("large", source_kind="stranger"))
    assert (decision.route, decision.endpoint, names(decision)) == ("", "large", ["large"])


def test_a_route_beats_the_default() -> None:
    decision = decided(table(STRANGERS), ask(source_kind="stranger"))
    assert (decision.route, decision.endpoint, names(decision)) == ("strangers", "small", ["small"])


def test_where_no_route_matches_the_default_answers() -> None:
    decision = decided(table(STRANGERS), ask(source_kind="owner"))
    assert (decision.route, decision.endpoint, names(decision)) == ("", "primary", ["small", "large"])
    assert decision.generation == 7


@pytest.mark.parametrize("model", ["", "routed"])
def test_empty_and_routed_name_no_model(model: str) -> None:
    assert decided(table(STRANGERS), ask(model, source_kind="stranger")).route == "strangers"


def test_an_endpoint_may_be_named() -> None:
    assert names(decided(table(), ask("primary"))) == ["small", "large"]


def test_a_backend_stands_for_itself_alone() -> None:
    decision = decided(table(), ask("small"))
    assert decision.candidates[0].reasons == ["the only target"]


def test_an_unknown_model_is_told_with_the_nearest_name() -> None:
    with pytest.raises(UnknownModelError, match="'smal'") as caught:
        decided(table(), ask("smal"))
    assert caught.value.hint == "did you mean 'small'?"


def test_the_first_match_wins() -> None:
    both = table(STRANGERS, RouteSpec(match=MatchSpec(context={"source_kind": "stranger"}), use="large"))
    assert decided(both, ask(source_kind="stranger")).endpoint == "small"


def test_a_route_without_a_name_is_known_by_its_place() -> None:
    assert decided(table(STRANGERS, PLANS), ask(task="plan")).route == "routes[1]"


@pytest.mark.parametrize(
    ("match", "context", "matches"),
    [
        ({"task": "plan"}, {"task": "plan"}, True),
        ({"task": "plan"}, {"task": "Plan"}, False),
        ({"task": "plan"}, {}, False),
        ({"task": ("plan", "design")}, {"task": "design"}, True),
        ({"task": ("plan", "design")}, {"task": "code"}, False),
        ({"task": "plan", "platform": "cli"}, {"task": "plan"}, False),
        ({"task": "plan", "platform": "cli"}, {"task": "plan", "platform": "cli", "more": "x"}, True),
        ({}, {}, True),
    ],
)
def test_each_key_must_be_there_with_one_of_its_values(match: Any, context: dict[str, str], matches: bool) -> None:
    assert compile_match(MatchSpec(context=match))(features(context)) is matches


words = st.sampled_from(["a", "b", "c", ""])


@given(
    st.dictionaries(words, st.one_of(words, st.lists(words, min_size=1).map(tuple)), max_size=3),
    st.dictionaries(words, words, max_size=3),
)
def test_a_match_is_a_subset_of_the_context(match: dict[str, Any], context: dict[str, str]) -> None:
    predicate = compile_match(MatchSpec(context=match))
    wanted = {key: (value,) if isinstance(value, str) else value for key, value in match.items()}
    assert predicate(features(context)) is all(
        key in context and context[key] in values for key, values in wanted.items()
    )
    assert predicate.explain(features(context))


def test_a_blocked_backend_is_skipped_with_its_reason() -> None:
    decision = decided(table(), ask(), FakeView(blocked={"small": "breaker open"}))
    assert names(decision) == ["large"]
    assert decision.skipped == [Skipped("small", "breaker open", FailureKind.SERVER_ERROR)]


def test_where_all_are_blocked_nobody_is_a_candidate() -> None:
    decision = decided(table(), ask(), FakeView(blocked={"small": "a", "large": "b"}))
    assert (names(decision), [s.reason for s in decision.skipped]) == ([], ["a", "b"])


def test_a_candidate_says_why_it_stands_there() -> None:
    decision = decided(table(), ask(), FakeView(note={"large": "loaded"}))
    assert [c.reasons for c in decision.candidates] == [["first choice"], ["fallback 1", "loaded"]]


def test_a_trace_is_made_only_where_it_is_asked_for() -> None:
    assert decided(table(STRANGERS), ask()).trace == []


def test_the_trace_tells_the_whole_way() -> None:
    routes = table(
        STRANGERS,
        RouteSpec(match=MatchSpec(context={"task": "plan"}), use="primary", name="p", set=OverrideSpec(top_k=0)),
    )
    assert decided(routes, ask(task="plan"), FakeView(blocked={"small": "breaker open"}), trace=True).trace == [
        "strangers: no match, the context has no source_kind",
        "p: match (task=plan) -> primary",
        "p sets top_k=0",
        "endpoint primary: fallback",
        "candidate large: fallback 1",
        "skipped small: breaker open",
    ]


def test_the_trace_of_a_named_model_says_that_routes_were_not_asked() -> None:
    trace = decided(table(STRANGERS), ask("small"), trace=True).trace
    assert trace[:2] == ["the request names small: routes are not asked", "backend small: nobody else is asked"]


def test_a_routes_overrides_are_laid_on_and_told() -> None:
    route = RouteSpec(
        match=MatchSpec(context={"task": "plan"}), use="large", set=OverrideSpec(max_tokens=64, temperature=0.0)
    )
    found = decide(table(route), Features(ask(task="plan")), FakeView())
    assert (found.chat.max_tokens, found.chat.sampling.temperature) == (64, 0.0)
    assert found.decision.overrides == {"max_tokens": "64", "temperature": "0.0"}


def test_a_named_model_gets_no_routes_overrides() -> None:
    route = RouteSpec(match=MatchSpec(context={"task": "plan"}), use="large", set=OverrideSpec(max_tokens=64))
    assert decide(table(route), Features(ask("large", task="plan")), FakeView()).chat.max_tokens is None


def test_nothing_empty_is_an_opinion_and_zero_and_false_are_values() -> None:
    chat = ChatRequest(messages=[])
    assert compile_overrides(None).lay_on(chat) is chat
    assert compile_overrides(OverrideSpec(max_tokens=None, stop=())).lay_on(chat) is chat
    found = compile_overrides(OverrideSpec(temperature=0.0, top_k=0, seed=0, stream=False))
    assert found.said == {"temperature": "0.0", "top_k": "0", "seed": "0", "stream": "False"}


def test_an_override_keeps_what_it_says_nothing_of() -> None:
    chat = ChatRequest(messages=[], sampling=Sampling(top_p=0.5, seed=3), max_tokens=9, stop=["x"])
    changed = compile_overrides(OverrideSpec(seed=0, deadline=2.5, stop=("y",), priority=Priority.BACKGROUND)).lay_on(
        chat
    )
    assert changed.sampling == Sampling(top_p=0.5, seed=0)
    assert (changed.max_tokens, changed.deadline_s, changed.stop) == (9, 2.5, ["y"])
    assert changed.priority is Priority.BACKGROUND


overrides = st.builds(
    OverrideSpec,
    max_tokens=st.none() | st.integers(1, 9),
    temperature=st.none() | st.sampled_from([0.0, 1.0]),
    seed=st.none() | st.integers(0, 3),
    stop=st.lists(words, max_size=2).map(tuple),
    stream=st.none() | st.booleans(),
)


@given(overrides)
def test_every_opinion_arrives_and_nothing_else_changes(spec: OverrideSpec) -> None:
    before = ChatRequest(
        messages=[Message("user", "x")], sampling=Sampling(top_p=0.5), max_tokens=99, context={"a": "b"}
    )
    copy = asdict(before)
    after = compile_overrides(spec).lay_on(before)
    expected = {name: value for name, value in asdict(spec).items() if value not in (None, "", ())}
    found = asdict(after) | asdict(after.sampling)
    assert {name: found[name] if name != "stop" else tuple(found[name]) for name in expected} == expected
    assert asdict(before) == copy
    untouched = set(copy) - set(expected) - {"sampling"}
    assert {name: asdict(after)[name] for name in untouched} == {name: copy[name] for name in untouched}


def test_a_context_is_not_changed_by_deciding() -> None:
    chat = ask(source_kind="stranger")
    decide(table(STRANGERS), Features(chat), FakeView())
    assert chat == ask(source_kind="stranger")
