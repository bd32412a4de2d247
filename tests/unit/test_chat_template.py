"""Whether a model calls tools, read from its folder before anybody has loaded it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from routerd.config.schema import MlxSpec
from routerd.models.chat_template import shows_tools
from routerd.supervisor.learned import Learned
from routerd.supervisor.outlook import outlook_of
from tests.support.tiny_model import make_tiny_model

PLAIN = "{% for message in messages %}{{ message.content }}{% endfor %}"
SHOWS = "{% if tools is defined %}{{ tools | tojson }}{% endif %}" + PLAIN


@pytest.mark.parametrize(
    ("files", "shows"),
    [
        ({}, False),
        ({"tokenizer_config.json": {"chat_template": PLAIN}}, False),
        ({"tokenizer_config.json": {"chat_template": PLAIN + "{# toolset #}"}}, False),
        ({"tokenizer_config.json": {"chat_template": SHOWS}}, True),
        ({"tokenizer_config.json": {"chat_template": None}}, False),
        (
            {
                "tokenizer_config.json": {
                    "chat_template": [
                        {"name": "default", "template": PLAIN},
                        {"name": "tool_use", "template": SHOWS},
                    ]
                }
            },
            True,
        ),
        ({"tokenizer_config.json": {"tool_parser_type": "mistral", "chat_template": PLAIN}}, True),
        ({"chat_template.jinja": SHOWS}, True),
        ({"chat_template.jinja": PLAIN, "tokenizer_config.json": {}}, False),
        ({"chat_template.json": {"chat_template": SHOWS}}, True),
        ({"additional_chat_templates/tool_use.jinja": SHOWS, "chat_template.jinja": PLAIN}, True),
        ({"config.json": {"model_type": "muse_spark"}}, True),
    ],
)
def test_a_template_that_looks_at_tools_shows_them(tmp_path: Path, files: dict[str, Any], shows: bool) -> None:
    for name, content in ({"config.json": {}} | files).items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    assert shows_tools(tmp_path) is shows


@pytest.mark.parametrize("tools", [True, False])
def test_it_is_part_of_what_to_expect_of_a_model(tmp_path: Path, tools: bool) -> None:
    found = outlook_of(MlxSpec(model="tiny"), make_tiny_model(tmp_path, tools=tools), Learned())
    assert found.tools is tools
    assert found.needs > 0
