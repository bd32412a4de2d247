"""One attempt, as far as money and quotas are concerned."""

from __future__ import annotations

from msgspec import Struct

from routerd_client.chat import ChatRequest

from ..backends.base import BackendError
from ..routing.features import Features
from ..spend.quota import Use
from ..spend.tariff import Tariff
from ..store.money import Spend


class DeniedError(BackendError):
    """Money or a quota forbids an attempt."""


class Asking(Struct, frozen=True, kw_only=True):
    """Who is about to ask what of which backend."""

    backend: str
    tariff: Tariff
    chat: ChatRequest
    request: str
    attempt: int
    route: str
    client: str

    @property
    def prompt_bytes(self) -> int:
        """Bounds the prompt's tokens."""
        return Features(self.chat).prompt_bytes


class Hop:
    """What one attempt may cost, from `Purse.open` on until it is settled, once."""

    def __init__(self, asking: Asking, held: Use, row: Spend | None) -> None:
        self.asking = asking
        self.held = held
        self.row = row
        """What is reserved, None where nothing needs to be."""
        self.cost: int | None = None
        """Micro-dollars, None until it is settled."""

    def __repr__(self) -> str:
        return f"<Hop {self.asking.backend} reserved={self.row.reserved if self.row else 0} cost={self.cost}>"
