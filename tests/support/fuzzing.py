"""Fuzzing for a while: short in CI, as long as `ROUTERD_FUZZ_SECONDS` says in a soak."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

SECONDS = float(os.environ.get("ROUTERD_FUZZ_SECONDS", "10"))
ROUND = 25
_NOT_OURS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


def fuzz(test: Callable[[Any], None], examples: SearchStrategy[Any], *, seconds: float | None = None) -> None:
    """Call ``test`` with one of ``examples`` after another for ``seconds`` (default: `SECONDS`)."""
    end = time.monotonic() + (SECONDS if seconds is None else seconds)
    one_round = settings(max_examples=ROUND, deadline=None, database=None, suppress_health_check=_NOT_OURS)

    def called(example: Any) -> None:
        test(example)

    while True:
        one_round(given(examples)(called))()
        if time.monotonic() > end:
            return
