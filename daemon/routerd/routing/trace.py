"""A decision told to a person, step by step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from routerd_client.records import Decision

from ..config.graph import TAG
from .strategy import Fixed
from .table import CompiledRoute, Table
from .view import Asking


def trace_of(
    table: Table,
    asking: Asking,
    decision: Decision,
    matched: CompiledRoute | None,
    broken: Sequence[tuple[str, str]],
) -> list[str]:
    """Why ``decision`` is what it is, one step a line."""
    lines = [f"the {decision.named} names {decision.endpoint}: routes are not asked"] if decision.named else []
    if not decision.named:
        lines += _routes(table, asking, matched, dict(broken))
        if matched is None:
            lines.append(f"no route matches: default -> {table.default}")
    if decision.overrides:
        origin = matched.name if matched else ""
        lines.append(f"{origin} sets " + ", ".join(f"{name}={value}" for name, value in decision.overrides.items()))
    for name, score in asking.scores.items():
        factors = ", ".join(f"{factor} {value}" for factor, value in score.factors.items())
        what = f"{score.value:.2f} of 10" if score.fired else "no sign either way"
        lines.append(f"complexity by {name}: {what}" + (f" ({factors})" if factors else ""))
    lines.append(_chooses(table, decision.endpoint))
    for candidate in decision.candidates:
        wait = f", expected wait {candidate.wait_s:.1f} s" if candidate.wait_s else ""
        lines.append(f"candidate {candidate.backend}: {', '.join(candidate.reasons)}{wait}")
    lines += [f"skipped {s.backend}: {s.reason}" for s in decision.skipped]
    return lines


def _chooses(table: Table, name: str) -> str:
    """What ``name`` is, and its strategy as it is written: ``by_complexity``."""
    if name in table.backends:
        return f"backend {name}: nobody else is asked"
    if name.startswith(TAG):
        return f"{name}: all that have the tag, in the order of the file"
    strategy = table.endpoints[name].strategy
    kind = "Fallback" if isinstance(strategy, Fixed) else type(strategy).__name__
    return f"endpoint {name}: {re.sub(r'(?<=[a-z])(?=[A-Z])', '_', kind).lower()}"


def _routes(table: Table, asking: Asking, matched: CompiledRoute | None, broken: dict[str, str]) -> Iterator[str]:
    for route in table.routes:
        if route.name in broken:
            yield f"{route.name}: passed over, its match broke: {broken[route.name]}"
        elif route is matched:
            yield f"{route.name}: match ({route.predicate.explain(asking.features)}) -> {route.use}"
            return
        else:
            yield f"{route.name}: no match, {route.predicate.explain(asking.features)}"
