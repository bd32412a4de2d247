"""How much of a prompt is computed between two looks at the inbox."""

from __future__ import annotations

TARGET_S = 0.25
SMALLEST = 16
LARGEST = 2048
FIRST = 64


class ChunkSizer:
    """Picks the prefill chunk from the measured speed, so that one takes at most about `TARGET_S`.

    A cancel, a ping or a newcomer waits that long. ``size`` is tokens a prompt, always a power of
    two: every new shape costs mlx a compilation or a new buffer.
    """

    def __init__(self) -> None:
        self.size = FIRST

    def measured(self, tokens: int, seconds: float, rows: int) -> None:
        """A step computed ``tokens`` of ``rows`` prompts in ``seconds``."""
        if tokens < SMALLEST or seconds <= 0:
            return  # a chunk this small measures the overhead
        fitting = int(tokens / seconds * TARGET_S / max(rows, 1))
        # Growth is by doubling: the speed of small chunks says little about that of large ones.
        self.size = max(SMALLEST, min(LARGEST, self.size * 2, _power_of_two(fitting)))


def _power_of_two(n: int) -> int:
    """The largest power of two up to ``n``, 1 at least."""
    return 1 << max(n.bit_length() - 1, 0)
