"""The parts of a group that decide, and its desk before a small server that behaves as the real one at its worst."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import anyio
import anyio.abc
import pytest
from msgspec.structs import replace

from routerd.config.schema import MlxSpec
from routerd.models.errors import BrokenModelError
from routerd.models.size import estimate
from routerd.supervisor.command import worker_command
from routerd.supervisor.learned import Learned
from routerd.supervisor.sizing import Size, size_of
from routerd.wire import Cancel, Failed, Finished, FromWorker, Generate, Piece, Prefill
from routerd.worker.group.__main__ import parse
from routerd.worker.group.desk import Desk
from routerd.worker.group.hosts import Host, locate
from routerd.worker.group.question import JOINER, ask
from routerd.worker.group.ranks import explain
from routerd.worker.group.reply import Reply
from routerd.worker.group.seats import Seats
from routerd.worker.group.server import Server
from routerd.worker.lm import Model
from routerd.worker.validate import RequestError
from routerd_client.chat import ChatRequest, FinishReason, Function, Message, ToolCall
from routerd_client.records import FailureKind
from tests.support.wait import until
from tests.support.worker_client import ask as chat

ADDRESSES = {"here": "10.0.0.1", "loop": "127.0.0.1", "there": "10.0.0.2", "me@there": "10.0.0.2"}


def located(*names: str) -> list[Host]:
    return locate(list(names), address=ADDRESSES.__getitem__, is_ours=lambda ip: ip in ("10.0.0.1", "127.0.0.1"))


def test_this_machine_is_not_reached_over_ssh() -> None:
    assert located("here", "me@there") == [
        Host("here", "127.0.0.1", "10.0.0.1"),
        Host("me@there", "me@there", "10.0.0.2"),
    ]


def test_two_ranks_on_this_machine_may_use_the_loopback() -> None:
    assert [host.ssh for host in located("loop", "loop")] == ["127.0.0.1", "127.0.0.1"]


@pytest.mark.parametrize(("names", "words"), [(("there", "here"), "another machine"), (("loop", "there"), "reached")])
def test_places_that_cannot_work_together_are_refused(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(BrokenModelError, match=words):
        located(*names)


HOSTS = [Host("a.local", "127.0.0.1", "10.0.0.1"), Host("b.local", "b.local", "10.0.0.2")]
LOST_PEER = "2026 - ERROR - mlx_lm.server generation thread died: [ring] connection to a peer was lost"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the ranks ended without a word"),
        (["[WARN] Node with rank 1 exited with code -9", LOST_PEER], "rank 1 on b.local was killed by signal 9"),
        (
            ["[WARN] Node with rank 1 exited with code 255"],
            "rank 1 on b.local exited with code 255: ssh could not run it (try 'ssh b.local true')",
        ),
        (
            ["ModuleNotFoundError: No module named 'mlx_lm'", "[WARN] Node with rank 0 exited with code 1"],
            "rank 0 on a.local exited with code 1: ModuleNotFoundError: No module named 'mlx_lm'",
        ),
        (["x generation thread died: no such file", LOST_PEER], "no such file"),
        (
            ["BrokenPipeError: [Errno 32] Broken pipe", "[WARN] Node with rank 0 exited with code 1"],
            "rank 0 on a.local exited with code 1",
        ),
    ],
)
def test_the_end_of_the_ranks_in_words(words: list[str], said: str) -> None:
    assert explain(words, HOSTS) == said


def data(**chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk).encode()


def delta(finish: str | None = None, **fields: Any) -> bytes:
    return data(choices=[{"delta": {"role": "assistant", **fields}, "finish_reason": finish}])


def read(events: Iterable[bytes], *, stops: list[str] | None = None) -> tuple[list[Any], Finished | Failed]:
    """What ``events`` became, up to a stop string."""
    reply, out = Reply(1, 20, stops or [], len), []
    for event in events:
        if message := reply.feed(event):
            out.append(message)
        if reply.stopped:
            break
    return out, reply.end()


def test_progress_counts_what_was_cached() -> None:
    out, _ = read([b": keepalive 3/5", b": something else"])

    assert out == [Prefill(id=1, done=18, total=20, cached=15)]


def test_white_space_next_to_a_marker_belongs_to_it() -> None:
    out, _ = read([delta(reasoning="\nwell"), delta(content="\n\n"), delta(content=" yes "), delta("stop")])

    assert "".join(p.reasoning for p in out) == "well"
    assert "".join(p.text for p in out) == "yes "


def test_tool_calls_are_numbered_and_their_arguments_are_json_once() -> None:
    calls = [
        {"id": "a", "type": "function", "index": 4, "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "index": 5, "function": {"name": "g", "arguments": '"{\\"x\\": 2}"'}},
    ]
    out, end = read([delta(tool_calls=calls), delta("tool_calls")])

    expected = [ToolCall("a", Function("f", '{"x": 1}'), index=0), ToolCall("b", Function("g", '{"x": 2}'), index=1)]
    assert [call for piece in out for call in piece.tool_calls] == expected
    assert isinstance(end, Finished)
    assert end.finish_reason is FinishReason.TOOL_CALLS


def test_a_tool_call_the_server_has_dropped_is_a_flaw() -> None:
    out, end = read([delta(content="I call"), delta("tool_calls")])

    assert [piece.text for piece in out] == ["I call", ""]
    assert [bool(piece.flaw) for piece in out] == [False, True]
    assert end.finish_reason is FinishReason.STOP


def test_a_stop_string_over_two_pieces_ends_the_answer() -> None:
    out, end = read([delta(content="one EN"), delta(content="D two"), delta(content="three")], stops=["END"])

    assert "".join(piece.text for piece in out) == "one "
    assert isinstance(end, Finished)
    assert end.finish_reason is FinishReason.STOP


def test_the_start_of_a_stop_string_at_the_end_is_text() -> None:
    out, _ = read([delta(content="one EN"), delta("length")], stops=["END"])

    assert "".join(piece.text for piece in out) == "one EN"


def body(model: Model, request: ChatRequest, **limits: int) -> dict[str, Any]:
    question = ask(model, request, limits.get("max_tokens", 4096), limits.get("kv_tokens", 16384))
    found: dict[str, Any] = json.loads(question.body)
    return found


def test_a_callers_words_spell_no_special_token(tiny: Model) -> None:
    words = body(tiny, chat("a <|im_end|> b"))["messages"][0]["content"]

    assert words == f"a <{JOINER}|im_end|> b"
    special = tiny.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert special not in tiny.encode(words, special=False)


def test_the_server_is_never_asked_for_what_could_hurt_it(tiny: Model) -> None:
    asked = body(tiny, chat("hello", stop=["x"], sampling={"seed": 1}))

    assert asked["stream"] is True
    assert asked["model"] == "default_model"
    assert asked.keys().isdisjoint({"stop", "seed", "adapters", "draft_model"})


def test_arguments_that_are_no_json_do_not_fail_the_server(tiny: Model) -> None:
    call = ToolCall("a", Function("f", "{broken"))
    request = ChatRequest(messages=[Message("user", "x"), Message("assistant", tool_calls=[call])], max_tokens=4)

    arguments = body(tiny, request)["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == "{broken"


def test_an_answer_is_cut_to_the_tokens_all_may_hold(tiny: Model) -> None:
    prompt = ask(tiny, chat("hello", max_tokens=500), 4096, 16384).prompt

    assert body(tiny, chat("hello", max_tokens=500), kv_tokens=prompt + 7)["max_tokens"] == 7
    with pytest.raises(RequestError, match="kv_tokens") as refused:
        ask(tiny, chat("hello"), 4096, prompt)
    assert refused.value.kind is FailureKind.CONTEXT_OVERFLOW


def test_every_setting_reaches_the_group() -> None:
    spec = MlxSpec(model="m", hosts=("a", "me@b"), context=512, concurrency=3, kv_tokens=4096, stall_timeout=6)
    command = worker_command(spec, Path("/models/m"), 7, Size(claim=1, kv_pool=99))
    arguments = parse(command[3:])

    assert command[1:3] == ["-m", "routerd.worker.group"]
    assert (arguments.fd, arguments.model, arguments.hosts) == (7, Path("/models/m"), ["a", "me@b"])
    assert (arguments.context, arguments.concurrency, arguments.kv_tokens) == (512, 3, 4096)
    assert (arguments.kv_pool, arguments.quiet_after) == (99, 2)
    without = replace(spec, prompt_cache=0)
    assert parse(worker_command(without, Path("/models/m"), 7, Size(claim=1, kv_pool=99))[3:]).kv_pool == 0


def test_a_machine_claims_its_share(tiny_folder: Path) -> None:
    def claim(*hosts: str) -> int:
        return size_of(MlxSpec(model="m", hosts=hosts), tiny_folder, Learned()).claim

    base = estimate(tiny_folder).base
    assert claim("a", "b") - 2 * base == pytest.approx((claim("a", "a") - 3 * base) / 2, abs=1)
    assert claim("a", "a") - 3 * base == claim() - base
    assert claim("a", "b", "c", "d") < claim("a", "b") < claim("a", "a")


async def test_seats_are_given_in_order_and_as_if_all_were_as_long_as_the_longest() -> None:
    seats, taken = Seats(1024), []

    async def sit(name: str, tokens: int, leave: anyio.Event) -> None:
        async with seats.seat(tokens):
            taken.append(name)
            await leave.wait()

    leave = {name: anyio.Event() for name in "abcd"}
    async with anyio.create_task_group() as tasks:
        for name, tokens in (("a", 256), ("b", 250), ("c", 512), ("d", 1)):
            tasks.start_soon(sit, name, tokens, leave[name])
            await anyio.wait_all_tasks_blocked()
        assert (taken, seats.waiting) == (["a", "b"], 2), "three rows of 512 are too many, and d may not overtake c"
        leave["a"].set()
        await until(lambda: taken == ["a", "b", "c"], "c has its seat")
        leave["b"].set()
        await until(lambda: taken == ["a", "b", "c", "d"], "d has its seat")
        leave["c"].set()
        leave["d"].set()


class Sink:
    """Keeps what the desk sends."""

    def __init__(self) -> None:
        self.sent: list[FromWorker] = []

    def send(self, *messages: FromWorker) -> None:
        self.send_all(messages)

    def send_all(self, messages: Iterable[FromWorker]) -> None:
        self.sent += messages

    @property
    def ends(self) -> list[FromWorker]:
        return [message for message in self.sent if isinstance(message, Finished | Failed)]


Handler = Callable[[anyio.abc.SocketStream], Awaitable[None]]
OK = b"HTTP/1.0 200 OK\r\nContent-type: text/event-stream\r\n\r\n"
TOKEN = delta(content="t") + b"\n\n" + delta("length") + b"\n\n"
DONE = b"data: [DONE]\n\n"


def sends(*parts: bytes) -> Handler:
    async def answer(stream: anyio.abc.SocketStream) -> None:
        for part in parts:
            await stream.send(part)

    return answer


ONE_TOKEN = sends(OK, TOKEN, DONE)


@asynccontextmanager
async def desk(
    model: Model,
    answer: Handler,
    *,
    probe: Handler = ONE_TOKEN,
    health: bytes = OK,
    quiet_after: float = 60.0,
) -> AsyncIterator[tuple[SimpleQueue[Any], Sink, Desk]]:
    """A desk, asked one question, before a server that answers requests for one token by ``probe`` and others by
    ``answer``."""

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            request = await stream.receive()
            if request.startswith(b"GET"):
                await stream.send(health)
            elif b'"content":"hi"' in request:
                await probe(stream)
            else:
                await answer(stream)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    inbox: SimpleQueue[Any] = SimpleQueue()
    sink = Sink()
    made = Desk(model, Server(port), sink, max_tokens=16, kv_tokens=4096, quiet_after=quiet_after)  # type: ignore[arg-type]
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        tasks.start_soon(made.run, inbox)
        inbox.put(Generate(id=1, chat=chat("hello")))
        yield inbox, sink, made
        tasks.cancel_scope.cancel()
    inbox.put(None)  # for the thread that still waits


async def one_token_then_silence(stream: anyio.abc.SocketStream) -> None:
    await stream.send(OK + delta(content="t") + b"\n\n")
    await anyio.sleep_forever()


async def test_an_answer_with_its_end_mark_is_finished(tiny: Model) -> None:
    usage = data(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {}})
    async with desk(tiny, sends(OK, TOKEN, usage + b"\n\n", DONE)) as (_, sink, _desk):
        await until(lambda: sink.ends, "it ends")

    (end,) = sink.ends
    assert isinstance(end, Finished)
    assert (end.finish_reason, end.usage.prompt_tokens) == (FinishReason.LENGTH, 9)


@pytest.mark.parametrize(
    ("parts", "kind", "words"),
    [
        ((OK, TOKEN), FailureKind.SERVER_ERROR, "without its end mark"),
        ((OK,), FailureKind.SERVER_ERROR, "without its end mark"),
        ((), FailureKind.SERVER_ERROR, "did not answer"),
        ((b'HTTP/1.0 404 Not Found\r\n\r\n{"error": "odd"}',), FailureKind.SERVER_ERROR, "odd"),
        ((OK, b"data: {broken\n\n", DONE), FailureKind.MALFORMED, "garbage"),
    ],
)
async def test_an_answer_without_its_end_fails_alone_while_the_server_is_well(
    tiny: Model, parts: tuple[bytes, ...], kind: FailureKind, words: str
) -> None:
    async with desk(tiny, sends(*parts)) as (_, sink, made):
        await until(lambda: sink.ends, "it ends")

        assert not made.lost.is_set()
    (end,) = sink.ends
    assert isinstance(end, Failed)
    assert end.kind is kind
    assert words in end.message


async def test_a_server_that_cannot_generate_any_more_is_lost(tiny: Model) -> None:
    sick = b"HTTP/1.0 503 Service Unavailable\r\n\r\n"
    async with desk(tiny, sends(OK), health=sick) as (_, sink, made):
        await until(made.lost.is_set, "the ranks count as lost")

        assert sink.ends == [], "the end of the process says so, to all who wait"


async def test_a_cancel_closes_the_connection(tiny: Model) -> None:
    closed = anyio.Event()

    async def answer(stream: anyio.abc.SocketStream) -> None:
        await stream.send(OK + delta(content="t") + b"\n\n")
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
        closed.set()

    async with desk(tiny, answer) as (inbox, sink, _desk):
        await until(lambda: sink.sent, "it has begun")
        inbox.put(Cancel(id=1))
        await until(closed.is_set, "the server is left")
        await until(lambda: sink.ends, "the daemon is told")

    assert sink.ends == [Failed(id=1, kind=FailureKind.CANCELLED, message="cancelled")]


async def test_silence_of_a_server_that_lives_is_told_to_the_watchdog(tiny: Model) -> None:
    async with desk(tiny, one_token_then_silence, quiet_after=0.05) as (_, sink, _desk):
        await until(lambda: Piece(id=1, tokens=0) in sink.sent, "a sign of life comes")


async def test_silence_of_a_server_that_is_stuck_stays_silence(tiny: Model) -> None:
    asked = anyio.Event()

    async def stuck(_stream: anyio.abc.SocketStream) -> None:
        asked.set()
        await anyio.sleep_forever()

    async with desk(tiny, one_token_then_silence, probe=stuck, quiet_after=0.05) as (_, sink, _desk):
        await until(asked.is_set, "it is asked for a token")
        await until(lambda: sink.sent, "the first token is there")

    assert [message for message in sink.sent if isinstance(message, Piece) and not message.tokens] == []
