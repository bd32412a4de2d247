"""One loaded configuration, ready to use. Immutable: a request keeps the one it began with."""

from __future__ import annotations

from msgspec import Struct

from ..backends.base import Backend
from ..config.schema import ConfigSpec, HealthSpec
from ..routing.table import Table
from ..spend.tariff import Tariffs


class Generation(Struct, frozen=True):
    """``number`` counts from 1; ``digest`` is that of the file's content."""

    number: int
    digest: str
    config: ConfigSpec
    table: Table
    backends: dict[str, Backend]
    tariffs: Tariffs
    personas: dict[str, str] = {}
    """The texts of the files that the configuration names, by those names."""

    def health_specs(self) -> dict[str, HealthSpec]:
        """The thresholds of every backend, by its identity."""
        return {
            b.identity: self.config.backends[name].health or self.config.health for name, b in self.backends.items()
        }
