"""AutoBot's ``tiered_routing:`` block: it loads as it is, and routes as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from routerd.config.load import ConfigFailedError, Loaded, load
from routerd.config.strategy import Band
from routerd.routing.decide import decide
from routerd.routing.features import Features
from routerd.routing.table import compile_table
from routerd_client.chat import ChatRequest, Message
from routerd_client.records import Decision
from tests.support.view import FakeView

DOCUMENTED = (Path(__file__).parents[1] / "data/compat/autobot.yaml").read_text()
SIMPLE, COMPLEX = "gemma2:2b", "mistral:7b-instruct"


def loaded(text: str = DOCUMENTED) -> Loaded:
    return load(text, "routes.yaml")


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigFailedError) as failed:
        loaded(text)
    return list(map(str, failed.value.errors))


def decision(config: Loaded, prompt: str, view: FakeView | None = None) -> Decision:
    chat = ChatRequest(messages=[Message("user", prompt)])
    return decide(compile_table(config.config), Features(chat), view or FakeView(), trace=True).decision


def order(config: Loaded, prompt: str, view: FakeView | None = None) -> list[str]:
    return [candidate.backend for candidate in decision(config, prompt, view).candidates]


def test_the_documented_block_is_an_endpoint_by_complexity_and_the_default() -> None:
    config = loaded().config
    auto = config.endpoints["auto"]
    assert (config.default, list(config.endpoints)) == ("auto", ["auto"])
    assert auto.by_complexity == (Band(use=SIMPLE, below=3.0), Band(use=COMPLEX))
    assert auto.upward
    models = {name: backend.mlx.model for name, backend in config.backends.items() if backend.mlx}
    assert models == {
        SIMPLE: "mlx-community/gemma-2-2b-it-4bit",
        COMPLEX: "mlx-community/Mistral-7B-Instruct-v0.3-4bit",
    }


@pytest.mark.parametrize(
    ("prompt", "tier"),
    [
        ("What time is it?", SIMPLE),
        ("List Python string methods", SIMPLE),
        ("Explain async vs threads", COMPLEX),
        ("Write a Python script that parses JSON, validates schema, stores in Redis", COMPLEX),
    ],
)
def test_the_documented_examples_go_to_the_documented_tiers(prompt: str, tier: str) -> None:
    assert order(loaded(), prompt)[0] == tier


def test_a_simple_model_that_fails_is_followed_by_the_complex_one() -> None:
    assert order(loaded(), "What time is it?") == [SIMPLE, COMPLEX]
    assert order(loaded(), "What time is it?", FakeView(blocked={SIMPLE: "breaker open"})) == [COMPLEX]


def test_without_fallback_to_complex_it_is_not() -> None:
    text = DOCUMENTED.replace("fallback_to_complex: true", "fallback_to_complex: false")
    assert order(loaded(text), "What time is it?") == [SIMPLE]


def test_the_threshold_belongs_to_the_complex_tier() -> None:
    """This ask scores 4.17 (test_complexity has the sums)."""
    prompt = "Explain async vs threads"
    assert order(loaded(DOCUMENTED.replace("threshold: 3", "threshold: 4.5")), prompt)[0] == SIMPLE
    score = decision(loaded(), prompt).scores["rules"]
    assert order(loaded(DOCUMENTED.replace("threshold: 3", f"threshold: {score}")), prompt)[0] == COMPLEX


def test_disabled_everything_goes_to_the_complex_model_and_says_why() -> None:
    config = loaded(DOCUMENTED.replace("enabled: true", "enabled: false"))
    made = decision(config, "What time is it?")
    assert ([c.backend for c in made.candidates], made.route) == ([COMPLEX], "Tiered routing disabled")
    assert any("Tiered routing disabled" in line for line in made.trace)
    assert list(config.config.backends) == [COMPLEX]


def test_disabled_the_files_own_routes_and_default_stay() -> None:
    native = "backends: {small: {mlx: {model: demo}}}\ndefault: small\n"
    config = loaded(native + DOCUMENTED.replace("enabled: true", "enabled: false")).config
    assert (config.default, config.routes) == ("small", ())
    assert config.endpoints["auto"].fallback == (COMPLEX,)


def test_what_the_block_leaves_out_is_autobots_default() -> None:
    assert loaded("tiered_routing: {}").config == loaded().config


def test_declared_models_and_endpoints_are_used_as_they_are() -> None:
    text = """
backends: {small: {mlx: {model: demo}}, large: {mlx: {model: org/large}}}
endpoints: {hard: {fallback: [large, small]}}
tiered_routing: {models: {simple: small, complex: hard}}
"""
    config = loaded(text)
    assert list(config.config.backends) == ["small", "large"]
    assert order(config, "Explain async vs threads") == ["large", "small"]


def test_logging_is_accepted_and_said_to_have_no_setting() -> None:
    (said,) = loaded().warnings
    assert (said.line, "log_scores, log_routing_decisions" in said.message) == (10, True)
    assert loaded(DOCUMENTED[: DOCUMENTED.index("  logging:")]).warnings == []


def test_hermes_and_autobot_in_one_file_share_the_models() -> None:
    text = DOCUMENTED + "model: {default: auto2, routes: [{match: {task: quick}, model: claude-haiku-4-5}]}\n"
    config = loaded(text.replace("auto2", "gemma2:2b")).config
    assert list(config.backends) == [SIMPLE, "claude-haiku-4-5", COMPLEX]
    assert config.default == SIMPLE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tiered_routing: {models: {simple: nobody}}", "1:35: tiered_routing.models.simple: nothing here"),
        ("tiered_routing: {complexity_treshold: 3}", "did you mean 'complexity_threshold'?"),
        ("tiered_routing: {complexity_threshold: high}", "tiered_routing.complexity_threshold: expected a number"),
        ("tiered_routing: {enabled: yes}", "tiered_routing.enabled: expected true or false"),
        ("tiered_routing: 3", "tiered_routing: expected a block"),
        ("backends: {auto: {mlx: {model: demo}}}\ntiered_routing: {}", "2:17: tiered_routing makes the endpoint"),
    ],
)  # fmt: skip
def test_every_mistake_in_the_block_is_told_with_its_place(text: str, said: str) -> None:
    assert said in "\n".join(complaints(text))
