"""The variables by which chat templates are told to think less, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from routerd.worker.thinking import thinking_arguments
from routerd_client.chat import ChatRequest, Message

QWEN = "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
HARMONY = "<|start|>system<|message|>Reasoning: {{ reasoning_effort }}<|channel|>"
LEVELS = "{% if reasoning_effort == 'none' %}{% else %}[THINK]{% endif %}"
CODE = ""
OFF = {"enable_thinking": False, "thinking": False}


def arguments(template: str, effort: str | None = None, **args: Any) -> dict[str, Any]:
    chat = ChatRequest(messages=[Message("user", "hi")], reasoning_effort=effort, template_args=args)
    return thinking_arguments(chat, template)


@pytest.mark.parametrize(
    ("template", "effort", "expected"),
    [
        (QWEN, None, {}),
        (QWEN, "high", {"reasoning_effort": "high"}),
        (QWEN, "none", OFF),
        (CODE, "none", {"enable_thinking": False}),
        (LEVELS, "none", OFF | {"reasoning_effort": "none"}),
        (HARMONY, "medium", {"reasoning_effort": "medium"}),
        (HARMONY, "none", OFF | {"reasoning_effort": "low"}),
        (HARMONY, "minimal", {"reasoning_effort": "low"}),
        (HARMONY, "xhigh", {"reasoning_effort": "high"}),
    ],
)
def test_an_effort_is_told_in_the_templates_terms(template: str, effort: str | None, expected: dict[str, Any]) -> None:
    assert arguments(template, effort) == expected


@pytest.mark.parametrize("switch", ["enable_thinking", "thinking"])
def test_either_switch_switches_off(switch: str) -> None:
    assert arguments(QWEN, **{switch: False}) == OFF
    assert arguments(HARMONY, **{switch: False}) == OFF | {"reasoning_effort": "low"}
    assert arguments(QWEN, **{switch: True}) == {}
