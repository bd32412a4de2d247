"""Contexts and routes in the client, without a daemon."""

from __future__ import annotations

import copy
import logging
from typing import Any

import msgspec
import pytest

from routerd_client import apply_route, contexts
from routerd_client._core import build_chat
from routerd_client.chat import ChatRequest

CONFIG: dict[str, Any] = {
    "default": "my-fast-model",
    "routes": [
        {"match": {"source_kind": "owner"}, "model": "my-strong-model", "api_key": "sk-owner"},
        {"match": {"platform": "hub"}, "model": "my-fast-model"},
        {
            "match": {"source_kind": "cron"},
            "model": "",
            "base_url": None,
            "temperature": 0,
            "tools": [],
            "think": False,
        },
        {"match": {"platform": "discord", "source_kind": "stranger"}, "model": "some-other", "base_url": "http://o"},
        {"match": {"platform": ["irc", "matrix"]}, "model": "listed"},
        {"match": {"platform": "x*"}, "model": "literal"},
        {"match": {}, "model": "never"},
        {"model": "never"},
        {"match": {"level": 3}, "model": "third"},
    ],
    "platforms": {"telegram": "tele", "hub": "never", "signal": {"model": "sig", "base_url": ""}, "sms": ""},
    "by_source": {"stranger": {"model": "guest"}, "owner": {"model": "never"}},
}
KWARGS = {"base_url": "http://base", "api_key": "sk-base"}


@pytest.mark.parametrize(
    ("context", "model", "changed"),
    [
        ({}, "base", {}),
        (None, "base", {}),
        ({"platform": "nowhere"}, "base", {}),
        (contexts.cli(), "my-strong-model", {"api_key": "sk-owner"}),
        (contexts.gateway("telegram", "owner"), "my-strong-model", {"api_key": "sk-owner"}),
        (contexts.gateway("hub"), "my-fast-model", {}),
        (contexts.cron(), "base", {"temperature": 0, "think": False}),
        (contexts.gateway("discord"), "some-other", {"base_url": "http://o"}),
        ({"platform": "discord"}, "base", {}),  # a missing key does not match
        (contexts.gateway("telegram"), "tele", {}),
        (contexts.gateway("signal"), "sig", {}),
        (contexts.gateway("sms"), "guest", {}),
        ({"platform": "matrix"}, "listed", {}),
        ({"platform": "xmpp"}, "base", {}),
        ({"platform": "x*"}, "literal", {}),
        ({"level": 3}, "third", {}),
        ({"level": "3"}, "third", {}),
        ({"level": None}, "base", {}),
    ],
)
def test_the_first_route_that_matches_is_applied(context: Any, model: str, changed: dict[str, Any]) -> None:
    given = copy.deepcopy((KWARGS, CONFIG, context))
    assert apply_route("base", KWARGS, CONFIG, context) == (model, {**KWARGS, **changed})
    assert (KWARGS, CONFIG, context) == given


@pytest.mark.parametrize("config", [None, {}, {"routes": None}, {"routes": []}, {"platforms": None}])
def test_without_routes_nothing_changes(config: Any) -> None:
    model, kwargs = apply_route("base", KWARGS, config, contexts.cli())
    assert (model, kwargs) == ("base", KWARGS)
    kwargs["x"] = 1
    assert "x" not in KWARGS


@pytest.mark.parametrize(
    "config", [{"routes": 5}, {"routes": ["x"]}, {"platforms": ["x"]}, {"routes": [{"match": {"platform": {}}}]}]
)
def test_a_block_that_is_wrong_never_stops_a_turn(config: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert apply_route("base", KWARGS, config, contexts.cli()) == ("base", KWARGS)
    assert "the base model answers" in caplog.text


VALUES = {"a": "x", "none": None, "yes": True, "no": False, "n": 3, "f": 1.5}
TEXTS = {"a": "x", "yes": "true", "no": "false", "n": "3", "f": "1.5"}


def test_numbers_and_booleans_are_their_json_text_and_none_is_absent() -> None:
    assert contexts.texts(VALUES) == TEXTS
    assert build_chat("x", {"context": VALUES}, stream=False).context == TEXTS
    body = {"messages": [], "context": VALUES}
    assert msgspec.json.decode(msgspec.json.encode(body), type=ChatRequest).context == TEXTS
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(body), type=ChatRequest).context == TEXTS
    assert contexts.texts({"x": float("nan")}) == {}


def test_a_value_that_is_no_scalar_is_refused_with_its_key() -> None:
    with pytest.raises(TypeError, match="'who'"):
        build_chat("x", {"context": {"who": {"is": "it"}}}, stream=False)
    with pytest.raises(msgspec.ValidationError, match=r"context\[\.\.\.\]"):
        msgspec.json.decode(b'{"messages": [], "context": {"who": []}}', type=ChatRequest)
