"""Recorded requests decided again under other routes, without inference: what would move. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from routerd_client.chat import ChatRequest, Message
from routerd_client.records import Decision

from .classify.ask import Ask
from .decide import UnknownModelError, decide
from .expect import AllWell
from .features import Features, Moment
from .table import Table


class Recorded(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One request as it was recorded, and who came first for it. ``prompt`` is None where texts are not kept."""

    id: str
    backend: str
    endpoint: str = ""
    route: str = ""
    model: str = ""
    client: str = ""
    context: dict[str, str] = {}
    prompt: str | None = None
    chars: int = 0
    prompt_bytes: int = 0
    turn: int = 1
    has_tools: bool = False
    has_images: bool = False
    local_only: bool = False
    minute: int = 0
    weekday: int = 0


class Move(Struct, frozen=True):
    """A request that would go elsewhere. ``was`` and ``now`` are backends, ``why`` what leads there now."""

    id: str
    was: str
    now: str
    why: str


class Replayed(Struct, frozen=True):
    """``unsure`` are requests whose decision hangs on a text that was not kept."""

    requests: int
    moves: list[Move]
    unsure: list[str]
    before: dict[str, int]
    after: dict[str, int]


class TextNotKeptError(LookupError):
    """A decision looks at a prompt of which only the measures were recorded."""


def replay(records: Iterable[Recorded], table: Table) -> Replayed:
    """Decide each of ``records`` by ``table``, all backends being well."""
    moves: list[Move] = []
    unsure: list[str] = []
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    for record in records:
        before[record.backend] += 1
        decision = _decided(record, table)
        if decision is None:
            unsure.append(record.id)
            continue
        now = decision.candidates[0].backend if decision.candidates else "nobody"
        after[now] += 1
        if now != record.backend:
            moves.append(Move(record.id, record.backend, now, _why(decision)))
    return Replayed(sum(before.values()), moves, unsure, dict(before), dict(after))


def _decided(record: Recorded, table: Table) -> Decision | None:
    """None where nobody can tell without the prompt. A model that is gone is asked for in vain: no candidates."""
    try:
        decided = decide(table, _Remembered(record), AllWell(), seed=record.id)
    except TextNotKeptError:
        return None
    except UnknownModelError as error:
        return Decision(route="", endpoint=str(error), candidates=[])
    return None if any(TextNotKeptError.__name__ in why for _, why in decided.broken) else decided.decision


def _why(decision: Decision) -> str:
    if decision.named:
        return f"named by the {decision.named}"
    return f"route {decision.route}" if decision.route else f"default -> {decision.endpoint}"


class _Remembered(Features):
    """The features of a record. What was not kept raises `TextNotKeptError` when it is looked at."""

    def __init__(self, record: Recorded) -> None:
        chat = ChatRequest(
            messages=[Message("user", record.prompt)] if record.prompt is not None else [],
            model=record.model,
            context=record.context,
            local_only=record.local_only,
        )
        super().__init__(chat, record.client, Moment(record.minute, record.weekday))
        self._record = record
        self.chars = record.chars
        self.prompt_bytes = record.prompt_bytes
        self.turn = record.turn
        self.has_tools = record.has_tools
        self.has_images = record.has_images

    @property
    def ask(self) -> Ask:
        if self._record.prompt is None:
            raise TextNotKeptError(self._record.id)
        return Ask(self._record.prompt)
