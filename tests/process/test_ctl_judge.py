"""``routerctl judge`` as it is typed: rows in, verdicts out, no daemon anywhere."""

from __future__ import annotations

import json

from tests.support.daemon import ctl


def test_each_row_gets_its_verdict_in_order() -> None:
    rows = [
        {"id": "a", "response": "I'm not able to assist with that request"},
        {"id": 2, "response": "Canberra.", "more": "is ignored"},
        {"id": "c", "response": "Canberra.", "finish_reason": "content_filter"},
        {"id": "d", "response": None},
        {"id": "e", "response": "I can't browse the internet."},
        {"id": "f", "response": "I cannot help you, traveler.", "prompt": "Continue the story."},
    ]

    done = ctl("judge", "--stdin", stdin="\n".join(map(json.dumps, rows)) + "\n\n")

    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(v["id"], v["refusal"], v["kind"]) for v in verdicts] == [
        ("a", True, "policy"),
        (2, False, ""),
        ("c", True, "silent"),
        ("d", True, "silent"),
        ("e", False, "incapable"),
        ("f", False, ""),
    ]
    assert all(0 <= v["confidence"] <= 1 for v in verdicts)


def test_a_bad_row_is_named_by_its_line_after_the_good_ones() -> None:
    done = ctl("judge", "--stdin", stdin='{"id": 1, "response": "x"}\n\n{"id": 2}\n')

    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.startswith("routerctl: line 3: Object missing required field `response`")
    assert done.stderr.count("\n") == 1


def test_it_asks_for_rows_on_standard_input() -> None:
    done = ctl("judge")

    assert done.returncode == 2
    assert "--stdin" in done.stderr
