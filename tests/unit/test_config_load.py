"""Text -> configuration: what is read, and how every mistake is told."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.config.load import MAX_BYTES, ConfigFailedError, load, read
from routerd.config.match import MatchSpec
from routerd.config.schema import BackendSpec, ConfigSpec, EndpointSpec, HealthSpec, MlxSpec, OverrideSpec, RouteSpec
from routerd_client.chat import Priority

BASE = "backends: {small: {mlx: {model: demo}}, large: {mlx: {model: org/large}}}\n"
FILE = BASE + "default: small\n"


def config(text: str) -> ConfigSpec:
    return load(text, "routes.yaml").config


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigFailedError) as failed:
        load(text, "routes.yaml")
    return list(map(str, failed.value.errors))


def warned(routes: str) -> list[str]:
    return list(map(str, load(f"{BASE}default: small\nroutes:\n{routes}", "routes.yaml").warnings))


def test_a_minimal_file_takes_every_default() -> None:
    spec = config("backends: {small: {mlx: {model: demo}}}\ndefault: small")
    assert spec == ConfigSpec(backends={"small": BackendSpec(mlx=MlxSpec(model="demo"))}, default="small")


def test_a_full_file_is_read_as_written() -> None:
    spec = config("""
version: 1
backends:
  small: {mlx: {model: ~/models/small, keep_alive: 1h30m, preload: true}}
  large: {mlx: {model: org/large, keep_alive: forever}, health: {cooldown: 500ms, failure_rate: 1}}
endpoints:
  primary: {fallback: [small, large]}
routes:
  - {name: night, match: {platform: discord, task: [plan, on]}, use: primary, set: {priority: background, deadline: 20}}
default: primary
""")
    assert spec.backends["small"].mlx == MlxSpec(model="~/models/small", keep_alive=5400.0, preload=True)
    assert spec.backends["large"].mlx.keep_alive == "forever"
    assert spec.backends["large"].health == HealthSpec(cooldown=0.5, failure_rate=1.0)
    assert spec.endpoints == {"primary": EndpointSpec(fallback=("small", "large"))}
    override = OverrideSpec(priority=Priority.BACKGROUND, deadline=20.0)
    match: dict[str, str | tuple[str, ...]] = {"platform": "discord", "task": ("plan", "on")}
    assert spec.routes == (RouteSpec(name="night", match=MatchSpec(context=match), use="primary", set=override),)


def test_match_values_are_text_as_written() -> None:
    spec = config(FILE + "routes: [{match: {port: 8080, v: 1.50, dm: true, n: [0x1F, no]}, use: small}]")
    assert spec.routes[0].match.context == {"port": "8080", "v": "1.50", "dm": "true", "n": ("0x1F", "no")}


def test_no_opinion_in_set_is_the_default_and_zero_is_a_value() -> None:
    given = "{max_tokens: null, priority: '', stop: [], deadline: '', temperature: 0, stream: false}"
    spec = config(FILE + f"routes: [{{match: {{}}, use: small, set: {given}}}]")
    assert spec.routes[0].set == OverrideSpec(temperature=0.0, stream=False)


def test_null_for_an_optional_field_is_its_default() -> None:
    assert config(FILE + "routes:\nlog:\nendpoints: ~") == config(FILE)


def test_the_digest_follows_the_text() -> None:
    assert load(FILE, "f").digest == load(FILE, "g").digest != load(FILE + "# more", "f").digest


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("default: small", "1:1: the key 'backends' is missing"),
        ("[a]", "1:1: expected a block of 'key: value' lines, got a list"),
        (
            BASE + "defualt: x\ndefault: small",
            "2:1: unknown key 'defualt' (did you mean 'default'?)",
        ),
        (FILE + "version: 2", "3:10: version: expected 1, got 2"),
        (FILE + "version: true", "3:10: version: expected 1, got true"),
        (BASE + "default: 5", "2:10: default: expected text, got 5 (write it in quotes: '5')"),
        (BASE + "default: smal", "2:10: default: there is no endpoint or backend 'smal' (did you mean 'small'?)"),
        (BASE + "default: xyz", "2:10: default: there is no endpoint or backend 'xyz' (there are: small, large)"),
        (BASE + "default:", "2:9: default: expected text, got nothing"),
        (
            FILE + "log: {level: warn}",
            "3:14: log.level: expected 'debug' or 'info' or 'warning' or 'error', got 'warn' (did you mean 'warning'?)",
        ),
        (FILE + "log: {prompts: yes}", "3:16: log.prompts: expected true or false, got 'yes' (write true)"),
        (
            FILE + "health: {window: soon}",
            "3:18: health.window: expected a number of seconds or a duration like 15m, got 'soon'",
        ),
        (FILE + "health: {window: 0s}", "3:18: health.window: must be more than 0, got 0s"),
        (FILE + "health: {failure_rate: 1.5}", "3:24: health.failure_rate: must be between 0 and 1, got 1.5"),
        (FILE + "health: {failure_rate: .nan}", "3:24: health.failure_rate: expected a number, got .nan"),
        (FILE + "health: {allowed_fails: 0}", "3:25: health.allowed_fails: must be at least 1, got 0"),
        (FILE + "endpoints: {e: {fallback: []}}", "3:27: endpoints.e.fallback: at least one target is needed"),
        (FILE + "endpoints: {e: {fallback: [small, small]}}", "3:35: endpoints.e.fallback: 'small' is listed twice"),
        (
            FILE + "endpoints: {e: {fallback: [small, f]}, f: {fallback: [e]}}",
            "3:13: endpoints.e: leads back to itself: e -> f -> e",
        ),
        (
            FILE + "endpoints: {e: {fallback: [lrage]}}",
            "3:28: endpoints.e.fallback[0]: there is no endpoint or backend 'lrage' (did you mean 'large'?)",
        ),
        (
            FILE + "endpoints: {small: {fallback: [large]}}",
            "3:13: the name 'small' is taken (a backend has it, on line 1)",
        ),
        (
            FILE + "endpoints: {routed: {fallback: [large]}}",
            "3:13: the name 'routed' is reserved (it asks for whatever the routes say)",
        ),
        (
            FILE + "endpoints: {'a b': {fallback: [large]}}",
            "3:13: 'a b' cannot name an endpoint (use letters, digits and . _ : -)",
        ),
        (
            FILE + "routes: [{match: {a: []}, use: small}]",
            "3:22: routes[0].match.a: an empty list never matches (give a value, or remove the key)",
        ),
        (
            FILE + "routes: [{match: {a: null}, use: small}]",
            "3:22: routes[0].match.a: expected text or a list, got nothing",
        ),
        (
            FILE + "routes: [{match: {a: b}, use: small, set: {priority: hi}}]",
            "3:54: routes[0].set.priority: expected 'interactive' or 'normal' or 'background', got 'hi'",
        ),
        (
            "backends: {a: {mlx: {model: ''}}}\ndefault: a",
            "1:29: backends.a.mlx.model: a model is needed (a Hugging Face id, a folder, a .gguf file, or demo)",
        ),
        (
            "backends: {a: {mlx: {model: m, keep_alive: abc}}}\ndefault: a",
            "1:44: backends.a.mlx.keep_alive: expected a number of seconds or a duration like 15m or 'forever', "
            "got 'abc'",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_way_out(text: str, complaint: str) -> None:
    assert complaints(text) == [f"routes.yaml:{complaint}"]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
backends:
  a: {mlx: {modle: m}}
  b: {mlx: {model: m, context: 0}}
routes:
  - {match: x, use: c}
default: d
"""
    told = [complaint.removeprefix("routes.yaml:").split(" (")[0] for complaint in complaints(text)]
    assert told == [
        "2:12: backends.a.mlx: the key 'model' is missing",
        "2:13: backends.a.mlx: unknown key 'modle'",
        "3:32: backends.b.mlx.context: must be at least 1, got 0",
        "5:13: routes[0].match: expected a block of 'key: value' lines, got 'x'",
        "5:21: routes[0].use: there is no endpoint or backend 'c'",
        "6:10: default: there is no endpoint or backend 'd'",
    ]


def test_an_aliased_mistake_in_one_place_is_told_once() -> None:
    text = FILE + "endpoints: {a: {fallback: &f [smal]}, b: {fallback: *f}}"
    assert len({complaint.partition(" endpoints")[0] for complaint in complaints(text)}) == 1


def test_a_route_after_a_wider_one_is_warned_of() -> None:
    assert warned("- {match: {a: [x, y]}, use: small}\n- {match: {b: z, a: x}, use: large}") == [
        "routes.yaml:5:3: routes[1] never matches: routes[0] on line 4 takes all of it (move it up, or remove it)"
    ]


def test_a_route_after_one_that_takes_everything_is_warned_of() -> None:
    assert len(warned("- {match: {}, use: small}\n- {match: {a: x}, use: large}\n- {match: {}, use: large}")) == 2


@pytest.mark.parametrize("later", ["{a: [x, z]}", "{a: z}", "{b: x}", "{}", "{a: [x, y, z], b: x}"])
def test_a_route_that_can_still_match_is_not_warned_of(later: str) -> None:
    assert warned(f"- {{match: {{a: [x, y]}}, use: small}}\n- {{match: {later}, use: large}}") == []


_values = st.lists(st.sampled_from("xyz"), min_size=1, unique=True)
_matches = st.dictionaries(st.sampled_from("abc"), _values, max_size=3)


@given(st.lists(_matches, max_size=8))
def test_the_warned_routes_are_those_covered_by_one_earlier(matches: list[dict[str, list[str]]]) -> None:
    def covers(wide: dict[str, list[str]], narrow: dict[str, list[str]]) -> bool:
        return all(key in narrow and set(narrow[key]) <= set(values) for key, values in wide.items())

    routes = [{"match": match, "use": "small"} for match in matches]
    text = msgspec.json.encode({"backends": {"small": {"mlx": {"model": "m"}}}, "default": "small", "routes": routes})
    covered = [n for n, match in enumerate(matches) if any(covers(wide, match) for wide in matches[:n])]
    told = load(text.decode(), "f").warnings
    assert sorted(int(warning.message[7:].split("]")[0]) for warning in told) == covered


def test_a_thousand_routes_load() -> None:
    routes = (f"  - {{match: {{channel: c{n}}}, use: small, set: {{max_tokens: {n + 1}}}}}\n" for n in range(1000))
    assert len(config(f"{FILE}routes:\n{''.join(routes)}").routes) == 1000


@given(st.text() | st.text("backendsmlxmodeldefaultroutesmatchuse{}[]:, \n&*1'"))
def test_any_text_is_a_configuration_or_a_config_failed_error(text: str) -> None:
    with contextlib.suppress(ConfigFailedError):
        load(text, "f")


_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,8}", fullmatch=True).filter(lambda name: name != "routed")
_mlx = st.builds(
    MlxSpec,
    model=st.text("abc/~.-é 1", min_size=1).filter(str.strip),
    keep_alive=st.floats(0, 1e9) | st.just("forever"),
    preload=st.booleans(),
    context=st.none() | st.integers(1, 2**40),
    stall_timeout=st.floats(0.001, 1e9),
)
_configs = st.dictionaries(_names, st.builds(BackendSpec, mlx=_mlx), min_size=1, max_size=4).flatmap(
    lambda backends: st.builds(ConfigSpec, backends=st.just(backends), default=st.sampled_from(sorted(backends)))
)


@given(_configs)
def test_a_written_configuration_is_read_back(spec: ConfigSpec) -> None:
    # JSON is YAML
    assert config(msgspec.json.encode(spec).decode()) == spec


def unreadable(path: Path) -> str:
    with pytest.raises(ConfigFailedError) as failed:
        read(path)
    return str(failed.value).replace(str(path), "PATH")


def test_the_text_of_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes("a: é\r\n".encode())
    assert read(tmp_path / "f") == "a: é\r\n"


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    told = "PATH: there is no such file (write a first one with: routerctl init)"
    assert unreadable(tmp_path / "f") == told


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert unreadable(tmp_path) == "PATH: this is a directory (name the file in it)"


def test_a_device_is_refused_without_waiting_for_it() -> None:
    assert unreadable(Path("/dev/tty")) == "PATH: the file cannot be read: it is not a regular file"


def test_a_file_that_is_not_utf8_is_refused_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes("a: é\nb: ü".encode() + b"\xff")
    assert unreadable(tmp_path / "f") == "PATH:2:5: the file is not UTF-8 text (save it as UTF-8)"


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"#" * (MAX_BYTES + 1))
    assert unreadable(tmp_path / "f") == "PATH: the file is larger than 4 MiB (is it the right file?)"
