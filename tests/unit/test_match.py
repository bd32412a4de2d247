"""What every key of ``match`` means, and that no prompt makes one slow or wrong."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.config.match import MatchSpec, PromptMatch, Range, texts
from routerd.config.pattern import LOOKED_AT, compile_regex, parse_weekday, parse_window
from routerd.config.schema import BackendSpec, ConfigSpec, MlxSpec, OverrideSpec, RouteSpec
from routerd.routing.decide import decide
from routerd.routing.features import Features, Moment
from routerd.routing.match import compile_match
from routerd.routing.table import Table, compile_table
from routerd.routing.words import words
from routerd_client.chat import ChatRequest, FunctionSpec, ImagePart, ImageURL, Message, Part, TextPart, Tool
from tests.support.view import FakeView


def asked(
    prompt: str = "hello",
    *,
    before: tuple[Message, ...] = (),
    images: bool = False,
    tools: int = 0,
    model: str = "",
    client: str = "",
    moment: Moment | None = None,
    **context: str,
) -> Features:
    newest: str | list[Part] = [TextPart(prompt), ImagePart(ImageURL("data:,x"))] if images else prompt
    chat = ChatRequest(
        messages=[*before, Message("user", newest)],
        tools=[Tool(FunctionSpec(f"tool{n}")) for n in range(tools)],
        model=model,
        context=context,
    )
    return Features(chat, client, moment)


def matches(features: Features, **match: Any) -> bool:
    return compile_match(MatchSpec(**match))(features)


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        ("discord", "discord", True),
        ("discord", "Discord", False),
        ("discord", "discord2", False),
        ("", "", True),
        (("a", "b"), "b", True),
        (("a", "b"), "c", False),
        ("dis*", "discord", True),
        ("dis*", "radis", False),
        ("*", "", True),
        ("*", "two\nlines", True),
        ("chat?", "chat1", True),
        ("chat?", "chat", False),
        ("chat[0-3]", "chat3", True),
        ("chat[0-3]", "chat4", False),
        ("[", "[", True),
        (("exact", "gl*"), "globe", True),
        (("exact", "gl*"), "exact", True),
        (("a.c", "x*"), "abc", False),
        (("a|b*", "c"), "a", False),
    ],
)
def test_a_value_of_the_context(wanted: Any, value: str, *, expected: bool) -> None:
    assert matches(asked(key=value), context={"key": wanted}) is expected


@pytest.mark.parametrize("wanted", ["x", "*", ("x", "*")])
def test_what_the_context_does_not_have_matches_nothing(wanted: Any) -> None:
    assert not matches(asked(other="x"), context={"key": wanted})


def test_a_key_with_a_meaning_of_its_own_is_of_the_context_under_context() -> None:
    features = Features(ChatRequest(messages=[], context={"turn": "late", "client": "them"}))
    assert matches(features, context={"turn": "late", "client": "them"})


@pytest.mark.parametrize(("wanted", "expected"), [("hermes", True), ("her*", True), (("a", "b"), False), ("", True)])
def test_the_name_of_the_client(wanted: Any, *, expected: bool) -> None:
    assert matches(asked(client="hermes"), client=wanted) is expected


def test_a_client_without_a_name_is_not_any_client() -> None:
    assert not matches(asked(client=""), client="hermes")


def test_the_model_is_the_one_that_was_sent() -> None:
    assert matches(asked(model="gpt-4o-mini"), model="gpt-*")
    assert not matches(asked(model=""), model="gpt-*")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Plan my week", True),
        ("a PLAN.", True),
        ("«plan»", True),
        ("planet", False),
        ("unplanned", False),
        ("what is an optimal path?", True),
        ("the optimal,\n path", True),
        ("optimal long path", False),
        ("path optimal", False),
        ("suboptimal path", False),
        ("", False),
    ],
)
def test_keywords_are_whole_words_and_phrases(prompt: str, *, expected: bool) -> None:
    assert matches(asked(prompt), prompt=PromptMatch(any_keyword=("plan", "optimal path"))) is expected
    assert matches(asked(prompt), prompt=("plan", "Optimal  Path")) is expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("plan the optimal path", True),
        ("the optimal path", False),
        ("plan a path", False),
        ("path. Optimal plan", False),
    ],
)
def test_all_keywords(prompt: str, *, expected: bool) -> None:
    assert matches(asked(prompt), prompt=PromptMatch(all_keywords=("plan", "optimal path"))) is expected


@pytest.mark.parametrize(
    ("keyword", "prompt"),
    [
        ("C++", "port it to C++"),
        ("don't", "DON'T"),
        ("STRASSE", "straße"),
        ("naïve", "a naïve one"),
        ("e-mail", "e mail"),
    ],
)
def test_keywords_and_prompts_are_read_alike(keyword: str, prompt: str) -> None:
    assert matches(asked(prompt), prompt=(keyword,))


@given(st.text() | st.text("aB9_-'\n\x00 ."))
def test_words_are_runs_of_letters_and_digits_without_case(text: str) -> None:
    assert words(text) == re.findall(r"[^\W_]+", text.casefold())


def test_the_prompt_is_the_newest_ask() -> None:
    before = (Message("system", "plan"), Message("user", "plan"), Message("assistant", "plan"))
    assert not matches(asked("hello", before=before), prompt=("plan",))


def test_a_regex_is_looked_for_anywhere_in_the_beginning() -> None:
    def found(prompt: str) -> bool:
        return matches(asked(prompt), prompt=PromptMatch(regex=r"\bticket-\d{1,6}\b"))

    assert found("see TICKET-42 please")
    assert found("x" * (LOOKED_AT - 10) + " ticket-1")
    assert not found("x " * LOOKED_AT + " ticket-1")
    assert not found("ticket-")


def test_everything_a_prompt_match_says_must_hold() -> None:
    match = PromptMatch(any_keyword=("plan",), all_keywords=("a", "b"), regex="b$")
    assert matches(asked("plan a b"), prompt=match)
    assert not matches(asked("a b"), prompt=match)
    assert not matches(asked("plan b"), prompt=match)
    assert not matches(asked("plan b a"), prompt=match)


@pytest.mark.parametrize(("length", "expected"), [(9, False), (10, True), (19, True), (20, False)])
def test_chars_are_at_least_the_first_and_below_the_second(length: int, *, expected: bool) -> None:
    assert matches(asked("x" * length), chars=Range(at_least=10, below=20)) is expected


def test_a_range_may_be_open() -> None:
    assert matches(asked("x" * 20), chars=Range(at_least=20))
    assert not matches(asked("x" * 20), chars=Range(below=20))


def test_tokens_are_those_of_the_whole_prompt() -> None:
    before = (Message("system", "x" * 4000),)
    assert matches(asked("hi", before=before), tokens=Range(at_least=1000, below=1002))
    assert not matches(asked("hi"), tokens=Range(at_least=1))


@pytest.mark.parametrize(
    ("turn", "expected"), [(2, True), (1, False), (Range(at_least=2), True), (Range(below=2), False)]
)
def test_the_turn(turn: Any, *, expected: bool) -> None:
    before = (Message("user", "a"), Message("assistant", "b"))
    assert matches(asked(before=before), turn=turn) is expected


def test_a_chat_without_an_ask_is_at_its_first_turn() -> None:
    assert matches(Features(ChatRequest(messages=[])), turn=1)


@pytest.mark.parametrize("has", [True, False])
def test_tools_and_images(*, has: bool) -> None:
    features = asked(tools=int(has), images=has)
    assert matches(features, has_tools=has, has_images=has)
    assert not matches(features, has_tools=not has)
    assert not matches(features, has_images=not has)


@pytest.mark.parametrize(
    ("window", "minute", "expected"),
    [
        ("09:00-17:00", 9 * 60, True),
        ("09:00-17:00", 17 * 60 - 1, True),
        ("09:00-17:00", 17 * 60, False),
        ("09:00-17:00", 9 * 60 - 1, False),
        ("22:00-06:00", 22 * 60, True),
        ("22:00-06:00", 0, True),
        ("22:00-06:00", 6 * 60 - 1, True),
        ("22:00-06:00", 6 * 60, False),
        ("22:00-06:00", 12 * 60, False),
        ("18:00-00:00", 24 * 60 - 1, True),
        ("18:00-00:00", 0, False),
        ("00:00-00:01", 0, True),
        (("01:00-02:00", "03:00-04:00"), 3 * 60, True),
        (("01:00-02:00", "03:00-04:00"), 2 * 60, False),
    ],
)
def test_a_time_window_may_go_over_midnight(window: Any, minute: int, *, expected: bool) -> None:
    assert matches(asked(moment=Moment(minute=minute)), time=window) is expected


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 1439))
def test_a_window_holds_from_its_start_up_to_its_end(start: int, end: int, minute: int) -> None:
    window = f"{start // 60:02}:{start % 60:02}-{end // 60}:{end % 60:02}"
    if start == end:
        with pytest.raises(ValueError, match="begins when it ends"):
            parse_window(window)
        return
    inside = start <= minute < end if start < end else not end <= minute < start
    assert matches(asked(moment=Moment(minute=minute)), time=window) is inside


@pytest.mark.parametrize("text", ["", "-", "9-17", "09:00", "09:00-", "24:00-01:00", "09:60-10:00", "9:00 to 10:00"])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time of day like"):
        parse_window(text)


def test_the_weekday() -> None:
    assert matches(asked(moment=Moment(weekday=5)), weekday=("sat", "Sunday"))
    assert not matches(asked(moment=Moment(weekday=0)), weekday=("sat", "sun"))


@pytest.mark.parametrize("text", ["", "today", "m", "mo", "monkey", "sundae", "*", "8"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a day"):
        parse_weekday(text)


def test_nothing_wanted_matches_everything() -> None:
    assert matches(Features(ChatRequest(messages=[])))


# --- nested ---

_keys, _values = st.sampled_from("abc"), st.sampled_from(["x", "y", "z", ""])
_contexts = st.dictionaries(_keys, _values, max_size=3)
_wanted = st.one_of(_values, st.sampled_from(["*", "[xy]", "?"]), st.lists(_values, min_size=1).map(tuple))


def _specs(inner: st.SearchStrategy[MatchSpec]) -> st.SearchStrategy[MatchSpec]:
    several = st.lists(inner, max_size=3).map(tuple)
    return st.builds(
        MatchSpec,
        context=st.dictionaries(_keys, _wanted, max_size=2),
        has_tools=st.none() | st.booleans(),
        prompt=st.none() | st.just(("plan",)),
        turn=st.none() | st.integers(1, 2),
        any=several,
        all=several,
        not_=st.none() | inner,
    )


_matches = st.recursive(st.builds(MatchSpec, context=st.dictionaries(_keys, _wanted, max_size=2)), _specs, max_leaves=8)
_requests = st.builds(
    lambda context, tools, prompt: asked(prompt, tools=tools, **context),
    _contexts,
    st.integers(0, 1),
    st.sampled_from(["plan it", "hello"]),
)


def naive(spec: MatchSpec, features: Features) -> bool:
    """The documented meaning, as plainly as it can be said."""
    context = features.chat.context
    return (
        all(k in context and any(fnmatchcase(context[k], v) for v in texts(vs)) for k, vs in spec.context.items())
        and (spec.has_tools is None or spec.has_tools == (len(features.chat.tools) > 0))
        and (spec.prompt is None or "plan" in features.chat.messages[-1].text)
        and (spec.turn is None or spec.turn == len(features.chat.messages))
        and all(naive(inner, features) for inner in spec.all)
        and (not spec.any or any(naive(inner, features) for inner in spec.any))
        and (spec.not_ is None or not naive(spec.not_, features))
    )


@given(_matches, _requests)
def test_a_nested_match_is_what_it_says(spec: MatchSpec, features: Features) -> None:
    predicate = compile_match(spec)
    assert predicate(features) is naive(spec, features)
    assert predicate.explain(features)
    assert str(predicate)


# --- the index ---


def table_of(*specs: MatchSpec, **more: Any) -> Table:
    return compile_table(
        ConfigSpec(
            backends={"small": BackendSpec(mlx=MlxSpec(model="demo"))},
            routes=tuple(RouteSpec(match=spec, use="small", **more) for spec in specs),
            default="small",
        )
    )


@given(st.lists(_matches, max_size=6), _requests)
def test_the_index_loses_no_route_that_matches(specs: list[MatchSpec], features: Features) -> None:
    table = table_of(*specs)
    possible = list(table.possible(features.context))
    assert possible == [route for route in table.routes if route in possible], "in the order of the file, each once"
    assert all(route in possible for route in table.routes if route.predicate(features))
    first = next((route.name for route in table.routes if route.predicate(features)), "")
    assert decide(table, features, FakeView()).decision.route == first


@given(st.lists(_matches, max_size=4), _requests)
def test_the_trace_says_match_exactly_where_one_matches(specs: list[MatchSpec], features: Features) -> None:
    table = table_of(*specs)
    trace = decide(table, features, FakeView(), trace=True).decision.trace
    for route in table.routes:
        said = [line for line in trace if line.startswith(f"{route.name}: ")]
        if route.predicate(features):
            assert said[0].startswith(f"{route.name}: match ("), "the first that matches ends it"
            break
        assert said[0].startswith(f"{route.name}: no match, ")
    else:
        assert "no route matches: default -> small" in trace


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ({"context": {"key": "x"}}, "the context has no key"),
        ({"context": {"task": ("a", "b")}}, "task is plan, not a or b"),
        ({"client": "hermes"}, "client is not named, not hermes"),
        ({"has_tools": True}, "has_tools is false"),
        ({"chars": Range(at_least=10)}, "chars is 5, not at least 10"),
        ({"turn": Range(at_least=2, below=9)}, "turn is 1, not at least 2 and below 9"),
        ({"time": "22:00-06:00"}, "it is 12:05, not 22:00-06:00"),
        ({"weekday": ("sat", "sun")}, "it is mon, not sat or sun"),
        ({"prompt": ("plan", "design")}, "no prompt with any of plan, design"),
        ({"prompt": PromptMatch(regex="x+y")}, "no prompt like /x+y/"),
        (
            {"any": (MatchSpec(turn=2), MatchSpec(turn=3))},
            "none of (turn at least 2 and below 3; turn at least 3 and below 4)",
        ),
        ({"not_": MatchSpec(context={"task": "plan"})}, "it is (task=plan), which is not wanted"),
    ],
)
def test_why_a_route_does_not_match_is_told_in_words(match: dict[str, Any], said: str) -> None:
    features = asked(task="plan", moment=Moment(minute=12 * 60 + 5))
    assert compile_match(MatchSpec(**match)).explain(features) == said


# --- regular expressions are bounded ---

CATASTROPHES = [
    r"(a+)+b",
    r"(a*)*b",
    r"(a|a)*b",
    r"(a|aa)+b",
    r"(a|aa){25}b",
    r"(a?){25}a{25}b",
    r"(a{0,3}){15}b",
    r"((a{0,3}){3}){3}b",
    r"(.{0,20}){10}b",
    r".*.*b",
    r"\w+\s*\w+\s*b",
    r".*.*.*a{1001,}",
    r".*.*.*a{2000,}",
    r".*a{2000,}.*a{2000,}.*",
    r".*a{500}b",
    r".*(?:aa){250}b",
    r"(?=.*.*.*b)a",
    r"(?:.{0,30}|a.{0,30}){4}b",
    r"(a+?)+?b",
]


@pytest.mark.parametrize("pattern", CATASTROPHES)
def test_a_pattern_that_may_backtrack_for_long_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="may backtrack for long"):
        compile_regex(pattern)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"(a)\1", "references"),
        (r"(?P<x>a)(?P=x)", "references"),
        (r"(a)?(?(1)b|c)", "references"),
        (r"(?>a+)b", "atomic"),
        ("(", "missing"),
        ("[", "unterminated"),
        ("a{2,1}", "min repeat"),
        ("a{4294967296}", "repetition number is too large"),
        ("(?<=a+)b", "fixed-width"),
        ("(?L)a", "flag"),
        ("a" * 501, "longer than 500"),
    ],
)
def test_a_pattern_that_is_wrong_or_not_taken_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        compile_regex(pattern)


USEFUL = [
    r"\bplan\b",
    r"^(hi|hello|hey)\b",
    r"\d{4}-\d{2}-\d{2}",
    r"#\d+",
    r".*",
    r"^.*$",
    r"plan.*\d{4}",
    r"write.{0,40}in.{0,40}rust",
    r"(https?://)?example\.com",
    r"(?:please )?(?:re)?write",
    r"(?:foo|bar|bazz){1,4}",
    r"(?=.*async)python",
    r"(?!hi)h",
    r"(?<!un)planned",
    r"[^\W\d_]{1,9}\s\d{1,9}",
    r"x{1000,}",
    r"(?s)begin.*end",
    "ünï[cç]ode",
    "",
]


@pytest.mark.parametrize("pattern", USEFUL)
def test_a_useful_pattern_is_taken(pattern: str) -> None:
    assert compile_regex(pattern).pattern == pattern


WORST = ["a", "b", "x", " ", "1", "a ", "ab", "a1", "write in ", "plan1", "h", "https://", "begin", "foobar"]


@pytest.mark.parametrize("pattern", USEFUL)
def test_a_pattern_that_is_taken_comes_to_an_end_on_the_worst_prompts(pattern: str) -> None:
    taken = compile_regex(pattern)
    for text in WORST:
        taken.search((text * LOOKED_AT)[: LOOKED_AT - 1] + "\n")


_atoms = st.sampled_from(["a", "b", ".", "[ab]", r"\w", "aa", "$", "(?=a)"])
_repeats = st.sampled_from(["", "*", "+", "?", "{3}", "{0,9}", "{2,}", "*?", "{25}", "{1001,}", "{30,40}"])
_patterns = st.recursive(
    st.tuples(_atoms, _repeats).map("".join),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.tuples(st.lists(inner, min_size=1, max_size=3).map("|".join), _repeats).map(lambda p: f"({p[0]}){p[1]}"),
        inner.map(lambda p: f"(?={p})"),
    ),
    max_leaves=8,
)


@given(_patterns)
def test_any_pattern_is_refused_or_comes_to_an_end(pattern: str) -> None:
    try:
        taken = compile_regex(f"{pattern}c")
    except ValueError:
        return
    for text in ("a", "ab", "b"):
        assert taken.search((text * LOOKED_AT)[:LOOKED_AT]) is None or "c" not in text


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_a_value_error(text: str) -> None:
    try:
        assert compile_regex(text).flags & re.IGNORECASE
    except (ValueError, FutureWarning):  # Python may read a set within a set otherwise one day
        return


# --- a matcher that breaks ---


class Unreadable(Features):
    """A request in which something cannot be read."""

    @property
    def turn(self) -> int:
        raise RecursionError("it never ends")


def test_a_matcher_that_breaks_is_passed_over_and_told() -> None:
    table = table_of(MatchSpec(turn=1), MatchSpec(context={"task": "plan"}))
    features = Unreadable(ChatRequest(messages=[Message("user", "x")], context={"task": "plan"}))
    decided = decide(table, features, FakeView(), trace=True)
    assert decided.decision.route == "routes[1]"
    assert decided.broken == [("routes[0]", "RecursionError: it never ends")]
    assert decided.decision.trace[:2] == [
        "routes[0]: passed over, its match broke: RecursionError: it never ends",
        "routes[1]: match (task=plan) -> small",
    ]


def test_where_every_matcher_breaks_the_default_answers() -> None:
    table = table_of(MatchSpec(turn=1), MatchSpec(any=(MatchSpec(turn=2),)), set=OverrideSpec(max_tokens=1))
    decided = decide(table, Unreadable(ChatRequest(messages=[Message("user", "x")])), FakeView())
    assert (decided.decision.route, decided.decision.endpoint) == ("", "small")
    assert [route for route, _ in decided.broken] == ["routes[0]", "routes[1]"]
    assert decided.chat.max_tokens is None
