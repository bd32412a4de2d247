"""The protocol of every released version is read for ever, and what a newer peer adds does no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from routerd_client import protocol, records
from routerd_client.chat import FinishReason
from routerd_client.protocol import ErrorCode, Event, Request, decode_event
from tests.support.make_golden import DATA, EVENTS, REQUESTS, tag

GOLDEN = sorted(DATA.glob("*/*.msgpack"))
DECODERS = {
    "request": (protocol.request_decoder, protocol.json_request_decoder),
    "event": (protocol.event_decoder, protocol.json_event_decoder),
}
OPEN_ENUMS = [
    ErrorCode,
    FinishReason,
    records.FailureKind,
    records.Outcome,
    records.Residency,
    records.BreakerState,
]


def named(value: object) -> str:
    return value.stem if isinstance(value, Path) else getattr(value, "__name__", "")


def holds(new: Any, old: Any) -> bool:
    """Whether ``new`` has everything that ``old`` has."""
    if isinstance(old, dict):
        return all(key in new and holds(new[key], value) for key, value in old.items())
    if isinstance(old, list):
        return len(new) == len(old) and all(map(holds, new, old))
    return bool(new == old)


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_released_frame_is_read_and_loses_nothing(file: Path) -> None:
    direction, name = file.stem.split(".")
    frames, lines = DECODERS[direction]
    text = file.with_suffix(".json").read_bytes()
    message = frames.decode(file.read_bytes())
    assert tag(message) == name
    assert lines.decode(text) == message
    assert holds(msgspec.json.decode(protocol.json_encoder.encode(message)), msgspec.json.decode(text))


@pytest.mark.parametrize(("direction", "union"), [("request", Request), ("event", Event)])
def test_every_message_has_a_golden_frame(direction: str, union: object) -> None:
    tags = {str(member.__struct_config__.tag) for member in get_args(union)}
    newest = max(DATA.iterdir(), key=lambda folder: tuple(map(int, folder.name.split("."))))
    assert {file.stem for file in newest.glob(f"{direction}.*.msgpack")} == {f"{direction}.{t}" for t in tags}


@pytest.mark.parametrize("request_", REQUESTS, ids=tag)
def test_a_request_survives_both_encodings(request_: Request) -> None:
    assert protocol.request_decoder.decode(protocol.encoder.encode(request_)) == request_
    assert protocol.json_request_decoder.decode(protocol.json_encoder.encode(request_)) == request_


@pytest.mark.parametrize("event", EVENTS, ids=tag)
def test_an_event_survives_both_encodings(event: Event) -> None:
    assert decode_event(protocol.encoder.encode(event)) == event
    assert protocol.json_event_decoder.decode(protocol.json_encoder.encode(event)) == event


@pytest.mark.parametrize("request_", REQUESTS, ids=tag)
def test_fields_that_a_newer_client_adds_are_ignored(request_: Request) -> None:
    wider = msgspec.to_builtins(request_) | {"added_later": {"deep": [1]}}
    assert protocol.request_decoder.decode(msgspec.msgpack.encode(wider)) == request_


@pytest.mark.parametrize("event", EVENTS, ids=tag)
def test_fields_that_a_newer_daemon_adds_are_ignored(event: Event) -> None:
    wider = msgspec.to_builtins(event) | {"added_later": {"deep": [1]}}
    assert decode_event(msgspec.msgpack.encode(wider)) == event


def test_an_event_that_a_newer_daemon_adds_is_dropped() -> None:
    assert decode_event(msgspec.msgpack.encode({"type": "invented", "id": 1, "x": 2})) is None


def test_a_known_event_of_the_wrong_shape_is_no_unknown_one() -> None:
    with pytest.raises(msgspec.ValidationError, match="attempt"):
        decode_event(msgspec.msgpack.encode({"type": "delta", "id": 1}))


def test_bytes_that_are_no_messagepack_are_no_event() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_event(b"\xc1")


@pytest.mark.parametrize("enum", OPEN_ENUMS, ids=named)
def test_a_member_that_a_newer_daemon_adds_arrives_as_unknown(enum: Any) -> None:
    assert msgspec.json.decode(b'"invented"', type=enum) is enum.UNKNOWN
    assert msgspec.msgpack.decode(msgspec.msgpack.encode("invented"), type=enum) is enum.UNKNOWN


def test_a_newer_failure_code_does_not_lose_the_error() -> None:
    event = decode_event(msgspec.msgpack.encode({"type": "error", "id": 1, "code": "invented", "message": "no"}))
    assert event == protocol.Error(id=1, code=ErrorCode.UNKNOWN, message="no")


def test_an_id_is_read_also_where_the_rest_is_unknown() -> None:
    peek = protocol.peek_decoder.decode(msgspec.msgpack.encode({"type": "invented", "id": 7, "x": [1]}))
    assert (peek.type, peek.id) == ("invented", 7)


def test_every_event_that_ends_a_request_is_told_as_terminal() -> None:
    going_on = {protocol.Routed, protocol.Progress, protocol.Delta, protocol.Retracted, protocol.Notice}
    assert set(get_args(Event)) - going_on == set(protocol.TERMINAL)


def test_every_event_of_a_stream_has_text() -> None:
    """So that ``for event in client.stream(...): print(event.text)`` is right."""
    streamed = [e for e in EVENTS if isinstance(e, protocol.Routed | protocol.Progress | protocol.Delta)]
    streamed += [e for e in EVENTS if isinstance(e, protocol.Retracted | protocol.Done)]
    assert [event.text for event in streamed] == ["", "", "Hi", "", "Hi"]
