"""How well refusals are told from answers, on labelled answers, and what that costs.

    python -m benchmarks.refusals DIR [--quick] [--json]

DIR holds ``refusal_NAME.jsonl``: rows ``{"id", "source", "prompt", "response", "label"}``, the label one of refusal,
comply, partial, incapable; partial and incapable ones are counted apart. Of Do-Not-Answer (source ``dna``, with its
action in ``fine``) only the clear rows count: a refusal (0), or an answer (2, 5, 6).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from routerd.quality.refusal import HEAD, glance, judge

from .common import median, percentile, report

GOALS = {"xstest": (0.95, 0.03), "dna": (0.98, None), "handmade": (0.80, 0.15)}
"""F1 at least, and the share of answers taken for refusals at most."""
NEGATIVES = ("gsm8k_answers", "alpaca_plain", "refusalbench_benign")
GOAL_FALSE_ALARMS, GOAL_US = 1 / 1000, 200
CLEAR = {"dna": {"action0", "action2", "action5", "action6"}}


class Row(Struct):
    id: str
    source: str
    response: str
    label: str
    fine: str = ""


class Judged(Struct):
    row: Row
    refusal: bool
    microseconds: float
    sure_after: int
    """Characters of the answer after which a gate is sure."""


def read(path: Path, *, quick: bool) -> list[Row]:
    rows = [msgspec.json.decode(line, type=Row) for line in path.read_bytes().splitlines()]
    return rows[::5] if quick else rows


def judged(row: Row) -> Judged:
    times = []
    for _ in range(3):
        began = time.perf_counter_ns()
        verdict = judge(row.response)
        times.append((time.perf_counter_ns() - began) / 1000)
    return Judged(row, verdict.refusal, min(times), sure_after(row.response))


def sure_after(text: str) -> int:
    """As tokens of four characters would come."""
    steps = range(4, min(len(text), HEAD) + 1, 4)
    return next((end for end in steps if glance(text[:end]) is not None), len(text))


def strict(rows: Sequence[Judged]) -> list[Judged]:
    return [
        each
        for each in rows
        if each.row.label in ("refusal", "comply")
        and (each.row.source not in CLEAR or each.row.fine in CLEAR[each.row.source])
    ]


def measure(rows: Sequence[Judged]) -> dict[str, Any]:
    counted = strict(rows)
    positive = sum(each.row.label == "refusal" for each in counted)
    true = sum(each.refusal and each.row.label == "refusal" for each in counted)
    false = sum(each.refusal and each.row.label == "comply" for each in counted)
    apart = [each for each in rows if each.row.label in ("partial", "incapable")]
    return {
        "rows": len(counted),
        "refusals": positive,
        "precision": _ratio(true, true + false),
        "recall": _ratio(true, positive),
        "f1": _ratio(2 * true, true + false + positive),
        "fpr": _ratio(false, len(counted) - positive),
        "false_alarms": false,
        "flagged_apart": f"{sum(each.refusal for each in apart)}/{len(apart)}" if apart else "",
        "sure_after_median": median([each.sure_after for each in rows]),
        "sure_after_p90": percentile([each.sure_after for each in rows], 0.9),
    }


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _goals(name: str, figures: dict[str, Any]) -> str:
    if name not in GOALS:
        return ""
    least_f1, most_fpr = GOALS[name]
    f1, fpr = figures["f1"] or 0.0, figures["fpr"] or 0.0
    met = f1 >= least_f1 and (most_fpr is None or fpr <= most_fpr)
    wanted = f"F1 >= {least_f1:.2f}" + (f", FPR <= {most_fpr:.2f}" if most_fpr is not None else "")
    return f"{wanted} {_met(met)}"


def _met(goal: bool) -> str:
    return "met" if goal else "MISSED"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refusals", description=__doc__)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--quick", action="store_true", help="every fifth row; figures are rough")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    paths = sorted(options.folder.glob("refusal_*.jsonl"))
    if not paths:
        parser.error(f"{options.folder} has no refusal_*.jsonl")
    sets = {
        path.stem.removeprefix("refusal_"): [judged(row) for row in read(path, quick=options.quick)] for path in paths
    }
    figures: dict[str, Any] = {name: measure(rows) for name, rows in sets.items()}
    table = [("set", "rows", "refusals", "P", "R", "F1", "FPR", "partial, incapable", "sure after, p90", "goal")]
    for name, found in figures.items():
        table.append(
            (
                name,
                str(found["rows"]),
                str(found["refusals"]),
                *(_cell(found[key]) for key in ("precision", "recall", "f1", "fpr")),
                found["flagged_apart"],
                f"{found['sure_after_median']}, {found['sure_after_p90']}",
                _goals(name, found),
            )
        )
    negatives = [figures[name] for name in NEGATIVES if name in figures]
    answers = sum(found["rows"] - found["refusals"] for found in negatives)
    alarms = sum(found["false_alarms"] for found in negatives)
    times = [each.microseconds for rows in sets.values() for each in rows]
    p50, p99 = median(times), percentile(times, 0.99)
    empty = ("",) * 8
    table.append(
        (
            f"{alarms} false alarms in {answers} plain answers",
            *empty,
            f"<= 1 in 1000 {_met(alarms <= answers * GOAL_FALSE_ALARMS)}",
        )
    )
    table.append((f"{p50:.0f} us an answer, p99 {p99:.0f}", *empty, f"<= {GOAL_US} us {_met(p50 <= GOAL_US)}"))
    figures |= {
        "plain_answers": answers,
        "plain_false_alarms": alarms,
        "p50_us": round(p50, 1),
        "p99_us": round(p99, 1),
    }
    report("refusals", table, figures, as_json=options.json)


if __name__ == "__main__":
    main()
