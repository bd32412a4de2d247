"""Routes by client, and clients that name a model in all they ask."""

from __future__ import annotations

import pytest

from routerd.config.load import load
from routerd.config.unreached import advice, unreached

BASE = "backends: {a: {mlx: {model: demo}}}\ndefault: a\n"


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ("{client: llm}", ["llm"]),
        ("{client: [codex, llm]}", ["llm"]),
        ("{client: 'll*'}", ["llm"]),
        ("{all: [{client: llm}, {has_tools: true}]}", ["llm"]),
        ("{any: [{client: llm}, {task: plan}]}", ["llm"]),
        ("{client: '*'}", ["aider", "llm"]),
        ("{client: codex}", []),
        ("{not: {client: llm}}", []),
        ("{task: plan}", []),
        ("{}", []),
    ],
)
def test_a_route_names_the_clients_that_do_not_reach_it(match: str, found: list[str]) -> None:
    config = load(f"{BASE}routes: [{{match: {{task: x}}, use: a}}, {{match: {match}, use: a}}]", "f").config
    naming = {"aider": 1, "llm": 12}
    missed = list(unreached(config.routes, naming))
    assert [(index, client) for index, client, _ in missed] == [(1, client) for client in found]
    for _, client, why in missed:
        assert ("its one request" if client == "aider" else "all its 12 requests") in why


def test_init_is_advised_for_the_agents_that_it_knows_alone() -> None:
    assert advice("codex", {"codex"}).endswith(": routerctl init --harness codex --write")
    assert "init" not in advice("my-bot", {"codex"})
