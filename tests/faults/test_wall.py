"""Every row of the fault wall, and that the wall can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from routerd.health.failure import RULES
from routerd.selftest import page, wall
from routerd.selftest.fake_api import FOREVER
from routerd.selftest.fault import SECOND, Expect, Fault, api, everywhere
from routerd.selftest.front import FRONTS
from routerd_client.protocol import ErrorCode
from routerd_client.records import FailureKind
from tests.support.daemon import ctl

DOCUMENT = (Path(__file__).parents[2] / "docs/faults.md").read_text()
ROWS = [(fault.name, front, mode) for fault in wall.FAULTS for front in FRONTS for mode in FRONTS[front].rows(fault)]
LEFT = (wall.NOTHING_LEFT, "", "")


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str, str], wall.Row]:
    """What the whole wall came to, played once."""
    return {(row.fault, row.front, row.mode): row for row in wall.play().rows}


@pytest.mark.parametrize("place", [*ROWS, LEFT], ids=lambda place: "-".join(place).replace(" ", "_"))
def test_a_row(rows: dict[tuple[str, str, str], wall.Row], place: tuple[str, str, str]) -> None:
    assert rows[place].ok, rows[place].saw


def test_every_failure_that_a_backend_can_have_is_met() -> None:
    met = " ".join(expect.tries for fault in wall.FAULTS for expect in fault.expect.values())
    elsewhere = {
        FailureKind.TIMEOUT_CONNECT: "tests/http",
        FailureKind.SPAWN_FAILED: "tests/ipc/test_deaths.py",
        FailureKind.QUEUE_TIMEOUT: "tests/ipc/test_queue.py",
        FailureKind.BUDGET_DENIED: "not decided yet",
        FailureKind.UNKNOWN: "what a newer daemon says",
        FailureKind.DEADLINE: "a request's, not an attempt's",
    }

    assert {kind for kind in FailureKind if f": {kind.value}" not in met} == set(elsewhere)


BROKEN = Fault(
    name="broken",
    does="it fails",
    backends={"first": api(status=500), "second": SECOND},
    expect=everywhere(tries="first: server_error, first: server_error, second"),
)


def failures(fault: Fault) -> list[str]:
    """What the wall finds wrong with ``fault``, nothing being left behind."""
    report = wall.play([fault])
    assert report.failed == sum(not row.ok for row in report.rows)
    assert report.rows[-1].ok, report.rows[-1].saw
    return [row.saw for row in report.rows if not row.ok]


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        (Expect(tries="second"), "not 'second'"),
        (Expect(tries="first: server_error, first: server_error, second", text="no"), "the caller holds 'The second"),
        (Expect(tries="first: server_error, first: server_error, second", rests=30.0), "not 30 s"),
        (Expect(tries="first: server_error, first: server_error, second", asked=1), "first was asked 2 times"),
        (Expect(tries="", code=ErrorCode.UNAVAILABLE), "an answer, not error"),
        (Expect(tries="first: server_error, first: server_error, second", flaw=FailureKind.EMPTY), "flaw None"),
    ],
    ids=["tries", "text", "rests", "asked", "code", "flaw"],
)
def test_a_row_fails_where_something_else_is_seen(expect: Expect, words: str) -> None:
    saw = failures(replace(BROKEN, expect={"whole": expect}))

    assert len(saw) == len(FRONTS)
    assert all(words in each for each in saw)


def test_a_row_fails_where_nothing_ends() -> None:
    silent = {"first": api(before_headers=FOREVER)}

    saw = failures(replace(BROKEN, backends=silent, expect={"live": Expect(tries="first")}, within=1.0))

    assert saw == ["nothing within 1 s"] * len(FRONTS)


def test_the_document_has_these_rows_and_rules() -> None:
    cells = [line.strip("| ").split(" | ") for line in between("rows").splitlines()[2:-1]]
    documented = {(fault, front, mode) for fault, _, front, modes, *_ in cells for mode in modes.split(", ")}

    assert documented == set(ROWS)
    assert {fault: does for fault, does, *_ in cells} == {fault.name: fault.does for fault in wall.FAULTS}
    assert "WRONG" not in DOCUMENT
    assert between("rules") == page.rules()
    assert page.rules().count("\n") == len(RULES) + 1


def between(name: str) -> str:
    """What stands in the document between two comments."""
    return DOCUMENT.split(f"<!-- {name} -->\n")[1].split(f"\n<!-- end of {name} -->")[0]


def test_the_command_prints_rows() -> None:
    done = ctl("selftest", "--only", "bad request", "--json")
    report = json.loads(done.stdout)

    assert (done.returncode, done.stderr, report["failed"]) == (0, "", 0)
    assert [(row["fault"], row["front"], row["mode"], row["ok"]) for row in report["rows"]] == [
        *(("bad request", front, mode, True) for front in FRONTS for mode in ("live", "safe", "whole")),
        (wall.NOTHING_LEFT, "", "", True),
    ]
    assert report["rows"][0].keys() == {"fault", "front", "mode", "ok", "saw", "seconds"}


def test_the_command_prints_a_table() -> None:
    done = ctl("selftest", "--only", "BAD request")

    assert done.returncode == 0
    assert "first: bad_request; error bad_request" in done.stdout
    assert done.stdout.endswith("7 rows, 0 failed\n")


def test_the_command_knows_its_faults() -> None:
    done = ctl("selftest", "--only", "sunshine")

    assert (done.returncode, done.stdout) == (2, "")
    assert "no fault is named 'sunshine'" in done.stderr
