"""What the handlers may use of the daemon. The app is one; a test may give another."""

from __future__ import annotations

from typing import Protocol

from routerd_client.protocol import CheckResult, Feedback, ReloadResult, RoutesResult, StatusResult

from ..dispatch.dispatcher import Dispatcher
from ..dispatch.generation import Generation
from ..store.ledger import Ledger
from ..supervisor.supervisor import Supervisor
from .notices import Hub


class Services(Protocol):
    @property
    def generation(self) -> Generation:
        """The configuration in force now."""

    @property
    def dispatcher(self) -> Dispatcher: ...
    @property
    def supervisor(self) -> Supervisor: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def hub(self) -> Hub: ...
    @property
    def draining(self) -> bool:
        """Whether the daemon is shutting down and takes no new chats."""

    def new_request_id(self) -> str: ...

    def status(self) -> StatusResult:
        """Its ``id`` is 0: the handler sets the request's."""
        ...

    def routes(self) -> RoutesResult:
        """Its ``id`` is 0."""
        ...

    async def feedback(self, said: Feedback) -> None:
        """Record it, and learn from it. Raises `LookupError` where there is no such chat, and `StoreError`."""
        ...

    async def reload(self) -> ReloadResult:
        """Read the configuration again; its ``id`` is 0."""
        ...

    async def check(self, text: str | None, file: str) -> CheckResult:
        """Validate ``text``, or the daemon's own file; its ``id`` is 0."""
        ...
