"""``routerctl models pull``, ``ls`` and ``rm``, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from routerd.models.folder import check_folder
from routerd.models.lock import locked

from .pulling import WEIGHTS, Machine

DONE, FAILED, WRONG = 0, 1, 2


def listed(machine: Machine) -> list[dict[str, Any]]:
    done = machine.ctl("models", "ls", "--json")
    assert (done.returncode, done.stderr) == (DONE, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)["models"]
    return found


def test_pull_prints_the_folder_of_the_model(machine: Machine) -> None:
    done = machine.ctl("models", "pull", "org/tiny")

    assert done.returncode == DONE, done.stderr
    assert done.stdout == f"{machine.whole}\n"
    assert done.stderr == "download ...\n"
    check_folder(Path(done.stdout.strip()))


def test_pull_of_what_is_there_asks_nobody(machine: Machine) -> None:
    machine.ctl("models", "pull", "org/tiny")
    machine.settings = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}

    assert machine.ctl("models", "pull", "org/tiny").returncode == DONE


def test_pull_of_a_revision_pins_it(machine: Machine) -> None:
    done = machine.ctl("models", "pull", "org/tiny@v1")

    assert done.stdout == f"{machine.repository.whole('v1')}\n"


@pytest.mark.parametrize(
    ("reference", "code", "says"),
    [
        ("org/none", FAILED, "check the name"),
        ("org/tiny@v9", FAILED, "no revision v9"),
        ("nonsense", WRONG, "no model"),
    ],
)
def test_a_pull_that_fails_says_why_in_one_line(machine: Machine, reference: str, code: int, says: str) -> None:
    done = machine.ctl("models", "pull", reference)

    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr.splitlines()[-1]
    assert done.stderr.count("routerctl: ") == 1


def test_ls_says_what_is_there_and_whether_it_is_whole(machine: Machine) -> None:
    assert listed(machine) == []
    with machine.half_fetched():
        pass
    (half,) = listed(machine)
    machine.ctl("models", "pull", "org/tiny")
    (whole,) = listed(machine)

    assert (half["reference"], half["whole"]) == ("org/tiny", False)
    assert (whole["reference"], whole["whole"], whole["path"]) == ("org/tiny", True, str(machine.whole))
    assert whole["size_bytes"] >= sum(path.stat().st_size for path in Path(whole["path"]).iterdir())
    assert whole["last_used"] > 1_700_000_000
    text = machine.ctl("models", "ls").stdout
    assert "org/tiny" in text
    assert "whole" in text


@pytest.mark.parametrize("half", [True, False])
def test_rm_deletes_all_of_a_model(machine: Machine, half: bool) -> None:
    if half:
        with machine.half_fetched():
            pass
    else:
        machine.ctl("models", "pull", "org/tiny")
    done = machine.ctl("models", "rm", "org/tiny", "--yes")

    assert done.returncode == DONE, done.stderr
    assert "freed" in done.stdout
    assert not machine.repository.folder.exists()
    assert listed(machine) == []


def test_rm_does_not_delete_unasked(machine: Machine) -> None:
    machine.ctl("models", "pull", "org/tiny")
    done = machine.ctl("models", "rm", "org/tiny")

    assert done.returncode == WRONG
    assert "--yes" in done.stderr
    assert machine.whole


def test_rm_refuses_what_lies_elsewhere(machine: Machine, tiny: Path) -> None:
    done = machine.ctl("models", "rm", str(tiny), "--yes")

    assert done.returncode == FAILED
    assert "neither" in done.stderr
    assert (tiny / WEIGHTS).exists()


def test_rm_of_what_is_not_there_says_so(machine: Machine) -> None:
    assert "not on this machine" in machine.ctl("models", "rm", "org/tiny", "--yes").stderr


async def test_rm_refuses_while_it_is_being_downloaded(machine: Machine) -> None:
    machine.ctl("models", "pull", "org/tiny")
    async with locked(machine.repository.lock, timeout=1):
        done = await anyio.to_thread.run_sync(machine.ctl, "models", "rm", "org/tiny", "--yes")

    assert done.returncode == FAILED
    assert "just being prepared" in done.stderr
    assert machine.whole
