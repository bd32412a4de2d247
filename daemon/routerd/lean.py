"""What the daemon's libraries are not to load. Its command imports this before them.

structlog loads rich wherever it is installed, and mlx-lm brings it along: for tracebacks in colours, which the daemon
never prints. That takes 5 MB, and a tenth of a second of every start.
"""

from __future__ import annotations

import sys

sys.modules["rich"] = None  # type: ignore[assignment]  # so Python says of what cannot be imported
