"""What is written down of a chat, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.daemon import standalone_daemon
from tests.support.wait import until_blocking

SECRET = "the launch code is heptagon"


@pytest.mark.parametrize("prompts", [False, True])
def test_prompts_are_logged_only_where_the_configuration_says_so(
    prompts: bool, tmp_path: Path, routes_yaml: str
) -> None:
    text = f"{routes_yaml}log: {{prompts: {str(prompts).lower()}, level: debug}}\n"
    with standalone_daemon(tmp_path, text) as daemon, daemon.client() as client:
        done = client.chat(SECRET)
        log = Path(client.status().log_file)
        until_blocking(lambda: done.request_id in log.read_text(), "the chat is logged")

        lines = [json.loads(line) for line in log.read_text().splitlines()]
        (line,) = [line for line in lines if line.get("request") == done.request_id]

    assert (line["event"], line["backend"], line["level"]) == ("chat.ok", "small", "info")
    assert (SECRET in log.read_text()) is prompts
    assert (SECRET in daemon.stderr) is prompts
