"""One fault: what goes wrong where, and what its caller must get all the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from routerd_client.chat import Usage
from routerd_client.protocol import ErrorCode
from routerd_client.records import FailureKind

from .fake_formats import Knobs

if TYPE_CHECKING:
    from .stage import Stage

Mode = Literal["live", "restarts", "safe", "whole"]
"""How it is asked: streamed, streamed by a client that takes retractions, streamed when whole, not streamed."""
MODES: tuple[Mode, ...] = ("live", "safe", "whole")
RESTARTING: tuple[Mode, ...] = ("live", "restarts", "safe", "whole")


class Api(Struct, frozen=True, kw_only=True):
    """A backend over HTTP whose server has these knobs. ``settings`` are those of the backend's kind.

    ``base_url`` is where it is looked for, instead of where the server is; ``{port}`` stands for the server's
    port, ``{refused}`` for one where nobody listens.
    """

    knobs: Knobs
    kind: str = "openai"
    settings: dict[str, Any] = {}
    base_url: str = ""

    @property
    def says(self) -> str:
        return "".join(self.knobs.pieces)

    def named(self, name: str) -> str:
        """The model's name, where the backend's is ``name``."""
        return f"model of {name}"


class Worker(Struct, frozen=True, kw_only=True):
    """A model process that is a `fake_worker` with these options. ``model`` is what it is made of instead."""

    options: str = ""
    settings: dict[str, Any] = {}
    model: str = ""

    @property
    def says(self) -> str:
        return "t0 t1 t2"

    def named(self, _name: str) -> str:
        return self.model or f"fake:{self.options}"


class Expect(Struct, frozen=True, kw_only=True):
    """What one request comes to.

    ``tries`` are its attempts in order, ``first: server_error, first: server_error, second``. ``code`` is that of
    the error in which it ends; without one it ends in an answer, ``text``, or where that is None all that the last
    backend tried says. An interrupted answer leaves the caller with its beginning, any other error with nothing.
    ``rests`` is for how many seconds nobody asks the backend
    ``first`` after it. ``asked`` is how often it was asked, where not once a try. ``again`` is what the same
    request comes to when it is sent once more.
    """

    tries: str
    code: ErrorCode | None = None
    text: str | None = None
    flaw: FailureKind | None = None
    usage: Usage | None = None
    retry_after: float | None = None
    rests: float = 0.0
    asked: int | None = None
    again: Expect | None = None


Script = Callable[["Stage", Mode], Awaitable[str]]
"""Plays a fault that takes more than a request and another; says what it saw, or raises `WrongError`."""


class Fault(Struct, frozen=True, kw_only=True):
    """``expect`` has one row for each mode; a ``script`` plays in ``modes``.

    ``endpoint`` are more keys of the endpoint, ``config`` of the file; ``options`` those of the request.
    """

    name: str
    does: str
    backends: dict[str, Api | Worker]
    expect: dict[Mode, Expect] = {}
    script: Script | None = None
    modes: tuple[Mode, ...] = ()
    endpoint: dict[str, Any] = {}
    config: dict[str, Any] = {}
    options: dict[str, Any] = {}
    prompt: str = "Which way?"
    within: float = 20.0
    """Seconds in which it is over, on a busy machine too."""

    @property
    def rows(self) -> tuple[Mode, ...]:
        return self.modes or tuple(self.expect)


class WrongError(Exception):
    """A caller or a backend saw something else than it must."""


COOLDOWN = 30.0
"""``health.cooldown``, in seconds: so long that a busy machine does not get past it in the middle of a row."""
FIRST_SAYS = ["It is ", "the first ", "that answers ", "you."]
SECOND = Api(knobs=Knobs(pieces=["The second ", "one ", "answers."]))


def api(*, pieces: list[str] | None = None, settings: dict[str, Any] | None = None, **knobs: Any) -> Api:
    """A backend over HTTP with these knobs."""
    return Api(knobs=Knobs(pieces=FIRST_SAYS if pieces is None else pieces, **knobs), settings=settings or {})


def everywhere(**expect: Any) -> dict[Mode, Expect]:
    """The same, however it is asked."""
    return dict.fromkeys(MODES, Expect(**expect))


def midway(kind: FailureKind, *, retried: bool = False) -> dict[Mode, Expect]:
    """An answer that fails when some of it is out: streamed live it ends in an error that says so; else the next
    backend's whole answer takes its place."""
    tries = f"first: {kind.value}"
    better = Expect(tries=f"{tries}, {tries}, second" if retried else f"{tries}, second")
    live = Expect(tries=tries, code=ErrorCode.INTERRUPTED)
    return {"live": live, "restarts": better, "safe": better, "whole": better}
