"""From what a caller writes to the canonical chat, and from events to an answer or an exception."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from routerd_client import protocol
from routerd_client._core import Answer, Conversation, build_chat, failure, quiet
from routerd_client.chat import ChatRequest, ImagePart, ImageURL, Message, Priority, Sampling, TextPart
from routerd_client.errors import (
    DaemonUnavailableError,
    InterruptedAnswerError,
    ProtocolMismatchError,
    RequestFailedError,
    dial_hint,
)
from routerd_client.framing import FrameBuffer, pack
from routerd_client.protocol import Delta, Error, ErrorCode, Retracted, Status


def built(prompt: Any, **options: Any) -> ChatRequest:
    return build_chat(prompt, options, stream=False)


def frame(event: protocol.Event) -> bytes:
    return pack(protocol.encoder.encode(event))


def test_a_text_is_a_users_message() -> None:
    assert built("hello").messages == [Message("user", "hello")]


def test_system_goes_before_the_conversation() -> None:
    messages = built([Message("user", "a")], system="Be brief.").messages
    assert messages == [Message("system", "Be brief."), Message("user", "a")]


def test_an_empty_system_adds_nothing() -> None:
    assert built("hello", system="").messages == [Message("user", "hello")]


def test_messages_may_be_openais_dictionaries() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    chat = built([{"role": "user", "content": [{"type": "text", "text": "what?"}, image]}])
    assert chat.messages == [Message("user", [TextPart("what?"), ImagePart(ImageURL("https://x/y.png"))])]


def test_a_callers_own_messages_are_not_changed() -> None:
    conversation = [Message("user", "a")]
    built(conversation, system="Be brief.")
    assert conversation == [Message("user", "a")]


def test_sampling_options_stand_beside_the_others() -> None:
    chat = built("x", temperature=0, seed=7, logit_bias={5: -1.0}, max_tokens=9)
    assert chat.sampling == Sampling(temperature=0, seed=7, logit_bias={5: -1.0})
    assert chat.max_tokens == 9


def test_zero_and_false_are_values() -> None:
    chat = built("x", temperature=0.0, local_only=False)
    assert (chat.sampling.temperature, chat.local_only) == (0.0, False)


def test_an_enum_may_be_given_by_its_value() -> None:
    assert built("x", priority="background").priority is Priority.BACKGROUND


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(TypeError, match="unknown option temprature"):
        built("x", temprature=1)


@pytest.mark.parametrize("option", [{"sampling": {"seed": 1}}, {"stream": True}, {"messages": []}], ids=str)
def test_an_option_that_would_be_overwritten_is_refused(option: dict[str, Any]) -> None:
    """These are made from the other arguments; taking and dropping them would be worse than a refusal."""
    with pytest.raises(TypeError, match=f"unknown option {next(iter(option))}"):
        built("x", **option)


def test_an_option_of_the_wrong_type_is_named_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"max_tokens"):
        built("x", max_tokens="many")


def test_a_role_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match=r"messages\[0\]\.role"):
        built([{"role": "robot", "content": "x"}])


def test_each_request_of_a_connection_has_an_id_of_its_own() -> None:
    talk, frames = Conversation(), FrameBuffer()
    opened = frames.feed(talk.open(Status(id=0)) + talk.open(Status(id=0)))
    assert [protocol.request_decoder.decode(body).id for body in opened] == [1, 2]


def test_events_of_other_requests_are_dropped() -> None:
    talk = Conversation()
    talk.open(Status(id=0))
    events = [Delta(id=9, attempt=1, text="old"), Delta(id=1, attempt=1, text="new")]
    assert talk.feed(b"".join(map(frame, events))) == events[1:]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", pack(b"\xc1")], ids=["http", "no messagepack"])
def test_a_peer_that_is_no_daemon_is_said_to_be_none(answer: bytes) -> None:
    with pytest.raises(DaemonUnavailableError, match="no routerd") as caught:
        Conversation().feed(answer)
    assert caught.value.sent


def test_an_interrupted_answer_brings_the_text_so_far() -> None:
    answer = Answer()
    answer.observe(Delta(id=1, attempt=1, text="two "))
    answer.observe(Delta(id=1, attempt=1, text="words"))
    with pytest.raises(InterruptedAnswerError) as caught:
        answer.observe(Error(id=1, code=ErrorCode.INTERRUPTED, message="it died"))
    assert caught.value.partial == "two words"


def test_retracted_text_is_no_part_of_the_answer() -> None:
    answer = Answer()
    answer.observe(Delta(id=1, attempt=1, text="gone"))
    answer.observe(Retracted(id=1, attempt=1))
    answer.observe(Delta(id=1, attempt=2, text="kept"))
    with pytest.raises(InterruptedAnswerError) as caught:
        answer.observe(Error(id=1, code=ErrorCode.INTERRUPTED, message="it died"))
    assert caught.value.partial == "kept"


def test_a_version_mismatch_is_an_exception_of_its_own() -> None:
    error = Error(id=1, code=ErrorCode.VERSION_MISMATCH, message="no", hint="update the client")
    assert isinstance(failure(error), ProtocolMismatchError)
    assert str(failure(error)) == "no (update the client)"


def test_a_failed_request_says_when_to_ask_again() -> None:
    refused = failure(Error(id=1, code=ErrorCode.OVERLOADED, message="later", retryable=True, retry_after=2.5))
    assert isinstance(refused, RequestFailedError)
    assert (refused.code, refused.retryable, refused.retry_after) == (ErrorCode.OVERLOADED, True, 2.5)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(), "the daemon is not running"),
        (ConnectionRefusedError(), "left its socket behind"),
        (PermissionError(), "belongs to another user"),
        (OSError("odd"), "cannot be reached (odd)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failed_dial_says_what_is_wrong_and_what_to_do(error: OSError, words: str) -> None:
    hint = dial_hint("/s", error)
    assert words in hint
    assert hint.endswith("Start it with: routerctl install, or routerd serve")


def test_an_idle_connection_is_reused_only_while_its_peer_is_silent_and_there() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert quiet(ours)
        theirs.send(b"?")
        assert not quiet(ours)
        ours.recv(1)
        theirs.close()
        assert not quiet(ours)
