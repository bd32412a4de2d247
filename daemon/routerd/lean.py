"""structlog, without what it would load for nothing. The daemon's command imports this before all that imports it.

structlog loads rich wherever it is installed, and mlx-lm brings it along: for tracebacks in colours, which the daemon
never prints. That takes 5 MB, and 70 ms of every start.
"""

from __future__ import annotations

import sys

if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # so Python says of what cannot be imported
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
