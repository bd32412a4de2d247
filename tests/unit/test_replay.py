"""Recorded requests under other routes: what would move, and what cannot be told."""

from __future__ import annotations

from routerd.config.load import load
from routerd.routing.replay import Recorded, replay
from routerd.routing.table import Table, compile_table

BACKENDS = "backends: {small: {mlx: {model: demo}}, large: {mlx: {model: org/large}}}\ndefault: small\n"


def table(rest: str = "") -> Table:
    return compile_table(load(BACKENDS + rest, "routes.yaml").config)


def test_nothing_moves_under_the_same_routes() -> None:
    found = replay([Recorded(id="a", backend="small"), Recorded(id="b", backend="large", model="large")], table())
    assert (found.moves, found.unsure) == ([], [])
    assert found.before == found.after == {"small": 1, "large": 1}


def test_a_new_route_moves_what_it_matches_and_says_so() -> None:
    edited = table("routes: [{name: plans, match: {task: plan, has_tools: true}, use: large}]\n")
    found = replay(
        [
            Recorded(id="a", backend="small", context={"task": "plan"}, has_tools=True),
            Recorded(id="b", backend="small", context={"task": "plan"}),
        ],
        edited,
    )
    assert [(m.id, m.was, m.now, m.why) for m in found.moves] == [("a", "small", "large", "route plans")]
    assert found.after == {"large": 1, "small": 1}


def test_measures_are_enough_for_routes_that_look_at_measures() -> None:
    edited = table("routes: [{match: {chars: {at_least: 1000}, turn: 2}, use: large}]\n")
    found = replay([Recorded(id="a", backend="small", chars=1000, turn=2)], edited)
    assert [m.now for m in found.moves] == ["large"]


def test_what_hangs_on_a_text_that_was_not_kept_is_not_told() -> None:
    edited = table("routes: [{match: {prompt: [plan]}, use: large}]\n")
    kept = Recorded(id="kept", backend="small", prompt="Plan my week")
    found = replay([Recorded(id="lost", backend="small"), kept], edited)
    assert found.unsure == ["lost"]
    assert [m.id for m in found.moves] == ["kept"]


def test_a_score_hangs_on_the_text_too() -> None:
    edited = table("endpoints: {auto: {by_complexity: [{below: 3, use: small}, {use: large}]}}\n")
    found = replay([Recorded(id="a", backend="small", model="auto")], edited)
    assert found.unsure == ["a"]


def test_a_model_that_is_gone_moves_to_nobody() -> None:
    found = replay([Recorded(id="a", backend="old", model="old")], table())
    assert [(m.was, m.now) for m in found.moves] == [("old", "nobody")]
