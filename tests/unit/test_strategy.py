"""How endpoints order their targets, and what is laid on that order."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routerd.config.load import ConfigFailedError, Loaded, load
from routerd.routing.classify.score import Score
from routerd.routing.decide import Decided, UnknownModelError, decide
from routerd.routing.expect import run_tests
from routerd.routing.features import Features
from routerd.routing.table import Table, compile_table
from routerd.routing.view import Limits
from routerd_client.chat import ChatRequest, FunctionSpec, ImagePart, ImageURL, Message, TextPart, Tool
from routerd_client.records import FailureKind, Skipped
from tests.support.view import FakeView

GOLDEN = sorted((Path(__file__).parents[1] / "data" / "routing").glob("*.yaml"))

BACKENDS = """\
backends:
  a: {mlx: {model: demo}}
  b: {mlx: {model: demo}}
  c: {mlx: {model: demo}}
  d: {mlx: {model: demo}}
  cloud: {anthropic: {model: claude, api_key: {env: KEY}}}
  paid: {openai: {model: gpt, base_url: 'https://api.example.com/v1', api_key: {env: KEY}}, billing: prepaid}
default: e
"""


def by_number(text: str) -> Score:
    """A classifier that is told its score; other texts give it nothing to say."""
    return Score(float(text), {"told": 3}) if re.fullmatch(r"[\d.]+", text) else Score(0.0, {}, fired=False)


def table(endpoint: str, *rest: str) -> Table:
    """One where the endpoint ``e`` is ``endpoint``; ``rest`` are more lines of the file."""
    others = "".join(f"  {line}\n" for line in rest if line.startswith("endpoint "))
    others = others.replace("endpoint ", "")
    lines = [line for line in rest if not line.startswith("endpoint ")]
    text = f"{BACKENDS}endpoints:\n  e: {endpoint}\n{others}" + "\n".join(lines)
    return compile_table(load(text, "routes.yaml").config, {"rules": by_number})


def decided(
    routes: Table,
    view: FakeView | None = None,
    *,
    prompt: str = "hello",
    seed: str = "",
    session_model: str = "",
    **chat: Any,
) -> Decided:
    request = ChatRequest(messages=[Message("user", prompt)], **chat)
    return decide(routes, Features(request), view or FakeView(), seed=seed, session_model=session_model)


def order(routes: Table | str, view: FakeView | None = None, **asked: Any) -> str:
    """The candidates' names: ``a b c``."""
    routes = table(routes) if isinstance(routes, str) else routes
    return " ".join(candidate.backend for candidate in decided(routes, view, **asked).decision.candidates)


def skipped(routes: Table | str, view: FakeView | None = None, **asked: Any) -> dict[str, str]:
    routes = table(routes) if isinstance(routes, str) else routes
    return {skip.backend: skip.reason for skip in decided(routes, view, **asked).decision.skipped}


# --- the documents' examples ---


def golden(text: str, name: str) -> tuple[Loaded, Table]:
    loaded = load(text, name)
    return loaded, compile_table(loaded.config)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_examples_decide_as_they_say(path: Path) -> None:
    loaded, compiled = golden(path.read_text(), path.name)
    assert len(loaded.config.tests) >= 7
    assert loaded.warnings == []
    run_tests(loaded, compiled, path.name)


def test_a_test_that_expects_something_else_is_told_with_its_place() -> None:
    text = next(path for path in GOLDEN if path.stem == "tiers").read_text()
    loaded, compiled = golden(text.replace("go north, expect: fast", "go north, expect: cloud"), "f")
    line = next(n for n, line in enumerate(text.splitlines(), 1) if "go north" in line)
    with pytest.raises(ConfigFailedError) as failed:
        run_tests(loaded, compiled, "f")
    assert list(map(str, failed.value.errors)) == [
        f"f:{line}:5: tests[3]: expected cloud, but route moving leads to fast, where fast comes first "
        "(change the test, or the routes)"
    ]


# --- fallback, balance ---


def test_fallback_is_the_written_order_with_the_reasons() -> None:
    found = decided(table("{fallback: [b, a, c], then: d}")).decision
    assert [(c.backend, c.reasons) for c in found.candidates] == [
        ("b", ["first choice"]),
        ("a", ["fallback 1"]),
        ("c", ["fallback 2"]),
        ("d", ["when the others have failed"]),
    ]


def test_balance_takes_the_least_busy_first_and_equals_as_written() -> None:
    assert order("{balance: [a, b, c]}", FakeView(busy={"a": 0.5, "b": 0.25, "c": 0.25})) == "b c a"
    assert order("{balance: [c, b, a]}") == "c b a"
    assert order("{balance: [a, {fallback: [b, c]}]}", FakeView(busy={"a": 0.5, "b": 3, "c": 0})) == "b c a"


# --- weighted ---


def chi_square(counts: Counter[str], shares: dict[str, float]) -> float:
    picks, total = sum(counts.values()), sum(shares.values())
    return sum(
        (counts[name] - expected) ** 2 / expected
        for name, share in shares.items()
        if (expected := picks * share / total)
    )


@pytest.mark.parametrize("shares", [{"a": 3, "b": 1}, {"a": 1, "b": 1, "c": 1, "d": 1}, {"a": 0.7, "b": 0.2, "c": 0.1}])
def test_weighted_picks_come_in_the_shares_of_the_weights(shares: dict[str, float]) -> None:
    routes = table(f"{{weighted: {msgspec.json.encode(shares).decode()}}}")
    counts = Counter(order(routes, seed=f"{n}")[0] for n in range(10_000))
    critical = {1: 10.83, 2: 13.82, 3: 16.27}[len(shares) - 1]  # one in a thousand
    assert chi_square(counts, shares) < critical


def test_the_second_place_is_drawn_from_those_that_are_left() -> None:
    routes = table("{weighted: {a: 8, b: 1, c: 1}}")
    seconds = Counter(found.split()[1] for n in range(3000) if (found := order(routes, seed=f"{n}")).startswith("a"))
    assert chi_square(seconds, {"b": 1, "c": 1}) < 10.83


def test_weight_0_is_drained_and_said_so() -> None:
    routes = table("{weighted: {a: 1, b: 0}}")
    assert {order(routes, seed=f"{n}") for n in range(100)} == {"a"}
    assert skipped(routes) == {"b": "drained (weight 0)"}


def test_a_drained_target_still_stands_where_else_it_is_named() -> None:
    assert order("{fallback: [{weighted: {a: 1, b: 0}}, b]}") == "a b"
    assert order("{fallback: [b, {weighted: {a: 1, b: 0}}]}") == "b a"


def test_weights_may_be_given_to_nested_strategies() -> None:
    routes = table("{weighted: [{use: {fallback: [a, b]}, weight: 1}, {use: {fallback: [c, d]}, weight: 1}]}")
    assert {order(routes, seed=f"{n}") for n in range(50)} == {"a b c d", "c d a b"}


# --- headroom ---


def test_the_fullest_quota_for_its_time_goes_first() -> None:
    view = FakeView(pressure={"a": 0.2, "b": 0.8, "c": 1.6})
    assert order("{headroom: [a, b, c]}", view) == "c b a"
    found = decided(table("{headroom: [a, b]}"), view).decision
    assert found.candidates[0].reasons == ["local, quota left for the time left 0.80"]


def test_near_its_reset_the_least_used_goes_first() -> None:
    # 30 % left with 5 % of the time left, against 80 % with 90 %
    assert order("{headroom: [a, b]}", FakeView(pressure={"a": 0.8 / 0.9, "b": 0.3 / 0.05})) == "b a"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("burn", "paid a cloud"), ("frugal", "a paid cloud"), ("fixed", "cloud a paid")],
)
def test_each_policy_has_its_order(policy: str, expected: str) -> None:
    view = FakeView(pressure={"cloud": 9.0, "a": 5.0, "paid": 0.1})
    assert order(f"{{headroom: [cloud, a, paid], policy: {policy}}}", view) == expected


def test_burn_is_the_usual_policy_and_a_routes_own_wins() -> None:
    routes = table(
        "{headroom: [cloud, a, paid]}",
        "routes:",
        "  - {match: {task: save}, use: e, set: {policy: frugal}}",
        "  - {match: {task: fix}, use: e, set: {policy: fixed}}",
    )
    assert order(routes) == "paid a cloud"
    assert order(routes, context={"task": "save"}) == "a paid cloud"
    assert order(routes, context={"task": "fix"}) == "cloud a paid"


@pytest.mark.parametrize("policy", ["burn", "frugal", "fixed"])
def test_the_quality_floor_comes_before_the_headroom(policy: str) -> None:
    routes = table(f"{{headroom: [a, b, c], quality_floor: 0.8, policy: {policy}}}")
    view = FakeView(quality={"a": 0.79, "b": 0.8}, pressure={"a": 9.0, "b": 0.5, "c": 0.4})
    assert order(routes, view) == "b c a"
    assert "quality 0.79 under 0.8" in decided(routes, view).decision.candidates[-1].reasons[0]


# --- by_complexity ---

BANDS = "{by_complexity: [{below: 3, use: a}, {below: 6, use: b}, {use: c}], abstain: d}"


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("0", "a b c"),
        ("2.99", "a b c"),
        ("3.00", "b c"),
        ("5.9999", "b c"),
        ("6", "c"),
        ("10", "c"),
        ("so?", "d a b c"),
    ],
)
def test_a_score_on_the_border_belongs_to_the_upper_band(score: str, expected: str) -> None:
    assert order(BANDS, prompt=score) == expected


def test_the_score_and_the_band_are_told() -> None:
    found = decided(table(BANDS), prompt="3.5").decision
    assert found.scores == {"rules": 3.5}
    assert [c.reasons for c in found.candidates] == [["complexity 3.50: below 6"], ["stronger than below 6"]]


def test_without_abstain_the_lowest_band_answers_what_has_no_score() -> None:
    assert order("{by_complexity: [{below: 3, use: a}, {use: b}]}", prompt="?") == "a b"


def test_upward_may_be_left_out() -> None:
    bands = "{by_complexity: [{below: 3, use: a}, {use: b}], upward: false}"
    assert [order(bands, prompt=score) for score in ("1", "5")] == ["a", "b"]


def test_one_band_takes_everything() -> None:
    assert order("{by_complexity: [{use: a}]}", prompt="10") == "a"


@given(st.integers(1, 6), st.floats(0, 10))
def test_any_number_of_bands(count: int, score: float) -> None:
    bounds = [10 * (n + 1) / count for n in range(count - 1)]
    bands = [{"below": bound, "use": f"{n}"} for n, bound in enumerate(bounds)] + [{"use": f"{count - 1}"}]
    file = {
        "backends": {f"{n}": {"mlx": {"model": "demo"}} for n in range(count)},
        "endpoints": {"e": {"by_complexity": bands}},
        "default": "e",
    }
    compiled = compile_table(load(msgspec.json.encode(file).decode(), "f").config, {"rules": by_number})
    band = sum(float(f"{score:.6f}") >= bound for bound in bounds)
    assert order(compiled, prompt=f"{score:.6f}") == " ".join(f"{n}" for n in range(band, count))


def test_nobody_is_scored_where_no_strategy_asks() -> None:
    assert decided(table("{fallback: [a]}"), prompt="9").decision.scores == {}


def test_a_classifier_that_is_not_there_is_the_rules() -> None:
    routes = table("{by_complexity: [{below: 3, use: a}, {use: b}], classifier: learned}")
    assert order(routes, prompt="5") == "b"


# --- cascade, adaptive ---


def test_a_cascade_judges_every_answer_but_the_lasts() -> None:
    found = decided(table("{cascade: [a, b, c], judge: 0.7}"))
    assert [item.backend for item in found.items] == ["a", "b", "c"]
    assert found.terms.judges == {"a": 0.7, "b": 0.7}


def test_a_cascades_judge_goes_with_the_backend_also_behind_names() -> None:
    found = decided(table("{fallback: [{cascade: [two, c]}, d]}", "endpoint two: {fallback: [a, b]}"))
    assert found.terms.judges == {"a": 0.5, "b": 0.5}


def test_where_no_cascade_is_nobody_judges() -> None:
    assert decided(table("{fallback: [a, b]}")).terms.judges == {}


def test_adaptive_gives_the_better_most_and_each_its_floor() -> None:
    routes = table("{adaptive: [a, b, c], floor: 0.05}")
    view = FakeView(outcomes={"a": (10.0, 90.0), "b": (90.0, 10.0), "c": (50.0, 50.0)})
    counts = Counter(order(routes, view, seed=f"{n}")[0] for n in range(4000))
    assert counts["b"] > 0.85 * 4000
    # 200 are expected of each; four standard deviations below that
    assert min(counts["a"], counts["c"]) > 200 - 4 * (4000 * 0.05 * 0.95) ** 0.5


def test_adaptive_without_a_record_is_even() -> None:
    counts = Counter(order(table("{adaptive: [a, b]}"), seed=f"{n}")[0] for n in range(2000))
    assert chi_square(counts, {"a": 1, "b": 1}) < 10.83


def test_adaptive_still_tries_all() -> None:
    assert sorted(order("{adaptive: [a, {fallback: [b, c]}]}", seed="x").split()) == ["a", "b", "c"]


# --- nested ---


@pytest.mark.parametrize(
    ("endpoint", "orders"),
    [
        ("{fallback: [{weighted: {a: 1, b: 1}}, c]}", {"a b c", "b a c"}),
        ("{weighted: [{use: {fallback: [a, b]}, weight: 1}, {use: c, weight: 1}]}", {"a b c", "c a b"}),
        ("{fallback: [{fallback: [{fallback: [a]}, b]}, {balance: [c]}], then: {fallback: [d]}}", {"a b c d"}),
        ("{balance: [{weighted: {a: 1, b: 1}}, c], then: {weighted: {d: 1}}}", {"a b c d", "b a c d"}),
        ("{by_complexity: [{use: {weighted: {a: 1, b: 1}}}], then: c}", {"a b c", "b a c"}),
        ("{fallback: [{weighted: {a: 1}, then: c}, b, c]}", {"a c b"}),
    ],
)
def test_strategies_stand_in_strategies(endpoint: str, orders: set[str]) -> None:
    routes = table(endpoint)
    assert {order(routes, seed=f"{n}") for n in range(60)} == orders


def test_endpoints_stand_in_endpoints() -> None:
    routes = table(
        "{fallback: [pair, d]}", "endpoint pair: {balance: [b, inner]}", "endpoint inner: {fallback: [c, a]}"
    )
    assert order(routes) == "b c a d"
    assert order(routes, model="inner") == "c a"


_targets = st.recursive(
    st.sampled_from(["a", "b", "c", "d"]),
    lambda inner: st.tuples(
        st.sampled_from(["fallback", "balance", "headroom", "cascade", "adaptive"]),
        st.lists(inner, min_size=1, max_size=3, unique_by=str),
    ).map(lambda pair: {pair[0]: pair[1]}),
    max_leaves=8,
)


@given(_targets, st.text(max_size=3))
def test_whatever_is_nested_each_backend_stands_there_once(target: Any, seed: str) -> None:
    text = msgspec.json.encode(target if isinstance(target, dict) else {"fallback": [target]}).decode()
    routes = table(text)
    found = order(routes, seed=seed).split()
    assert sorted(found) == sorted(set(re.findall(r'"([abcd])"', text)))
    assert found == order(routes, seed=seed).split(), "the same seed, the same order"


# --- names ---


def test_a_tag_is_a_target_and_a_model() -> None:
    text = BACKENDS.replace("b: {mlx: {model: demo}}", "b: {mlx: {model: demo}, tags: [cheap, big]}")
    text = text.replace("a: {mlx: {model: demo}}", "a: {mlx: {model: demo}, tags: [cheap]}")
    text += "endpoints: {e: {fallback: ['tag:big', d, 'tag:cheap']}, two: {fallback: [c], tags: [cheap]}}"
    routes = compile_table(load(text, "f").config)
    assert order(routes) == "b d a c"
    assert order(routes, model="tag:cheap") == "a b c"


def test_aliases_stand_for_endpoints_and_for_the_routes() -> None:
    routes = table(
        "{fallback: [a]}",
        "aliases: {'gpt-*': b, gpt-4: c, 'claude-*': routed, 'x': 'e', '*-mini': d}",
        "routes: [{match: {task: x}, use: d}]",
    )
    assert order(routes, model="gpt-3.5") == "b"
    assert order(routes, model="gpt-4") == "c", "a plain name goes before a glob"
    assert order(routes, model="gpt-mini") == "b", "the first glob"
    assert order(routes, model="x") == "a"
    assert order(routes, model="claude-opus", context={"task": "x"}) == "d"
    assert order(routes, model="claude-opus") == "a"
    with pytest.raises(UnknownModelError, match="'mistral'"):
        order(routes, model="mistral")


def test_who_is_asked() -> None:
    routes = table("{fallback: [a]}", "routes: [{match: {task: x}, use: b}]")
    asked: dict[str, Any] = {"context": {"task": "x"}}
    assert order(routes, model="c", session_model="d", **asked) == "c", "the request before the session"
    assert order(routes, session_model="d", **asked) == "d", "the session before the routes"
    assert order(routes, model="routed", session_model="d", **asked) == "d"
    assert order(routes, session_model="routed", **asked) == "b"
    assert order(routes, **asked) == "b", "a route before the default"
    assert order(routes) == "a"
    assert [decided(routes, **more).decision.named for more in ({"model": "c"}, {"session_model": "d"}, {})] == [
        "request",
        "session",
        "",
    ]


# --- strengths, patience, spill ---

STRONG = BACKENDS.replace("c: {mlx: {model: demo}}", "c: {mlx: {model: demo}, strengths: [code, vision]}")


def test_who_is_strong_at_the_task_goes_first() -> None:
    routes = compile_table(load(f"{STRONG}endpoints: {{e: {{fallback: [a, b, c]}}}}", "f").config)
    assert order(routes, context={"task": "code"}) == "c a b"
    assert order(routes, context={"task": "chat"}) == "a b c"
    assert order(routes) == "a b c"
    found = decided(routes, context={"task": "code"}).decision
    assert found.candidates[0].reasons == ["strong at code; fallback 2"]
    assert found.candidates[1].reasons == ["first choice"]


def test_patience_takes_a_warm_small_before_a_cold_large() -> None:
    routes = table("{fallback: [a, b, c], patience: 5s}")
    assert order(routes, FakeView(wait={"a": 40.0, "c": 5.0})) == "b c a"
    assert order(routes, FakeView(wait={"a": 5.0})) == "a b c"
    assert order(routes, FakeView(wait=dict.fromkeys("abc", 9.0))) == "a b c", "where all let it wait, as written"
    assert order("{fallback: [a, b]}", FakeView(wait={"a": 1e9})) == "a b", "nobody is in a hurry by himself"


def test_a_cloud_is_behind_those_here_until_they_fail() -> None:
    routes = table("{fallback: [a, cloud], patience: 1s}")
    assert order(routes, FakeView(wait={"a": 60.0})) == "a cloud"
    assert order(routes, FakeView(blocked={"a": "down"})) == "cloud"
    assert decided(routes).chat.when_full is None


def test_spill_explicit_keeps_the_cloud_for_those_who_name_it() -> None:
    routes = table("{fallback: [a, cloud], spill: explicit}")
    down = FakeView(blocked={"a": "down"})
    assert order(routes, down) == ""
    assert skipped(routes, down)["cloud"] == "spill: explicit: only where the request names it"
    assert order(routes, down, model="cloud") == "cloud"


def test_spill_active_does_not_wait_for_those_here() -> None:
    routes = table("{fallback: [a, cloud], spill: active, patience: 1s}")
    assert order(routes, FakeView(wait={"a": 60.0})) == "cloud a"
    assert decided(routes).chat.when_full == "next"
    assert decided(routes, when_full="wait").chat.when_full == "wait", "what the request says stands"
    assert decided(table("{fallback: [cloud, a], spill: active}")).chat.when_full is None
    assert decided(table("{fallback: [a, b], spill: active}")).chat.when_full is None


# --- local_only ---


def test_local_only_wins_whoever_says_it() -> None:
    routes = table(
        "{fallback: [a, cloud, b]}",
        "endpoint mine: {fallback: [a, b], local_only: true}",
        "routes: [{match: {task: private}, use: a, set: {local_only: true}}, "
        "{match: {task: open}, use: e, set: {local_only: false}}]",
    )
    assert order(routes) == "a cloud b"
    assert order(routes, local_only=True) == "a b"
    assert skipped(routes, local_only=True) == {"cloud": "local_only: it would leave the machine"}
    assert order(routes, local_only=True, model="cloud") == ""
    assert order(routes, local_only=True, context={"task": "open"}) == "a b", "a route cannot undo it"
    assert order(routes, context={"task": "open"}) == "a cloud b"
    found = decided(routes, context={"task": "private"})
    assert (found.chat.local_only, found.decision.overrides) == (True, {"local_only": "True"})
    assert order(routes, model="mine") == "a b"


@pytest.mark.parametrize(
    "url", ["http://localhost:8080/v1", "http://127.0.0.1/v1", "http://[::1]:1/v1", "unix:/x.sock"]
)
def test_an_api_on_this_machine_is_local_where_the_file_or_its_own_proof_says_so(url: str) -> None:
    def routes(said: str) -> Table:
        text = f"backends: {{x: {{openai: {{model: m, base_url: '{url}'{said}}}}}}}\ndefault: x"
        return compile_table(load(text, "f").config)

    assert order(routes(", local: true"), local_only=True) == "x"
    assert order(routes(", local: false"), local_only=True) == ""
    assert order(routes("")) == "x"
    silent = routes("")
    assert decided(silent, local_only=True).unproven == ["x"]
    assert "may forward the request" in skipped(silent, local_only=True)["x"]
    proven, not_ours = (FakeView(limits={"x": Limits(stays=stays)}) for stays in (True, False))
    assert order(silent, proven, local_only=True) == "x"
    assert order(silent, not_ours, local_only=True) == ""
    assert decided(silent, not_ours, local_only=True).unproven == []
    assert decided(silent, proven, local_only=True).chat.local_only


def test_an_endpoints_local_only_reaches_the_backend_as_the_requests_own() -> None:
    routes = table("{fallback: [a, cloud]}", "endpoint mine: {fallback: [a], local_only: true}")
    assert decided(routes, model="mine").chat.local_only
    assert not decided(routes).chat.local_only


# --- what a backend lacks ---


def test_tools_and_images_need_a_backend_that_takes_them() -> None:
    routes = table("{fallback: [a, b]}")
    view = FakeView(limits={"a": Limits(tools=False, vision=False)})
    assert order(routes, view) == "a b"
    tools = [Tool(FunctionSpec("f"))]
    assert order(routes, view, tools=tools) == "b"
    assert skipped(routes, view, tools=tools) == {"a": "does not support tools"}
    image = Message("user", [TextPart("what is it?"), ImagePart(ImageURL("data:,"))])
    found = decide(routes, Features(ChatRequest(messages=[image])), view).decision
    assert [c.backend for c in found.candidates] == ["b"]
    assert found.skipped == [Skipped("a", "it sees no images")]


def test_a_prompt_that_surely_fits_needs_no_count() -> None:
    found = decided(table("{fallback: [a]}"), FakeView(limits={"a": Limits(context=1000)}), prompt="x" * 900)
    assert (len(found.items), found.unsure) == (1, [])


def test_a_prompt_that_surely_does_not_fit_goes_elsewhere() -> None:
    view = FakeView(limits={"a": Limits(context=1000)})
    found = decided(table("{fallback: [a, b]}"), view, prompt="x" * 8000)
    assert found.decision.skipped == [
        Skipped("a", "the prompt's 8000 bytes do not fit its context of 1000 tokens", FailureKind.CONTEXT_OVERFLOW)
    ]
    assert [item.backend for item in found.items] == ["b"]


def test_where_it_is_not_sure_a_count_decides() -> None:
    routes, limits = table("{fallback: [a, b]}"), {"a": Limits(context=1000), "b": Limits(context=100_000)}
    found = decided(routes, FakeView(limits=limits), prompt="x" * 4000)
    assert ([item.backend for item in found.items], found.unsure) == (["a", "b"], ["a"])
    for tokens, expected in ((999, "a b"), (1000, "b")):
        view = FakeView(limits=limits, tokens={"a": tokens})
        assert (order(routes, view, prompt="x" * 4000), decided(routes, view, prompt="x" * 4000).unsure) == (
            expected,
            [],
        )


def test_nobody_counts_for_a_backend_that_may_not_answer() -> None:
    view = FakeView(limits={"a": Limits(context=1000)}, blocked={"a": "down"})
    assert decided(table("{fallback: [a, b]}"), view, prompt="x" * 4000).unsure == []


def test_bytes_are_counted_not_characters() -> None:
    view = FakeView(limits={"a": Limits(context=1000)})
    assert decided(table("{fallback: [a]}"), view, prompt="é" * 600).unsure == ["a"]


# --- sessions ---


def session(backend: str, **facts: Any) -> FakeView:
    return FakeView({"e": backend}, **facts)


def test_a_session_keeps_to_its_backend() -> None:
    assert order("{balance: [a, b, c]}", session("b", busy={"b": 9.0})) == "b a c"
    found = decided(table("{balance: [a, b]}"), session("b")).decision
    assert found.candidates[0].reasons == ["the session keeps to it; 0% busy"]


def test_a_session_moves_up_and_never_down() -> None:
    assert order(BANDS, session("b"), prompt="1") == "b c a", "up, and those below it last"
    assert order(BANDS, session("a"), prompt="4") == "b c", "not down"
    assert order(BANDS, session("b"), prompt="9") == "c"
    assert order("{cascade: [a, b, c]}", session("b")) == "b c a"


def test_a_session_never_brings_back_who_was_skipped() -> None:
    view = session("b", blocked={"b": "breaker open"})
    assert order("{balance: [a, b]}", view) == "a"


def test_a_session_reorders_its_own_endpoint_alone() -> None:
    routes = table("{balance: [a, other]}", "endpoint other: {balance: [b, c]}")
    assert order(routes, FakeView({"other": "c"})) == "a b c"
    assert order(routes, FakeView({"other": "c"}), model="other") == "c b"
    assert order(routes, FakeView({"e": "gone"})) == "a b c"


def test_only_a_choice_is_kept_to() -> None:
    chosen = {item.backend: item.chosen for item in decided(table("{fallback: [a, {balance: [b, c]}]}")).items}
    assert chosen == {"a": False, "b": True, "c": True}


# --- chance and purity ---

ANY = table(
    "{fallback: [{adaptive: [a, {weighted: {b: 2, c: 1}}]}, {headroom: [cloud, paid]}], patience: 1s, then: d}",
    "routes: [{match: {task: x}, use: e, set: {max_tokens: 9, stop: [y], persona: none, policy: frugal}}]",
)


@given(st.text(), st.sampled_from(["", "x"]), st.sampled_from(["", "b", "d"]))
def test_the_same_request_and_seed_give_the_same_decision(seed: str, task: str, kept: str) -> None:
    chat = ChatRequest(messages=[Message("user", "3")], context={"task": task}, stop=["z"])
    before, table_before = msgspec.msgpack.encode(chat), repr(ANY.endpoints["e"])
    view = session(kept, wait={"a": 9.0}, outcomes={"a": (3.0, 4.0)})
    features = Features(chat)
    first = decide(ANY, features, view, seed=seed, trace=True)
    assert decide(ANY, features, view, seed=seed, trace=True) == first
    assert (msgspec.msgpack.encode(chat), repr(ANY.endpoints["e"])) == (before, table_before), "nothing was changed"
    assert replace(first.decision, trace=[]) == decide(ANY, Features(chat), view, seed=seed).decision


def test_spill_explicit_leaves_an_endpoint_of_nothing_but_apis_alone() -> None:
    assert order("{fallback: [cloud, paid], spill: explicit}") == "cloud paid"
    assert order("{fallback: [cloud, a, paid], spill: explicit}") == "cloud a"


def test_a_session_model_that_a_reload_removed_is_no_opinion() -> None:
    assert order("{fallback: [a]}", session_model="gone") == "a"


def test_what_a_harness_asks_for_itself_goes_to_the_lowest_band() -> None:
    bands = "{by_complexity: [{below: 3, use: a}, {use: b}]}"
    ask = "Generate a short title for this conversation: 7.5"
    assert order(bands, prompt=ask) == "a b"
    assert (
        decided(table(bands), prompt=ask).decision.candidates[0].reasons[0] == "housekeeping of the client's: below 3"
    )
