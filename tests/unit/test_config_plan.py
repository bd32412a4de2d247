"""What going from one configuration to the next does."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from routerd.config.load import load
from routerd.config.plan import needs_restart, plan
from routerd.config.schema import ConfigSpec, MlxSpec

MODEL = MlxSpec(model="m")


def config(routes: str = "", extra: str = "", backends: str = "small: {mlx: {model: m}}") -> ConfigSpec:
    return load(f"backends: {{{backends}}}\ndefault: small\nroutes: [{routes}]\n{extra}", "f").config


def test_the_same_configuration_changes_nothing() -> None:
    made = plan(config("{match: {a: b}, use: small}"), config("{match: {a: b}, use: small}"))
    assert (made.summary, made.changes) == ("nothing changed", [])


def test_a_first_configuration_brings_everything() -> None:
    made = plan(None, config("{match: {a: b}, use: small}", backends="small: {mlx: {model: m, preload: true}}"))
    assert made.summary == "1 route changed, 1 backend changed, default changed, 1 model to load, 0 restarted"
    assert made.load == ["small"]


def test_an_inserted_route_leaves_the_others_unchanged() -> None:
    made = plan(config("{match: {a: b}, use: small}"), config("{match: {}, use: small}, {match: {a: b}, use: small}"))
    assert made.changes == ["route 'any' added"]


def test_a_route_is_the_same_by_its_name() -> None:
    old, new = ("{match: {a: b}, use: small, name: r}", "{match: {a: [b, c]}, use: small, name: r}")
    assert plan(config(old), config(new)).changes == ["route 'r' changed"]


def test_routes_in_another_order_are_a_change() -> None:
    a, b = "{match: {a: b}, use: small}", "{match: {b: c}, use: small}"
    assert plan(config(f"{a}, {b}"), config(f"{b}, {a}")).changes == ["routes reordered"]


def test_routes_with_one_match_are_told_apart() -> None:
    one = "{match: {a: b}, use: small}"
    assert plan(config(one), config(f"{one}, {one}")).changes == ["route 'a=b (2)' added"]


def test_a_removed_backend_drains() -> None:
    old = config(backends="small: {mlx: {model: m}}, large: {mlx: {model: m}}")
    made = plan(old, config())
    assert (made.drain, made.restart, made.load) == (["large"], [], [])


def test_a_renamed_backend_goes_and_comes() -> None:
    old = config(backends="small: {mlx: {model: m}}, large: {mlx: {model: n, preload: true}}")
    new = config(backends="small: {mlx: {model: m}}, big: {mlx: {model: n, preload: true}}")
    made = plan(old, new)
    assert (made.drain, made.load, made.restart) == (["large"], ["big"], [])


def test_a_new_model_restarts_its_process() -> None:
    made = plan(config(), config(backends="small: {mlx: {model: n}}"))
    assert (made.restart, made.summary) == (["small"], "1 backend changed, 0 models to load, 1 restarted")


def test_preload_turned_on_loads() -> None:
    made = plan(config(), config(backends="small: {mlx: {model: m, preload: true}}"))
    assert (made.load, made.restart) == (["small"], [])


@pytest.mark.parametrize("extra", ["health: {cooldown: 9}", "log: {level: debug}"])
def test_settings_that_changed_are_named(extra: str) -> None:
    assert plan(config(), config(extra=extra)).changes == [f"{extra.split(':')[0]} changed"]


def test_a_changed_endpoint_is_named() -> None:
    old, new = (config(extra=extra) for extra in ("", "endpoints: {e: {fallback: [small]}}"))
    assert plan(old, new).changes == ["endpoint 'e' added"]


@pytest.mark.parametrize("new", [replace(MODEL, model="n"), replace(MODEL, context=9), replace(MODEL, concurrency=1)])
def test_what_a_process_is_started_with_needs_a_restart(new: MlxSpec) -> None:
    assert needs_restart(MODEL, new)


@pytest.mark.parametrize(
    "new",
    [
        replace(MODEL, keep_alive="forever"),
        replace(MODEL, preload=True),
        replace(MODEL, max_tokens=5),
        replace(MODEL, load_timeout=5.0),
        replace(MODEL, stall_timeout=5.0),
    ],
)
def test_what_the_daemon_applies_needs_no_restart(new: MlxSpec) -> None:
    assert not needs_restart(MODEL, new)
