"""Whether a request came to what it must. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from routerd_client.chat import FinishReason
from routerd_client.protocol import Delta, ErrorCode, Retracted
from routerd_client.records import BackendStatus

from ..dispatch.dispatcher import RETRY_JITTER_S
from .fake_api import Asked
from .fault import Expect, Fault
from .heard import Heard

SLACK_S = 10.0
"""A rest may have gone on for this long when it is looked at."""
CLOCKS_S = 0.01
"""Two clocks may differ by this."""


def wrongs(fault: Fault, expect: Expect, heard: Heard) -> Iterator[str]:
    """What is wrong with what the caller heard."""
    if heard.ends != 1 or (heard.done and heard.events[-1] is not heard.done):
        yield f"{heard.ends} terminal events in {[type(event).__name__ for event in heard.events]}"
    if heard.tries != expect.tries:
        yield f"tries {heard.tries!r}, not {expect.tries!r}"
    if not _holds(fault, expect, heard.text):
        yield f"the caller holds {heard.text!r}"
    yield from _failed(expect, heard) if expect.code else _answered(fault, expect, heard)
    yield from _streamed(heard)


def marks(expect: Expect, first: BackendStatus) -> Iterator[str]:
    """What is wrong with the rest that the first backend was given."""
    if not expect.rests - SLACK_S <= first.retry_in_s <= expect.rests:
        yield f"first rests for {first.retry_in_s:.1f} s, not {expect.rests:g} s"


def asked(name: str, expect: Expect, requests: list[Asked]) -> Iterator[str]:
    """What is wrong with what a backend over HTTP was asked in one request's tries."""
    tries = sum(one.partition(":")[0] == name for one in expect.tries.split(", "))
    wanted = expect.asked if expect.asked is not None and name == "first" else tries
    if len(requests) != wanted:
        yield f"{name} was asked {len(requests)} times, not {wanted}"
    if any(b.at - a.at < RETRY_JITTER_S[0] - CLOCKS_S for a, b in pairwise(requests)):
        yield f"{name} was asked again at once"


def _failed(expect: Expect, heard: Heard) -> Iterator[str]:
    if heard.failed is None:
        yield f"an answer, not error {expect.code}"
        return
    if heard.failed.code is not expect.code:
        yield f"error {heard.failed.code.value}, not {expect.code}"
    if not str(heard.failed):
        yield "an error without words"
    wanted, told = expect.retry_after, heard.failed.retry_after
    if wanted is not None and not (told is not None and wanted - SLACK_S <= told <= wanted):
        yield f"retry_after {told}, not {wanted:g}"


def _answered(fault: Fault, expect: Expect, heard: Heard) -> Iterator[str]:
    done = heard.done
    if done is None:
        yield f"error {heard.failed.code.value if heard.failed else None}: {heard.failed}, not an answer"
        return
    if done.flaw is not expect.flaw:
        yield f"flaw {done.flaw}, not {expect.flaw}"
    if done.finish_reason not in (FinishReason.STOP, FinishReason.TOOL_CALLS):
        yield f"it finished by {done.finish_reason.value}"
    if expect.usage is not None and done.usage != expect.usage:
        yield f"usage {done.usage}, not {expect.usage}"
    if done.model != fault.backends[done.backend].named(done.backend):
        yield f"{done.backend} answered, but as {done.model!r}"


def _streamed(heard: Heard) -> Iterator[str]:
    """Every delta belongs to the answer, or to one that was taken back."""
    back = {event.attempt for event in heard.events if isinstance(event, Retracted)}
    kept = {event.attempt for event in heard.events if isinstance(event, Delta)} - back
    done = heard.done
    ending = set(range(done.began or done.attempt, done.attempt + 1)) if done else set()
    if ending and not kept <= ending:
        yield f"pieces of attempts {sorted(kept)} in the answer of attempt {sorted(ending)}"


def _holds(fault: Fault, expect: Expect, text: str) -> bool:
    """Whether ``text`` is what the caller is to hold at the end."""
    last = expect.tries.rsplit(", ", 1)[-1].partition(":")[0]
    if expect.code is ErrorCode.INTERRUPTED:
        return text != "" and fault.backends[last].says.startswith(text)
    if expect.code:
        return text == ""
    return text == (fault.backends[last].says if expect.text is None else expect.text)
