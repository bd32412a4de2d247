"""The worker's small parts, each by itself: stop strings, chunk sizes, the pipe."""

from __future__ import annotations

import socket
import threading
from queue import Empty

import msgspec
import pytest

from routerd.wire import Cancel, Loading, Piece, Ping, Stop, encoder, from_worker_decoder
from routerd.worker.chunks import LARGEST, LONGEST_S, SMALLEST, ChunkSizer
from routerd.worker.pipe import OUTBOX_BYTES, Inbox, Outbox, Undecodable, decode, start_reader
from routerd.worker.stops import StopScanner
from routerd_client.framing import FrameBuffer, pack

DEADLINE = 10.0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("stops", "text", "before"),
    [
        (["END"], "one END two", "one "),
        (["END", "one E"], "one END two", ""),
        (["aab"], "aaab", "a"),
        (["ab", "b"], "xab", "x"),
        (["nowhere"], "now here", None),
        ([], "anything", None),
        (["\n\n"], "a\nb\n\nc", "a\nb"),
    ],
)
def test_stop_strings_are_found_however_the_text_is_cut(
    stops: list[str], text: str, before: str | None, size: int
) -> None:
    scanner = StopScanner(stops)
    passed = "".join(scanner.feed(text[at : at + size]) for at in range(0, len(text), size))

    assert scanner.hit is (before is not None)
    assert passed + scanner.flush() == (text if before is None else before)


def test_only_what_may_begin_a_stop_string_is_held() -> None:
    scanner = StopScanner(["END"])

    assert [scanner.feed(piece) for piece in ("oneE", "N", "x")] == ["one", "", "ENx"]


def test_chunks_grow_by_doubling_to_the_limit() -> None:
    sizer, sizes = ChunkSizer(), []
    for _ in range(11):
        sizer.measured(sizer.size, 0.001)
        sizes.append(sizer.size)

    assert sizes == [8, 16, 32, 64, 128, 256, 512, 1024, 2048, LARGEST, LARGEST]


def test_chunks_shrink_at_once_to_what_a_slow_machine_manages() -> None:
    sizer = grown(64)
    sizer.measured(64, 0.5)
    assert sizer.size == 16
    sizer.measured(16, 60.0)
    assert sizer.size == SMALLEST


def test_a_chunk_that_takes_its_time_stays() -> None:
    sizer = grown(64)
    sizer.measured(64, 0.1)

    assert sizer.size == 64


def test_a_chunk_grows_only_where_attention_cannot_make_the_next_too_long() -> None:
    """Twice the tokens, each looking back up to four times as far: the next takes up to eight times as long."""
    sizer, tokens_done = ChunkSizer(), 0
    while tokens_done < 8192:
        size = sizer.size
        seconds = 6e-8 * size * (tokens_done + size / 2)
        sizer.measured(size, seconds)
        tokens_done += size

        assert seconds <= LONGEST_S


def test_prompts_prefilled_together_share_a_step() -> None:
    assert [grown(64).each(rows) for rows in (0, 1, 3, 8, 100)] == [64, 64, 21, 8, 1]


def test_the_rest_of_a_prompt_says_nothing_of_a_whole_chunk() -> None:
    sizer = grown(64)
    sizer.measured(3, 0.1)
    sizer.measured(3, 0.001)

    assert sizer.size == 64


def grown(size: int) -> ChunkSizer:
    sizer = ChunkSizer()
    while sizer.size < size:
        sizer.measured(sizer.size, 0.001)
    return sizer


def test_a_message_is_read_into_the_inbox() -> None:
    with connected() as (ours, inbox, left):
        ours.sendall(frame(Ping(id=1)) + frame(Cancel(id=2)))

        assert [inbox.get(timeout=DEADLINE) for _ in range(2)] == [Ping(id=1), Cancel(id=2)]
        assert not left.is_set()


def test_stop_leaves_before_anything_after_it_is_read() -> None:
    with connected() as (ours, inbox, left):
        ours.sendall(frame(Stop()) + frame(Ping(id=1)))

        assert left.wait(DEADLINE)
        with pytest.raises(Empty):
            inbox.get_nowait()


@pytest.mark.parametrize("sent", [b"", b"\xff\xff\xff\xff"], ids=["the end", "no frame"])
def test_a_stream_that_cannot_go_on_leaves(sent: bytes) -> None:
    with connected() as (ours, _inbox, left):
        ours.sendall(sent)
        ours.shutdown(socket.SHUT_WR)

        assert left.wait(DEADLINE)


def test_an_undecodable_message_keeps_its_id() -> None:
    assert isinstance(decode(msgspec.msgpack.encode({"type": "generate", "id": 7})), Undecodable)
    assert decode(msgspec.msgpack.encode({"type": "generate"})) is None
    assert decode(msgspec.msgpack.encode([7])) is None
    assert decode(b"\xc1") is None


def test_the_outbox_keeps_order_and_flushes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outbox = Outbox(theirs, leave=lambda _: None)
        sent = [Loading(phase="weights", fraction=n / 100) for n in range(100)]
        outbox.send(*sent[:50])
        outbox.send(*sent[50:])
        outbox.flush()

        assert [from_worker_decoder.decode(f) for f in FrameBuffer().feed(ours.recv(1 << 20))] == sent


def test_what_the_socket_takes_is_sent_before_send_returns() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outbox = Outbox(theirs, leave=lambda _: None)
        for number in range(100):
            outbox.send(Ping(id=number))

            assert ours.recv(1024, socket.MSG_DONTWAIT) == frame(Ping(id=number))


def test_a_full_outbox_blocks_the_sender_until_somebody_reads() -> None:
    ours, theirs = socket.socketpair()
    sent = threading.Event()
    piece = Piece(id=1, text="x" * OUTBOX_BYTES)

    def send_much() -> None:
        for _ in range(8):
            outbox.send(piece)
        sent.set()

    with ours, theirs:
        outbox = Outbox(theirs, leave=lambda _: None)
        threading.Thread(target=send_much, daemon=True).start()
        frames = FrameBuffer()
        found = frames.feed(ours.recv(1))
        assert not sent.is_set(), "the kernel and the outbox hold less than eight pieces"
        while len(found) < 8:
            found += frames.feed(ours.recv(1 << 20))

        assert sent.wait(DEADLINE)


def test_a_peer_that_is_gone_leaves() -> None:
    ours, theirs = socket.socketpair()
    left = threading.Event()
    ours.close()
    with theirs:
        Outbox(theirs, leave=lambda _: left.set()).send(Loading(phase="import", fraction=0))

        assert left.wait(DEADLINE)


def frame(message: Ping | Cancel | Stop) -> bytes:
    return pack(encoder.encode(message))


class connected:  # noqa: N801 - reads as the statement it is used in
    """A reader on one end of a socketpair; ``left`` is set when it would leave the process."""

    def __enter__(self) -> tuple[socket.socket, Inbox, threading.Event]:
        self._ours, self._theirs = socket.socketpair()
        inbox, left = Inbox(), threading.Event()
        start_reader(self._theirs, inbox, leave=lambda _: left.set())
        self._left = left
        return self._ours, inbox, left

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        assert self._left.wait(DEADLINE), "the thread must be done before its socket is closed"
        self._theirs.close()
