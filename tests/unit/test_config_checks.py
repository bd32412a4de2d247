"""What a file may not say of names, strategies, matches and backends, each told with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routerd.config.check_whole import MOST_PLACES
from routerd.config.graph import backends_of, cycle, places
from routerd.config.load import ConfigFailedError, load
from routerd.config.plan import plan
from routerd.config.schema import BackendSpec, ConfigSpec, MlxSpec
from routerd.config.strategy import EndpointSpec, StrategySpec
from routerd.config.types import SecretSpec

BASE = """\
backends: {a: {mlx: {model: m}, tags: [near]}, b: {mlx: {model: m}}, far: {anthropic: {model: c}, tags: [cloud]}}
default: a
"""


def complaints(more: str, base: str = BASE) -> list[str]:
    with pytest.raises(ConfigFailedError) as failed:
        load(base + more, "routes.yaml")
    return [str(error).removeprefix("routes.yaml:") for error in failed.value.errors]


ONE_OF = "(one of fallback, balance, weighted, headroom, by_complexity, cascade, adaptive)"

TARGETS = [
    ("endpoints: {e: {}}", f"3:16: endpoints.e: a strategy is needed {ONE_OF}"),
    ("endpoints: {e: {tags: [x]}}", f"3:16: endpoints.e: a strategy is needed {ONE_OF}"),
    ("endpoints: {e: {then: a}}", f"3:16: endpoints.e: a strategy is needed {ONE_OF}"),
    (
        "endpoints: {e: {fallback: [a], balance: [b]}}",
        f"3:32: endpoints.e: one strategy is needed, not fallback and balance {ONE_OF}",
    ),
    (
        "endpoints: {e: {fallback: [{weighted: {a: 1}, cascade: [b]}]}}",
        f"3:47: endpoints.e.fallback[0]: one strategy is needed, not weighted and cascade {ONE_OF}",
    ),
    ("endpoints: {e: {fallback: [{then: a}]}}", f"3:28: endpoints.e.fallback[0]: a strategy is needed {ONE_OF}"),
    ("endpoints: {e: {falback: [a]}}", "3:17: endpoints.e: unknown key 'falback' (did you mean 'fallback'?)"),
    (
        "endpoints: {e: {fallback: [{wieghted: {a: 1}}]}}",
        "3:29: endpoints.e.fallback[0]: unknown key 'wieghted' (did you mean 'weighted'?)",
    ),
    ("endpoints: {e: {balance: []}}", "3:26: endpoints.e.balance: at least one target is needed"),
    ("endpoints: {e: {weighted: {}}}", "3:27: endpoints.e.weighted: at least one target is needed"),
    ("endpoints: {e: {cascade: [b, a, b]}}", "3:33: endpoints.e.cascade: 'b' is listed twice"),
    (
        "endpoints: {e: {weighted: [{use: a, weight: 1}, {use: a, weight: 2}]}}",
        "3:55: endpoints.e.weighted: 'a' is listed twice",
    ),
    ("endpoints: {e: {weighted: {a: 1, a: 2}}}", "3:34: duplicate key 'a' (it is given first on line 3)"),
    ("endpoints: {e: {weighted: {a: 0, b: 0}}}", "3:27: endpoints.e.weighted: all weights are 0, so nobody answers"),
    (
        "endpoints: {e: {weighted: [{use: a, weight: 0}]}}",
        "3:27: endpoints.e.weighted: all weights are 0, so nobody answers",
    ),
    ("endpoints: {e: {weighted: {a: -1, b: 1}}}", "3:31: endpoints.e.weighted.a: a weight is 0 or more, got -1"),
    ("endpoints: {e: {weighted: {a: 1, bb: 1}}}", "3:34: endpoints.e.weighted: there is no endpoint or backend 'bb'"),
    (
        "endpoints: {e: {by_complexity: [{below: 5, use: a}, {below: 3, use: b}, {use: far}]}}",
        "3:61: endpoints.e.by_complexity[1].below: must be more than the band before it, 5",
    ),
    (
        "endpoints: {e: {by_complexity: [{below: 3, use: a}, {below: 3, use: b}, {use: far}]}}",
        "3:61: endpoints.e.by_complexity[1].below: must be more than the band before it, 3",
    ),
    (
        "endpoints: {e: {by_complexity: [{use: a}, {below: 3, use: b}, {use: far}]}}",
        "3:33: endpoints.e.by_complexity[0]: a band without 'below' takes all that are left (put it last)",
    ),
    (
        "endpoints: {e: {by_complexity: [{below: 3, use: a}]}}",
        "3:33: endpoints.e.by_complexity: asks that score 3 or more have no band (end with {use: NAME})",
    ),
    (
        "endpoints: {e: {by_complexity: [{use: a}], abstain: nope}}",
        "3:53: endpoints.e.abstain: there is no endpoint or backend 'nope'",
    ),
    ("endpoints: {e: {fallback: [a], then: nope}}", "3:38: endpoints.e.then: there is no endpoint or backend 'nope'"),
    (
        "endpoints: {e: {fallback: [{balance: [{cascade: [nope]}]}]}}",
        "3:50: endpoints.e.fallback[0].balance[0].cascade[0]: there is no endpoint or backend 'nope'",
    ),
    (
        "endpoints: {e: {fallback: ['tag:claud']}}",
        "3:28: endpoints.e.fallback[0]: nothing has the tag 'claud' (did you mean 'cloud'?)",
    ),
    ("routes: [{match: {}, use: 'tag:x'}]", "3:27: routes[0].use: nothing has the tag 'x'"),
    ("aliases: {gpt: nope}", "3:16: aliases.gpt: there is no endpoint or backend 'nope'"),
    ("tests: [{expect: nope}]", "3:18: tests[0].expect: there is no endpoint or backend 'nope'"),
    ("tests: [{expect: a, model: nope}]", "3:28: tests[0].model: there is no endpoint or backend 'nope'"),
    ("endpoints: {e: {cascade: [a, b], judge: 2}}", "3:41: endpoints.e.judge: must be between 0 and 1, got 2"),
    ("endpoints: {e: {adaptive: [a], floor: -1}}", "3:39: endpoints.e.floor: must be between 0 and 1, got -1"),
    (
        "endpoints: {e: {fallback: [{headroom: [a], quality_floor: 80}]}}",
        "3:59: endpoints.e.fallback[0].quality_floor: must be between 0 and 1, got 80",
    ),
    ("endpoints: {e: {fallback: [a], max_hops: -1}}", "3:42: endpoints.e.max_hops: must be at least 0, got -1"),
    ("sticky: {expires: 0}", "3:19: sticky.expires: must be more than 0, got 0"),
]

GIVE = "(give a value, or remove the key)"

MATCHES = [
    ("{a: []}", f"routes[0].match.a: an empty list never matches {GIVE}"),
    ("{context: {turn: []}}", f"routes[0].match.context.turn: an empty list never matches {GIVE}"),
    ("{any: [{b: []}]}", f"routes[0].match.any[0].b: an empty list never matches {GIVE}"),
    ("{not: {all: [{b: []}]}}", f"routes[0].match.not.all[0].b: an empty list never matches {GIVE}"),
    ("{any: []}", f"routes[0].match.any: it says nothing {GIVE}"),
    ("{client: ''}", f"routes[0].match.client: it says nothing {GIVE}"),
    ("{model: []}", f"routes[0].match.model: it says nothing {GIVE}"),
    ("{prompt: []}", f"routes[0].match.prompt: it says nothing {GIVE}"),
    ("{prompt: {}}", f"routes[0].match.prompt: it says nothing {GIVE}"),
    ("{prompt: {any_keyword: []}}", f"routes[0].match.prompt.any_keyword: it says nothing {GIVE}"),
    ("{prompt: {regex: ''}}", f"routes[0].match.prompt.regex: it says nothing {GIVE}"),
    ("{time: ''}", f"routes[0].match.time: it says nothing {GIVE}"),
    ("{prompt: [' ']}", "routes[0].match.prompt: no prompt has the keyword ' ' (it needs a letter or a digit)"),
    (
        "{prompt: {all_keywords: [x, '++']}}",
        "routes[0].match.prompt.all_keywords: no prompt has the keyword '++' (it needs a letter or a digit)",
    ),
    ("{prompt: {regex: '('}}", "routes[0].match.prompt.regex: missing ), unterminated subpattern at position 0"),
    (
        "{all: [{prompt: {regex: '(a+)+'}}]}",
        "routes[0].match.all[0].prompt.regex: it may backtrack for long: bound its repeats, as in .{0,20}",
    ),
    ("{prompt: {regex: 'a{9999999999}'}}", "routes[0].match.prompt.regex: the repetition number is too large"),
    ("{time: noon}", "routes[0].match.time: 'noon' is not a time of day like 22:00-06:00"),
    (
        "{time: ['08:00-09:00', '10:00-10:00']}",
        "routes[0].match.time[1]: '10:00-10:00' begins when it ends",
    ),
    ("{weekday: today}", "routes[0].match.weekday: 'today' is not a day: mon, tue, wed, thu, fri, sat, sun"),
    ("{weekday: [mon, x]}", "routes[0].match.weekday[1]: 'x' is not a day: mon, tue, wed, thu, fri, sat, sun"),
    ("{chars: {}}", "routes[0].match.chars: give at_least, or below, or both"),
    ("{turn: {at_least: 3, below: 3}}", "routes[0].match.turn: nothing is at least 3 and below 3"),
    ("{not: {tokens: {at_least: 9, below: 3}}}", "routes[0].match.not.tokens: nothing is at least 9 and below 3"),
]

KINDS = "(one of mlx, openai, anthropic, responses)"
SECRETS = "give one of env, file, keychain, command"

KINDS_OF_BACKENDS = [
    ("{}", f"1:15: backends.x: a kind is needed {KINDS}"),
    ("{tags: [t]}", f"1:15: backends.x: a kind is needed {KINDS}"),
    (
        "{mlx: {model: m}, anthropic: {model: m}}",
        f"1:15: backends.x: one kind is needed, not mlx and anthropic {KINDS}",
    ),
    ("{anthropic: {model: ' '}}", "1:35: backends.x.anthropic.model: a model is needed (the name the API knows it by)"),
    ("{openai: {model: m, api_key: {}}}", f"1:44: backends.x.openai.api_key: {SECRETS}"),
    ("{openai: {model: m, api_key: {env: A, file: B}}}", f"1:44: backends.x.openai.api_key: {SECRETS}"),
    (
        "{openai: {model: m, headers: {'x: y': z}}}",
        "1:53: backends.x.openai.headers: 'x: y' is not the name of a header (letters, digits and hyphens)",
    ),
    (
        "{openai: {model: m, headers: {Transfer-Encoding: chunked}}}",
        "1:64: backends.x.openai.headers.Transfer-Encoding: routerd sets that itself (leave it out)",
    ),
    (
        '{openai: {model: m, headers: {x-team: "a\\nb"}}}',
        "1:53: backends.x.openai.headers.x-team: a header cannot carry a line's end or other control characters",
    ),
    (
        "{openai: {model: m, base_url: ftp://x}}",
        "1:45: backends.x.openai.base_url: 'ftp://x' is not an address "
        "(https://host/v1, http://127.0.0.1:8080/v1 or unix:/path)",
    ),
    (
        "{openai: {model: m, base_url: 'unix:x.sock'}}",
        "1:45: backends.x.openai.base_url: the path of the socket must be absolute (unix:/path/of.sock)",
    ),
    ("{mlx: {model: m}, quality: 7}", "1:42: backends.x.quality: must be between 0 and 1, got 7"),
    ("{mlx: {model: m}, quota: [{per: day}]}", "1:41: backends.x.quota[0]: give one of tokens, requests and usd"),
    (
        "{mlx: {model: m}, quota: [{per: day, usd: 1, tokens: 1}]}",
        "1:41: backends.x.quota[0]: give one of tokens, requests and usd",
    ),
    (
        "{openai: {model: m, timeouts: {stall: 0}}}",
        "1:53: backends.x.openai.timeouts.stall: must be more than 0, got 0",
    ),
]


@pytest.mark.parametrize(("text", "told"), TARGETS)
def test_a_wrong_target_is_told_with_its_place(text: str, told: str) -> None:
    found = complaints(text)
    assert len(found) == 1
    assert found[0] == told or found[0].startswith(f"{told} (")


@pytest.mark.parametrize(("match", "told"), MATCHES)
def test_a_match_that_says_nothing_or_nonsense_is_told(match: str, told: str) -> None:
    found = complaints(f"routes:\n  - {{use: a, match: {match}}}\n")
    assert [complaint.partition(": ")[2] for complaint in found] == [told]
    line, column = map(int, found[0].split(":")[:2])
    assert line == 4
    assert column > 21


@pytest.mark.parametrize(("backend", "told"), KINDS_OF_BACKENDS)
def test_a_wrong_backend_is_told_with_its_place(backend: str, told: str) -> None:
    assert complaints("", f"backends: {{x: {backend}}}\ndefault: x\n") == [told]


def test_a_password_in_an_address_is_told_without_it() -> None:
    (found,) = complaints("", "backends: {x: {openai: {model: m, base_url: 'https://u:hunter2@h/v1'}}}\ndefault: x\n")
    assert found == "1:45: backends.x.openai.base_url: a password does not belong into an address (use api_key)"


@pytest.mark.parametrize(
    "text",
    [
        "endpoints: {e: {weighted: {a: 0, b: 1}}}",
        "endpoints: {e: {by_complexity: [{below: 3, use: a}, {below: 6, use: a}, {use: b}]}}",
        "endpoints: {e: {fallback: [a], then: a}}",
        "endpoints: {e: {fallback: [f]}, f: {fallback: ['tag:cloud', g]}, g: {balance: [a, b]}}",
        "routes: [{match: {}, use: 'tag:near'}]",
        "aliases: {'gpt-*': routed}\ntests: [{expect: a, model: gpt-4}, {expect: a, model: routed}, {expect: a}]",
        "routes: [{use: a, match: {task: '', prompt: ['c++', 計画], weekday: Monday, time: ['9:00-10:00']}}]",
        "routes: [{use: a, match: {any: [{a: b}, {not: {has_tools: true}}], turn: {at_least: 2}}}]",
    ],
)
def test_what_is_meant_is_taken(text: str) -> None:
    assert load(BASE + text, "f").config


# --- cycles, and too much behind a name ---


@pytest.mark.parametrize(
    ("endpoints", "told"),
    [
        ("e: {fallback: [e]}", "e -> e"),
        ("e: {fallback: [a], then: f}, f: {balance: [b, e]}", "e -> f -> e"),
        ("e: {fallback: [{weighted: {f: 1}}]}, f: {by_complexity: [{use: a}], abstain: e}", "e -> f -> e"),
        ("e: {fallback: ['tag:t']}, f: {fallback: [e], tags: [t]}", "e -> f -> e"),
        ("e: {fallback: [a, 'tag:t'], tags: [t]}", "e -> e"),
    ],
)
def test_an_endpoint_that_leads_back_to_itself_is_told_once_with_the_way(endpoints: str, told: str) -> None:
    assert complaints(f"endpoints: {{{endpoints}}}") == [f"3:13: endpoints.e: leads back to itself: {told}"]


def test_an_endpoint_before_a_cycle_is_not_part_of_it() -> None:
    found = complaints(
        "endpoints: {outside: {fallback: [e]}, e: {fallback: [f]}, f: {fallback: [e, inside]}, inside: {balance: [a]}}"
    )
    assert found == ["3:39: endpoints.e: leads back to itself: e -> f -> e"]


def test_a_cycle_is_told_with_the_other_mistakes() -> None:
    found = complaints("endpoints: {e: {fallback: [f]}, f: {fallback: [e]}}\nrotes: []\nsticky: {expires: 0}")
    assert found[0] == "3:13: endpoints.e: leads back to itself: e -> f -> e"
    assert len(found) == 3


def test_routes_of_one_name_are_told() -> None:
    found = complaints("""\
routes:
  - {match: {a: b}, use: a, name: plan}
  - {match: {a: c}, use: a, name: plan}
  - {match: {a: d}, use: a}
  - {match: {a: e}, use: a, name: 'routes[2]'}
""")
    assert found == [
        "5:35: routes[1].name: the name 'plan' is taken (routes[0] has it, on line 4)",
        "7:35: routes[3].name: the name 'routes[2]' is taken (routes[2] has it, on line 6)",
    ]


def test_a_name_that_asks_for_a_tag_is_told() -> None:
    hint = "(it asks for all that have a tag)"
    base = "backends: {'tag:x': {mlx: {model: m}}}\ndefault: 'tag:x'\n"
    found = complaints("endpoints: {'tag:y': {fallback: ['tag:x']}}", base)
    assert found == [f"1:12: the name 'tag:x' is reserved {hint}", f"3:13: the name 'tag:y' is reserved {hint}"]


def test_every_cycle_is_told() -> None:
    found = complaints("endpoints: {e: {fallback: [e]}, f: {fallback: [g]}, g: {fallback: [f]}}")
    assert [complaint.split("itself: ")[1] for complaint in found] == ["e -> e", "f -> g -> f"]


def layers(depth: int) -> dict[str, EndpointSpec]:
    """Two endpoints in each layer, each of which names both of the next: 2 to the power of ``depth`` ways."""
    return {
        f"{side}{n}": EndpointSpec(balance=(f"x{n + 1}", f"y{n + 1}") if n < depth else ("a", "b"))
        for n in range(depth + 1)
        for side in "xy"
    }


def test_many_ways_to_one_backend_are_counted_and_not_walked() -> None:
    config = ConfigSpec(backends={"a": BackendSpec(mlx=MlxSpec(model="m"))}, default="a", endpoints=layers(60))
    assert cycle(config, "x0") == []
    assert backends_of(config, "x0") == ["a"]
    assert places(replace(config, backends=dict.fromkeys("ab", config.backends["a"])), "x0") == 2**61


def test_an_endpoint_that_stands_for_too_much_is_told() -> None:
    lines = "\n".join(
        f"  {name}: {{balance: [{', '.join(map(str, spec.balance))}]}}" for name, spec in layers(9).items()
    )
    found = complaints(f"endpoints:\n{lines}\n")
    assert found == [
        f"{line}:3: endpoints.{side}0: its order has 1024 places, with all that its targets name, "
        f"and may have {MOST_PLACES} (name each target once)"
        for line, side in ((4, "x"), (5, "y"))
    ]


_names = st.sampled_from("efgh")
_graphs = st.dictionaries(
    _names, st.lists(st.sampled_from(["a", "b", "e", "f", "g", "h", "tag:t"]), min_size=1, max_size=3, unique=True)
)


@given(_graphs, st.sets(_names))
def test_a_cycle_is_found_exactly_where_there_is_one(graph: dict[str, list[str]], with_tag: set[str]) -> None:
    known = {
        name: tuple(t for t in targets if t in graph or t in ("a", "b", "tag:t")) for name, targets in graph.items()
    }
    config = ConfigSpec(
        backends={name: BackendSpec(mlx=MlxSpec(model="m"), tags=("t",)) for name in "ab"},
        endpoints={
            name: EndpointSpec(fallback=(StrategySpec(balance=targets),), tags=("t",) if name in with_tag else ())
            for name, targets in known.items()
        },
        default="a",
    )
    steps = {**known, "tag:t": ("a", "b", *(name for name in known if name in with_tag))}

    def reached(name: str) -> set[str]:
        found: set[str] = set()
        waiting = list(steps.get(name, ()))
        while waiting:
            step = waiting.pop()
            if step not in found:
                found.add(step)
                waiting += steps.get(step, ())
        return found

    for name in known:
        way = cycle(config, name)
        assert bool(way) is (name in reached(name))
        assert not way or way[0] == way[-1] == name
        assert set(backends_of(config, name)) == reached(name) & {"a", "b"}


# --- local_only ---


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("endpoints: {e: {fallback: [a, far], local_only: true}}", "3:13: endpoints.e"),
        ("endpoints: {e: {fallback: [f], local_only: true}, f: {weighted: {b: 1, far: 1}}}", "3:13: endpoints.e"),
        ("endpoints: {e: {fallback: [{balance: [a]}], then: 'tag:cloud', local_only: true}}", "3:13: endpoints.e"),
        ("routes: [{match: {}, use: far, set: {local_only: true}}]", "3:10: routes[0]"),
        ("routes: [{match: {}, use: 'tag:cloud', set: {local_only: true}}]", "3:10: routes[0]"),
        (
            "routes: [{match: {}, use: e, set: {local_only: true}}]\n"
            "endpoints: {e: {by_complexity: [{use: a}], abstain: f}, f: {cascade: [b, far]}}",
            "3:10: routes[0]",
        ),
    ],
)
def test_what_says_local_only_may_not_lead_elsewhere(text: str, told: str) -> None:
    what = "it says local_only, and far would leave the machine (take them out, or take local_only out)"
    assert complaints(text) == [f"{told}: {what}"]


@pytest.mark.parametrize("where", ["", ", base_url: 'http://10.0.0.7/v1'", ", base_url: 'https://api.x.test/v1'"])
def test_a_server_elsewhere_is_not_local(where: str) -> None:
    text = f"backends: {{a: {{openai: {{model: m{where}, local: true}}}}}}\ndefault: a"
    with pytest.raises(ConfigFailedError, match="local is for servers on this one"):
        load(text, "f")
    assert load(text.replace("true", "false"), "f").config


def test_what_is_on_this_machine_and_what_stays_there_are_two_things() -> None:
    block = "{openai: {model: m, base_url: 'http://127.0.0.1:1/v1'%s}}"
    backends = {"silent": "", "own": ", local: true", "proxy": ", local: false"}
    text = "".join(f"  {name}: {block % said}\n" for name, said in backends.items())
    text += "  one: {mlx: {model: demo}}\n  far: {openai: {model: m}}\n"
    specs = load(f"backends:\n{text}default: own", "f").config.backends
    assert {name for name, spec in specs.items() if spec.near} == {"silent", "own", "one"}
    assert {name for name, spec in specs.items() if spec.local} == {"own", "one"}
    assert {name for name, spec in specs.items() if spec.bills == "local"} == {"silent", "own", "proxy", "one"}


def test_a_model_that_other_machines_share_does_not_stay_here() -> None:
    text = "backends: {a: {mlx: {model: demo, hosts: [mac-1, mac-2]}}}\ndefault: e\n"
    with pytest.raises(ConfigFailedError, match="a would leave the machine"):
        load(f"{text}endpoints: {{e: {{fallback: [a], local_only: true}}}}", "f")


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ("{by_complexity: [{below: 11, use: a}, {use: b}]}", "3:41: endpoints.e.by_complexity[0].below"),
        (
            "{by_complexity: [{below: 3, use: a}, {below: 10.5, use: b}, {use: a}]}",
            "3:61: endpoints.e.by_complexity[1].below",
        ),
        (
            "{by_complexity: [{below: 3, use: a}, {use: b}], ab: {below: [4, 12]}}",
            "3:80: endpoints.e.ab.below",
        ),
    ],
)
def test_a_limit_of_complexity_is_on_the_scale(endpoint: str, place: str) -> None:
    with pytest.raises(ConfigFailedError) as failed:
        load(f"{BASE}endpoints: {{e: {endpoint}}}", "f")
    (error,) = failed.value.errors
    assert str(error).startswith(f"f:{place}: must be between 0 and 10, got 1")
    assert "asks score 0 to 10" in str(error)
    assert load(f"{BASE}endpoints: {{e: {{by_complexity: [{{below: 10, use: a}}, {{use: b}}]}}}}", "f")


def test_local_only_false_and_local_apis_are_fine() -> None:
    text = BASE.replace("{model: c}", "{model: c, base_url: 'http://localhost:1/'}")
    assert load(f"{text}endpoints: {{e: {{fallback: [a, far], local_only: true}}}}", "f").config
    assert load(f"{BASE}routes: [{{match: {{}}, use: far, set: {{local_only: false}}}}]", "f").config


# --- secrets ---

SECRET = "sk-4f0c-do-not-show"
WITH_SECRETS = f"""\
backends: {{far: {{anthropic: {{model: c, api_key: {SECRET}, headers: {{x-key: {SECRET}}}}}}}}}
default: far
routes: [{{match: {{x: y}}, use: far, set: {{api_key: {SECRET}, max_tokens: 3}}}}]
"""


def test_a_secret_in_the_file_shows_nowhere() -> None:
    loaded = load(WITH_SECRETS, "f")
    config = loaded.config
    assert config.backends["far"].http
    assert config.backends["far"].http.api_key == SecretSpec(inline=SECRET)
    other = load(WITH_SECRETS.replace(SECRET, "another"), "f").config
    steps = [plan(None, config), plan(config, other)]
    shown = [repr(config), str(config), repr(steps), repr(loaded), *map(str, loaded.warnings)]
    assert steps[1].changes == ["route 'x=y' changed", "backend 'far' changed"]
    assert all(SECRET not in text for text in shown)
    for spec in (SecretSpec(inline=SECRET), config.backends["far"].http):
        assert SECRET not in repr(list(spec.__rich_repr__()))


def test_a_secret_in_the_file_is_warned_of() -> None:
    assert [str(warning).split(" (")[0] for warning in load(WITH_SECRETS, "f").warnings] == [
        "f:1:49: backends.far.anthropic.api_key: a secret stands in the file",
        "f:3:51: routes[0].set.api_key: a secret stands in the file",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        f"{{anthropic: {{model: c, api_kye: {SECRET}}}}}",
        f"{{anthropic: {{model: c, api_key: [{SECRET}]}}}}",
        f"{{anthropic: {{model: c, api_key: {{evn: {SECRET}}}}}}}",
        f"{{anthropic: {{model: c, api_key: {{env: [{SECRET}]}}}}}}",
        f"{{anthropic: {{api_key: {SECRET}}}}}",
        f"{{anthropic: {{model: c, api_key: {SECRET}, context: 0}}}}",
        f"{{anthropic: {{model: c, api_key: {{env: A, inline: {SECRET}}}}}}}",
    ],
)
def test_no_complaint_shows_a_secret(wrong: str) -> None:
    found = complaints("", f"backends: {{far: {wrong}}}\ndefault: far\n")
    assert found
    assert SECRET not in "".join(found)


@pytest.mark.parametrize(
    ("use", "said"),
    [("a", "a leads to no API"), ("e", "e leads to far and other")],
)
def test_a_routes_key_is_for_one_api(use: str, said: str) -> None:
    base = BASE.replace("default: a", "default: a\nendpoints: {e: {fallback: [a, far, other]}}").replace(
        "far:", "other: {openai: {model: m}}, far:"
    )
    found = complaints(f"routes: [{{match: {{}}, use: {use}, set: {{api_key: {{env: K}}}}}}]", base)
    assert found == [
        f"4:10: routes[0].set: api_key and model are for one backend over HTTP, and {said} (use that backend)"
    ]
    load(base + "routes: [{match: {}, use: far, set: {model: other, api_key: {env: K}}}]", "routes.yaml")
