"""How an endpoint orders its targets. Pure. A new strategy is a struct with ``order`` and a place in `Strategy`."""

from __future__ import annotations

from msgspec import Struct


class Fallback(Struct, frozen=True):
    """The targets in their written order: the first that can, answers."""

    targets: tuple[str, ...]

    def order(self) -> list[tuple[str, str]]:
        """Backends in the order to try, each with its reason."""
        if len(self.targets) == 1:
            return [(self.targets[0], "the only target")]
        return [(name, "first choice" if i == 0 else f"fallback {i}") for i, name in enumerate(self.targets)]


Strategy = Fallback
