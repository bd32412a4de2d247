"""``routerctl doctor`` about a login agent under a real systemd."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.systemd import UserSystemd, user_systemd, why_no_systemd

pytestmark = pytest.mark.skipif(bool(why_no_systemd()), reason=why_no_systemd())


def findings(systemd: UserSystemd) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """What the doctor finds, by check and level."""
    done = systemd.ctl("doctor", "--json")
    assert done.stderr == ""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault((finding["check"], finding["level"]), []).append(finding)
    return found


def test_an_agent_whose_program_vanished_is_told_and_one_that_was_stopped(tmp_path: Path) -> None:
    with user_systemd(tmp_path) as systemd:
        assert systemd.ctl("install").returncode == 0
        assert [f["says"] for f in findings(systemd)["agent", "ok"]] == ["installed (systemd)"]

        unit = systemd.home / ".config/systemd/user/routerd.service"
        unit.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/gone/Cellar/routerd/1/bin/routerd", unit.read_text()))
        (gone,) = findings(systemd)["agent", "fail"]
        assert (gone["says"], "routerctl install" in gone["fix"]) == (
            "it starts /gone/Cellar/routerd/1/bin/routerd, but it is gone",
            True,
        )

        assert systemd.ctl("stop").returncode == 0
        (stopped,) = findings(systemd)["daemon", "fail"]
        assert stopped["fix"].startswith("routerctl start")
