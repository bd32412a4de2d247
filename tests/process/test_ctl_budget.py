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

        unknown = daemon.ctl("budget", "record", "anthropic", "something", "1", "1")
        assert unknown.returncode == 1
        assert "--usd" in unknown.stderr
        nobody = daemon.ctl("budget", "record", "anthropci", "claude-haiku-4-5", "1", "1", "--usd", "1")
        assert nobody.returncode == 1
        assert "known are claude, plan, " in nobody.stderr

        daemon.ctl("budget", "set-spent", "--today", "1", "--month", "30")
        spent = json.loads(daemon.ctl("budget", "--json").stdout)
        assert "id" not in spent
        assert not spent["allowed"]
        assert spent["reason"].startswith("budget_daily: $1.00 of $1.00 spent today")

        wrong = daemon.ctl("budget", "set-spent", "--today", "2", "--month", "1")
        assert wrong.returncode == 1
        assert "a month's spending is at least that of its days" in wrong.stderr

        daemon.process.kill()
        daemon.wait()
        daemon.restart()
        assert json.loads(daemon.ctl("budget", "--json").stdout)["lines"] == spent["lines"]


def test_wherever_locked_books_are_told_of_it_is_said_what_opens_them(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ledger.db").write_bytes(b"this is no database" * 1000)
    with standalone_daemon(tmp_path, CONFIG) as daemon:
        asked = daemon.ctl("ask", "Hello")
        assert asked.returncode == 1
        (request,) = json.loads(daemon.ctl("decisions", "--json").stdout)["chats"]
        told = [daemon.ctl(*words) for words in (["budget"], ["status"], ["explain", "Hello"])]
        told.append(daemon.ctl("show", request["request_id"]))
        for text in (asked.stderr, *(done.stdout for done in told)):
            assert "file is not a database; say what was spent: routerctl budget set-spent" in text
            assert "cannot be read: file is not a database" in text
            assert "file is not a database; what" not in text

        daemon.ctl("budget", "set-spent", "--today", "0", "--month", "0")
        assert "set-spent" not in daemon.ctl("status").stdout
