"""The tables of docs/faults.md: ``python -m routerd.selftest.page docs/faults.md`` plays the wall and writes them."""

from __future__ import annotations

import re
import sys
from itertools import groupby
from pathlib import Path

from ..health.failure import RULES
from . import wall

BLOCK = r"(<!-- {0} -->\n).*?(<!-- end of {0} -->)"


def rules() -> str:
    """The table of what follows from each kind of failure."""
    rests = {"": "", "cooldown": "`health.cooldown`", "config": "until the configuration changes"}
    lines = ["| failure | once more | the next | counts | rests | error code |", "|---|---|---|---|---|---|"]
    for kind, rule in RULES.items():
        counts = "not its doing" if rule.callers else _yes(rule.counts)
        cells = (f"`{kind.value}`", _yes(rule.retry_here), _yes(rule.next), counts, rests[rule.rests])
        lines.append(f"| {' | '.join(cells)} | `{rule.code.value}` |")
    return "\n".join(lines)


def rows(report: wall.Report) -> str:
    """The table of what was seen, one row for all modes of a fault that saw the same."""
    does = {fault.name: fault.does for fault in wall.FAULTS}
    lines = ["| fault | what goes wrong | front | asked | what the caller gets | took |", "|---|---|---|---|---|---|"]
    for (name, front), found in groupby(report.rows, key=lambda row: (row.fault, row.front)):
        seen: dict[str, list[wall.Row]] = {}
        for row in found:
            seen.setdefault(row.saw if row.ok else f"WRONG: {row.saw}", []).append(row)
        for saw, same in seen.items():
            modes, took = ", ".join(row.mode for row in same), max(row.seconds for row in same)
            lines.append(f"| {name} | {does.get(name, '')} | {front} | {modes} | {saw} | {took:.1f} s |")
    return "\n".join(lines)


def filled(page: str, name: str, table: str) -> str:
    """``page`` with ``table`` between the two comments that bear ``name``."""
    return re.sub(BLOCK.format(name), lambda found: f"{found[1]}{table}\n{found[2]}", page, flags=re.DOTALL)


def _yes(value: bool) -> str:
    return "yes" if value else ""


def main() -> None:
    file = Path(sys.argv[1])
    report = wall.play()
    file.write_text(filled(filled(file.read_text(), "rules", rules()), "rows", rows(report)))
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
