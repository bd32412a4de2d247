"""The asynchronous client, on anyio. The same as `Client`, awaited; cancelling a call cancels the request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import TypeVar, Unpack, cast

import anyio
import anyio.abc

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


class AsyncClient:
    """The asynchronous client; parameters and exceptions are those of `Client`.

    Any number of calls may run at once: each open request has a connection of its own, so one that
    is not read holds up no other.
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
        return f"<AsyncClient {self.path} {len(self._idle)} idle{' closed' if self._closed else ''}>"

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the idle connections. Requests still open end on their own."""
        self._closed = True
        while self._idle:
            await self._idle.pop().aclose()

    async def chat(self, prompt: _core.Prompt, **options: Unpack[_core.ChatOptions]) -> Done:
        """See `Client.chat`."""
        return await self._call(Chat(id=0, chat=_core.build_chat(prompt, options, stream=False)), Done)

    def stream(
        self, prompt: _core.Prompt, *, restarts: bool = False, **options: Unpack[_core.ChatOptions]
    ) -> AsyncGenerator[StreamEvent]:
        """See `Client.stream`. A loop that may be left early belongs into ``contextlib.aclosing``."""
        chat = _core.build_chat(prompt, options, stream=True)
        return cast("AsyncGenerator[StreamEvent]", self._events(Chat(id=0, chat=chat, restarts=restarts)))

    async def route(
        self, prompt: _core.Prompt, *, trace: bool = False, client: str = "", **options: Unpack[_core.ChatOptions]
    ) -> Decision:
        """See `Client.route`."""
        chat = _core.build_chat(prompt, options, stream=False)
        return (await self._call(Route(id=0, chat=chat, trace=trace, client=client), RouteResult)).decision

    async def status(self) -> StatusResult:
        """See `Client.status`."""
        return await self._call(Status(id=0), StatusResult)

    async def reload(self) -> ReloadResult:
        """See `Client.reload`."""
        return await self._call(Reload(id=0), ReloadResult)

    async def check(self, text: str | None = None, *, file: str = "routes.yaml") -> CheckResult:
        """See `Client.check`."""
        return await self._call(Check(id=0, text=text, file=file), CheckResult)

    async def use(self, session: str, model: str = "") -> None:
        """Have the requests of ``session`` that name no model go to ``model``; ``""`` ends that. Raises
        `RequestFailedError` where there is no such model."""
        await self._call(Use(id=0, session=session, model=model), Used)

    async def routes(self) -> RoutesResult:
        """The routes in force, and how often each was taken."""
        return await self._call(Routes(id=0), RoutesResult)

    async def budget(self) -> BudgetResult:
        """What was spent, and what may still be: of day and month, in all and by backend, route and client."""
        return await self._call(Budget(id=0), BudgetResult)

    async def record_spend(
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
        return await self._call(
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

    async def set_spent(self, day_microusd: int, month_microusd: int) -> BudgetResult:
        """Say what today and this month have cost so far; see `SetSpent`."""
        return await self._call(SetSpent(id=0, day_microusd=day_microusd, month_microusd=month_microusd), BudgetResult)

    async def models(
        self,
        action: ModelsAction = "list",
        backend: str = "",
        *,
        force: bool = False,
        on_progress: OnProgress | None = None,
    ) -> ModelsResult:
        """See `Client.models`."""
        return await self._call(Models(id=0, action=action, backend=backend, force=force), ModelsResult, on_progress)

    async def decisions(
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
        """See `Client.decisions`."""
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
        return (await self._call(request, DecisionsResult)).chats

    async def show(self, request_id: str) -> ChatRecord:
        """See `Client.show`."""
        return (await self._call(Show(id=0, request_id=request_id), ShowResult)).chat

    async def feedback(
        self, request_id: str, *, ok: bool | None = None, score: float | None = None, note: str = ""
    ) -> None:
        """See `Client.feedback`."""
        await self._call(_core.build_feedback(request_id, ok, score, note), Noted)

    async def stats(self, by: StatsBy = "backend", *, since_s: float | None = None, reset: bool = False) -> StatsResult:
        """See `Client.stats`."""
        return await self._call(Stats(id=0, by=by, since_s=since_s, reset=reset), StatsResult)

    async def watch(self, *topics: str) -> AsyncGenerator[Notice]:
        """See `Client.watch`."""
        async with aclosing(self._events(Watch(id=0, topics=list(topics)))) as events:
            async for event in events:
                if isinstance(event, Notice):
                    yield event

    async def _call(self, request: Request, expected: type[R], on_progress: OnProgress | None = None) -> R:
        async with aclosing(self._events(request)) as events:
            async for event in events:
                if on_progress and isinstance(event, Progress):
                    on_progress(event)
                if isinstance(event, expected):
                    return event
        raise DaemonUnavailableError(f"the daemon did not answer with {expected.__name__}", sent=True)

    async def _events(self, request: Request) -> AsyncGenerator[Event]:
        connection = await self._take()
        answer = _core.Answer()
        try:
            await connection.send(request)
            while not answer.ended:
                for event in await connection.receive():
                    yield answer.observe(event)
        finally:
            # A request left before its end is cancelled by closing its connection.
            if answer.ended and not self._closed and len(self._idle) < _core.MAX_IDLE:
                self._idle.append(connection)
            else:
                await connection.aclose()

    async def _take(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive():
                return connection
            await connection.aclose()
        return await self._dial()

    async def _dial(self) -> _Connection:
        deadline = anyio.current_time() + self._start_timeout_s
        while True:
            try:
                stream = await anyio.connect_unix(str(self.path))
                break
            except OSError as error:
                if anyio.current_time() >= deadline:
                    raise DaemonUnavailableError(dial_hint(self.path, error)) from error
                await anyio.sleep(0.02)
        connection = _Connection(self.path, stream, self._timeout_s)
        try:
            await connection.handshake(_core.hello(self._name))
        except BaseException:
            await connection.aclose()
            raise
        return connection


class _Connection:
    def __init__(self, path: Path, stream: anyio.abc.SocketStream, timeout_s: float | None) -> None:
        self._path = path
        self._talk = _core.Conversation()
        self._stream = stream
        self._timeout_s = timeout_s

    async def handshake(self, hello: Request) -> None:
        await self.send(hello)
        answer = _core.Answer()
        while not answer.ended:
            for event in await self.receive():
                answer.observe(event)

    async def send(self, request: Request) -> None:
        try:
            await self._stream.send(self._talk.open(request))
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise _core.gone(self._path, sent=False) from error

    async def receive(self) -> list[Event]:
        try:
            with anyio.fail_after(self._timeout_s):
                chunk = await self._stream.receive(262144)
        except TimeoutError as error:
            raise DaemonUnavailableError(f"the daemon at {self._path} sent nothing in time", sent=True) from error
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise _core.gone(self._path, sent=True) from error
        return self._talk.feed(chunk)

    def alive(self) -> bool:
        return _core.quiet(self._stream.extra(anyio.abc.SocketAttribute.raw_socket))

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._stream.aclose()
