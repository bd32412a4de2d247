"""What the front may use of the daemon. The app is one; a test may give another."""

from __future__ import annotations

from typing import Protocol

from routerd_client.protocol import StatusResult

from ..dispatch.dispatcher import Dispatcher
from ..dispatch.generation import Generation


class Services(Protocol):
    @property
    def generation(self) -> Generation:
        """The configuration in force now."""

    @property
    def dispatcher(self) -> Dispatcher: ...

    @property
    def draining(self) -> bool:
        """Whether the daemon is shutting down and takes no new chats."""

    def new_request_id(self) -> str: ...

    def status(self) -> StatusResult: ...
