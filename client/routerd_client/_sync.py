"""The blocking client: sockets and msgspec, neither anyio nor asyncio."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar, Unpack, cast

from . import _core
from .errors import DaemonUnavailableError, dial_hint
from .paths import default_socket
from .protocol import (
    Budget,
    BudgetResult,
    Chat,
    Check,
    CheckResult,
    Decisions,
    DecisionsResult,
    Done,
    Event,
    Models,
    ModelsAction,
    ModelsResult,
    Noted,
    Notice,
    Progress,
    RecordSpend,
    Reload,
    ReloadResult,
    Request,
    Route,
    RouteResult,
    Routes,
    RoutesResult,
    SetSpent,
    Show,
    ShowResult,
    Stats,
    StatsBy,
    StatsResult,
    Status,
    StatusResult,
    StreamEvent,
    Use,
    Used,
    Watch,
)
from .records import ChatRecord, Decision

R = TypeVar("R")
OnProgress = Callable[[Progress], None]


class Client:
    """A blocking client. Safe to share between threads: each open request has a connection of its own.

    ``socket_path`` defaults to `default_socket`. ``name`` is what the daemon knows this client by.
    ``timeout_s`` bounds the silence between two events, None waits as long as the daemon works; a
    request's own bound is ``deadline_s``. ``start_timeout_s`` keeps trying to connect for that long,
    for a daemon that is just being started. Nothing is connected before the first call.

    Every call raises `DaemonUnavailableError` where no daemon answers, `ProtocolMismatchError` where
    it speaks another protocol, and `RequestFailedError` (or a class below it) with the daemon's reason.
    """

    def __init__(
        self,
        socket_path: str | Path | None = None,
        *,
        name: str = "",
        timeout_s: float | None = None,
        start_timeout_s: float = 0.0,
    ) -> None:
        self.path = Path(socket_path) if socket_path else default_socket()
        self._name = name
        self._timeout_s = timeout_s
        self._start_timeout_s = start_timeout_s
        self._idle: list[_Connection] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"<Client {self.path} {len(self._idle)} idle{' closed' if self._closed else ''}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. Requests still open in other threads end on their own."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def chat(self, prompt: _core.Prompt, **options: Unpack[_core.ChatOptions]) -> Done:
        """One whole answer; ``.text`` is its text. Blocks until it is there or the request failed."""
        return self._call(Chat(id=0, chat=_core.build_chat(prompt, options, stream=False)), Done)

    def stream(
        self, prompt: _core.Prompt, *, restarts: bool = False, **options: Unpack[_core.ChatOptions]
    ) -> Iterator[StreamEvent]:
        """The answer as it comes: `Routed`, `Progress`, `Delta`, last `Done`. Every event has ``.text``.

        Text handed out is never taken back: an answer that breaks off raises `InterruptedAnswerError`
        with the text so far. With ``restarts=True`` it may instead start again on another backend,
        said by a `Retracted`. Leaving the loop stops the generation.
        """
        chat = _core.build_chat(prompt, options, stream=True)
        return cast("Iterator[StreamEvent]", self._events(Chat(id=0, chat=chat, restarts=restarts)))

    def route(
        self, prompt: _core.Prompt, *, trace: bool = False, client: str = "", **options: Unpack[_core.ChatOptions]
    ) -> Decision:
        """Return the backends that would answer, and why; nothing is generated. ``trace`` asks for the steps as well,
        ``client`` for the decision for the client of that name instead of this one."""
        chat = _core.build_chat(prompt, options, stream=False)
        return self._call(Route(id=0, chat=chat, trace=trace, client=client), RouteResult).decision

    def status(self) -> StatusResult:
        """The daemon's state."""
        return self._call(Status(id=0), StatusResult)

    def reload(self) -> ReloadResult:
        """Have routes.yaml read again; blocks until the new generation is in force, or refused with ``errors``."""
        return self._call(Reload(id=0), ReloadResult)

    def check(self, text: str | None = None, *, file: str = "routes.yaml") -> CheckResult:
        """Have the daemon validate ``text``, or its own file, without using it."""
        return self._call(Check(id=0, text=text, file=file), CheckResult)

    def use(self, session: str, model: str = "") -> None:
        """Have the requests of ``session`` that name no model go to ``model``; ``""`` ends that. Raises
        `RequestFailedError` where there is no such model."""
        self._call(Use(id=0, session=session, model=model), Used)

    def routes(self) -> RoutesResult:
        """The routes in force, and how often each was taken."""
        return self._call(Routes(id=0), RoutesResult)

    def budget(self) -> BudgetResult:
        """What was spent, and what may still be: of day and month, in all and by backend, route and client."""
        return self._call(Budget(id=0), BudgetResult)

    def record_spend(
        self,
        provider: str,
        model: str,
        tokens_in: int = 0,
        tokens_out: int = 0,
        *,
        cost_microusd: int | None = None,
        client: str = "",
    ) -> BudgetResult:
        """Book what was spent without the daemon; see `RecordSpend`."""
        return self._call(
            RecordSpend(
                id=0,
                provider=provider,
                model=model,
                prompt_tokens=tokens_in,
                completion_tokens=tokens_out,
                cost_microusd=cost_microusd,
                client=client,
            ),
            BudgetResult,
        )

    def set_spent(self, day_microusd: int, month_microusd: int) -> BudgetResult:
        """Say what today and this month have cost so far; see `SetSpent`."""
        return self._call(SetSpent(id=0, day_microusd=day_microusd, month_microusd=month_microusd), BudgetResult)

    def models(
        self,
        action: ModelsAction = "list",
        backend: str = "",
        *,
        force: bool = False,
        on_progress: OnProgress | None = None,
    ) -> ModelsResult:
        """The model processes, after ``action`` (see `Models`). ``load`` blocks until ready; ``on_progress``
        hears how far it is."""
        return self._call(Models(id=0, action=action, backend=backend, force=force), ModelsResult, on_progress)

    def decisions(
        self,
        *,
        backend: str | None = None,
        route: str | None = None,
        failed: bool = False,
        since_s: float | None = None,
        before: str = "",
        limit: int = 50,
        whole: bool = False,
    ) -> list[ChatRecord]:
        """The newest chats in the ledger, newest first; see `Decisions` for what they can be narrowed to."""
        request = Decisions(
            id=0,
            backend=backend,
            route=route,
            failed=failed,
            since_s=since_s,
            before=before,
            limit=limit,
            whole=whole,
        )
        return self._call(request, DecisionsResult).chats

    def show(self, request_id: str) -> ChatRecord:
        """The whole story of the one chat whose id is, or begins with, ``request_id``. Raises `RequestFailedError`
        where the ledger has none, or several."""
        return self._call(Show(id=0, request_id=request_id), ShowResult).chat

    def feedback(self, request_id: str, *, ok: bool | None = None, score: float | None = None, note: str = "") -> None:
        """Say how good an answer was, by its `Done.request_id`: ``ok``, or a ``score`` from 0 (bad) to 1 (good).

        Returns when it is on the disk. Raises ``TypeError`` unless exactly one of both is given, and
        `RequestFailedError` where the ledger has no chat of this id.
        """
        self._call(_core.build_feedback(request_id, ok, score, note), Noted)

    def stats(self, by: StatsBy = "backend", *, since_s: float | None = None, reset: bool = False) -> StatsResult:
        """Figures from the ledger; see `Stats`."""
        return self._call(Stats(id=0, by=by, since_s=since_s, reset=reset), StatsResult)

    def watch(self, *topics: str) -> Iterator[Notice]:
        """Notices as things happen, until the loop is left or the daemon goes."""
        for event in self._events(Watch(id=0, topics=list(topics))):
            if isinstance(event, Notice):
                yield event

    def _call(self, request: Request, expected: type[R], on_progress: OnProgress | None = None) -> R:
        for event in self._events(request):
            if on_progress and isinstance(event, Progress):
                on_progress(event)
            if isinstance(event, expected):
                return event
        raise DaemonUnavailableError(f"the daemon did not answer with {expected.__name__}", sent=True)

    def _events(self, request: Request) -> Iterator[Event]:
        connection = self._take()
        answer = _core.Answer()
        try:
            connection.send(request)
            while not answer.ended:
                for event in connection.receive():
                    yield answer.observe(event)
        finally:
            # A request left before its end is cancelled by closing its connection.
            if answer.ended and not self._closed and len(self._idle) < _core.MAX_IDLE:
                self._idle.append(connection)
            else:
                connection.close()

    def _take(self) -> _Connection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread took it
                break
            if connection.alive():
                return connection
            connection.close()
        return self._dial()

    def _dial(self) -> _Connection:
        deadline = time.monotonic() + self._start_timeout_s
        while True:
            try:
                connection = _Connection(self.path, self._timeout_s)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise DaemonUnavailableError(dial_hint(self.path, error)) from error
                time.sleep(0.02)
        try:
            connection.handshake(_core.hello(self._name))
        except BaseException:
            connection.close()
            raise
        return connection


class _Connection:
    def __init__(self, path: Path, timeout_s: float | None) -> None:
        self._path = path
        self._talk = _core.Conversation()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except BaseException:
            self._socket.close()
            raise

    def handshake(self, hello: Request) -> None:
        self.send(hello)
        answer = _core.Answer()
        while not answer.ended:
            for event in self.receive():
                answer.observe(event)

    def send(self, request: Request) -> None:
        try:
            self._socket.sendall(self._talk.open(request))
        except OSError as error:
            raise _core.gone(self._path, sent=False) from error

    def receive(self) -> list[Event]:
        try:
            chunk = self._socket.recv(262144)
        except TimeoutError as error:
            raise DaemonUnavailableError(f"the daemon at {self._path} sent nothing in time", sent=True) from error
        except OSError as error:
            raise _core.gone(self._path, sent=True) from error
        if not chunk:
            raise _core.gone(self._path, sent=True)
        return self._talk.feed(chunk)

    def alive(self) -> bool:
        return _core.quiet(self._socket)

    def close(self) -> None:
        self._socket.close()
