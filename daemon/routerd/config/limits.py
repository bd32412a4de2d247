"""The ranges of the file's numbers."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from .http import HTTP_KINDS
from .report import Report
from .units import parse_duration
from .yamltree import Node, select


class _Limit(Struct, frozen=True):
    """``least <= value <= most``; ``least`` itself is left out where ``above``."""

    least: float
    most: float | None = None
    above: bool = False

    def broken_by(self, value: float) -> bool:
        low = value <= self.least if self.above else value < self.least
        return low or (self.most is not None and value > self.most)

    def __str__(self) -> str:
        if self.most is not None:
            return f"between {self.least:g} and {self.most:g}"
        return f"{'more than' if self.above else 'at least'} {self.least:g}"


_POSITIVE = _Limit(0, above=True)
_SHARE = _Limit(0, 1)
_COUNT = _Limit(1)
_HEALTH = {
    "allowed_fails": _COUNT,
    "failure_rate": _SHARE,
    "min_requests": _COUNT,
    "window": _POSITIVE,
    "cooldown": _POSITIVE,
    "cooldown_max": _POSITIVE,
}
_MLX = {
    "context": _COUNT,
    "max_tokens": _COUNT,
    "concurrency": _COUNT,
    "load_timeout": _POSITIVE,
    "stall_timeout": _POSITIVE,
}
_OVERRIDES = {
    "max_tokens": _COUNT,
    "temperature": _Limit(0, 100),
    "top_p": _SHARE,
    "top_k": _Limit(0),
    "min_p": _SHARE,
    "repetition_penalty": _POSITIVE,
    "deadline": _POSITIVE,
    "first_token": _POSITIVE,
    "stall": _POSITIVE,
    "total": _POSITIVE,
    "max_hops": _Limit(0),
}
_AMOUNT = _Limit(0, 1e9)
_BUDGET = {"daily_usd": _AMOUNT, "monthly_usd": _AMOUNT}
_PRICE = dict.fromkeys(("input", "output", "cache_read", "cache_write", "request"), _AMOUNT)
_HTTP = {"max_tokens": _COUNT, "context": _COUNT, "concurrency": _COUNT}
_TIMEOUTS = {"connect": _POSITIVE, "first_token": _POSITIVE, "stall": _POSITIVE, "total": _POSITIVE}
_LIMITS: Mapping[tuple[str, ...], Mapping[str, _Limit]] = {
    ("health",): _HEALTH,
    ("backends", "*", "health"): _HEALTH,
    ("backends", "*", "mlx"): _MLX,
    **{("backends", "*", kind): _HTTP for kind in HTTP_KINDS},
    **{("backends", "*", kind, "timeouts"): _TIMEOUTS for kind in HTTP_KINDS},
    ("backends", "*"): {"quality": _SHARE},
    ("backends", "*", "quota", "*"): {"tokens": _COUNT, "requests": _COUNT, "usd": _POSITIVE},
    ("backends", "*", "price"): _PRICE,
    ("prices", "*"): _PRICE,
    ("budgets",): _BUDGET,
    **{("budgets", group, "*"): _BUDGET for group in ("backends", "routes", "clients")},
    ("endpoints", "*", "shadow"): {"share": _SHARE},
    ("endpoints", "*"): {"max_hops": _Limit(0), "min_chars": _Limit(0)},
    ("routes", "*", "set"): _OVERRIDES,
    ("sticky",): {"expires": _POSITIVE},
    ("ledger",): {"keep": _POSITIVE, "text_keep": _POSITIVE},
}


def check_limits(tree: Node, report: Report) -> None:
    """Report every number of ``tree`` outside its range. What is no number, `build` reports."""
    for pattern, limits in _LIMITS.items():
        for path, node in select(tree, pattern):
            for key, child in node.items():
                value = _number(child)
                if key in limits and value is not None and limits[key].broken_by(value):
                    report.add(child, f"{path}.{key}: must be {limits[key]}, got {child.source}")


def _number(node: Node) -> float | None:
    """The node's number, durations in seconds; None where it is none."""
    if not isinstance(node.value, str | int | float) or isinstance(node.value, bool):
        return None
    try:
        return parse_duration(node.value) if isinstance(node.value, str) else node.value
    except ValueError:
        return None
