"""Frames and lines, whole, whatever pieces they arrive in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd_client.framing import HEADER, MAX_FRAME, FrameBuffer, FrameTooLongError, LineBuffer, pack

bodies = st.lists(st.binary(max_size=300), max_size=12)
cuts = st.lists(st.integers(0, 4000), max_size=12)


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in at), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(bodies, cuts)
def test_any_split_of_a_stream_gives_its_frames(frames: list[bytes], at: list[int]) -> None:
    buffer = FrameBuffer()
    received = [frame for piece in pieces(b"".join(map(pack, frames)), at) for frame in buffer.feed(piece)]
    assert received == frames
    assert buffer.pending == 0


def test_a_frame_is_given_out_by_its_last_byte_and_not_before() -> None:
    buffer = FrameBuffer()
    frame = pack(b"hello")
    assert [buffer.feed(frame[i : i + 1]) for i in range(len(frame))] == [[]] * 8 + [[b"hello"]]


def test_what_is_left_of_a_frame_is_pending() -> None:
    buffer = FrameBuffer()
    assert buffer.feed(pack(b"whole") + b"\x00\x00") == [b"whole"]
    assert buffer.pending == 2


def test_a_frame_of_the_limit_is_announced_without_complaint() -> None:
    assert FrameBuffer().feed(HEADER.pack(MAX_FRAME)) == []


def test_a_frame_over_the_limit_is_refused_at_its_header() -> None:
    with pytest.raises(FrameTooLongError, match=f"{MAX_FRAME + 1} bytes was announced"):
        FrameBuffer().feed(HEADER.pack(MAX_FRAME + 1))


def test_a_header_in_pieces_is_refused_with_its_last_byte() -> None:
    buffer = FrameBuffer()
    header = HEADER.pack(MAX_FRAME + 1)
    assert buffer.feed(header[:3]) == []
    with pytest.raises(FrameTooLongError):
        buffer.feed(header[3:])


def test_a_body_over_the_limit_is_not_packed() -> None:
    with pytest.raises(FrameTooLongError, match="over the limit"):
        pack(bytes(MAX_FRAME + 1))


def test_no_frame_begins_like_http_or_json() -> None:
    """A listener tells the three apart by the first byte."""
    assert HEADER.pack(MAX_FRAME)[0] < ord("A") < ord("{")


@given(st.lists(st.binary(max_size=80).filter(lambda b: b"\n" not in b and b.strip()), max_size=10), cuts)
def test_any_split_of_lines_gives_the_lines(lines: list[bytes], at: list[int]) -> None:
    buffer = LineBuffer()
    data = b"".join(line + b"\n" for line in lines)
    assert [line for piece in pieces(data, at) for line in buffer.feed(piece)] == lines


def test_a_line_waits_for_its_end() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b'{"a":1}') == []
    assert buffer.feed(b"\n") == [b'{"a":1}']


def test_blank_lines_are_ignored() -> None:
    assert LineBuffer().feed(b"\n  \r\n{}\n\n") == [b"{}"]


def test_a_line_over_the_limit_is_refused_before_its_end() -> None:
    with pytest.raises(FrameTooLongError, match="line"):
        LineBuffer().feed(bytes(MAX_FRAME + 1))
