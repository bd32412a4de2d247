"""How much of a prompt is computed between two looks at the inbox."""

from __future__ import annotations

LONGEST_S = 0.25
TARGET_S = 0.8 * LONGEST_S
SMALLEST, FIRST, LARGEST = 2, 4, 2048


class ChunkSizer:
    """Picks the prefill chunk from the measured speed, so that one takes at most about `LONGEST_S`.

    A cancel, a ping or a newcomer waits that long. ``size`` is the tokens of a step, those of all
    prompts in it together. It begins small and doubles: how long a small chunk takes says little of
    a large one, and a few small ones cost little.
    """

    def __init__(self) -> None:
        self.size = FIRST

    def each(self, rows: int) -> int:
        """Tokens of each of ``rows`` prompts that are computed together."""
        return max(1, self.size // max(rows, 1))

    def measured(self, tokens: int, seconds: float) -> None:
        """A step computed ``tokens``, over all its prompts, in ``seconds``."""
        if seconds > TARGET_S:
            fitting = int(tokens / seconds * TARGET_S)
            self.size = max(SMALLEST, min(self.size, _power_of_two(fitting)))
        elif seconds * 8 <= LONGEST_S and tokens * 2 > self.size:
            # A chunk of twice the size looks back twice as far, and the one after this one thrice as far as this:
            # where attention is all the work, that comes to eight times.
            self.size = min(LARGEST, self.size * 2)


def _power_of_two(n: int) -> int:
    """The largest power of two up to ``n``, 1 at least."""
    return 1 << max(n.bit_length() - 1, 0)
