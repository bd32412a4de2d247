"""``routerctl budget`` as it is typed, against the real daemon."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.daemon import standalone_daemon

CONFIG = """\
version: 1
backends:
  claude:
    anthropic: {model: claude-haiku-4-5, api_key: {env: NO_SUCH_KEY}}
  plan:
    openai: {model: gpt-5, api_key: {env: NO_SUCH_KEY}}
    billing: prepaid
    quota: [{per: week, tokens: 1000}]
default: claude
budgets: {daily_usd: 1, backends: {claude: {daily_usd: 0.5}}}
"""


def test_what_was_spent_is_shown_booked_and_corrected(tmp_path: Path) -> None:
    with standalone_daemon(tmp_path, CONFIG) as daemon:
        shown = daemon.ctl("budget")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "metered backends may be used" in shown.stdout
        assert "0 of 1000 tokens" in shown.stdout

        booked = daemon.ctl("budget", "record", "claude", "claude-haiku-4-5", "100000", "20000", "--json")
        lines = json.loads(booked.stdout)["lines"]
        assert next(line for line in lines if line["scope"] == "backend:claude")["left_microusd"] == 300_000

        unknown = daemon.ctl("budget", "record", "somebody", "something", "1", "1")
        assert unknown.returncode == 1
        assert "--usd" in unknown.stderr

        daemon.ctl("budget", "set-spent", "--today", "1", "--month", "30")
        spent = json.loads(daemon.ctl("budget", "--json").stdout)
        assert not spent["allowed"]
        assert spent["reason"].startswith("budget_daily: $1.00 of $1.00 spent today")

        wrong = daemon.ctl("budget", "set-spent", "--today", "2", "--month", "1")
        assert wrong.returncode == 1
        assert "a month's spending is at least that of its days" in wrong.stderr

        daemon.process.kill()
        daemon.wait()
        daemon.restart()
        assert json.loads(daemon.ctl("budget", "--json").stdout)["lines"] == spent["lines"]
