"""What a route's ``set`` does to a request. Pure. What a route sets wins over what the request says."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from routerd_client.chat import ChatRequest, Sampling

from ..config.schema import OverrideSpec
from ..config.strategy import EndpointSpec
from .terms import Terms

_RENAMED = {"deadline": "deadline_s"}
_SAMPLING = frozenset(Sampling.__struct_fields__)
_CHAT = frozenset(ChatRequest.__struct_fields__) - {"model"}  # in `set` it is the backend's; whom to ask is decided
_TERMS = frozenset(Terms.__struct_fields__)


class Overrides(Struct, frozen=True):
    """What a route sets, sorted by what it is laid on. ``said`` is for people, by the request's field names."""

    sampling: dict[str, Any] = {}
    chat: dict[str, Any] = {}
    terms: dict[str, Any] = {}
    policy: Any = None
    said: dict[str, str] = {}

    def lay_on(self, chat: ChatRequest) -> ChatRequest:
        """``chat`` with the route's opinions on it; ``chat`` itself where there are none."""
        fields = self.chat
        if self.sampling:
            fields = {**fields, "sampling": replace(chat.sampling, **self.sampling)}
        return replace(chat, **fields) if fields else chat


def compile_overrides(spec: OverrideSpec | None) -> Overrides:
    """None, ``""`` and empty lists are no opinion; 0 and False are values."""
    if spec is None:
        return NONE
    given = {name: getattr(spec, name) for name in spec.__struct_fields__}
    values = {_RENAMED.get(name, name): value for name, value in given.items() if value not in (None, "", (), [])}
    chat = {name: list(value) if name == "stop" else value for name, value in values.items() if name in _CHAT}
    terms = {name: value for name, value in values.items() if name in _TERMS}
    if "escalate_on" in terms:
        terms["escalate_on"] = frozenset(terms["escalate_on"])
    return Overrides(
        sampling={name: value for name, value in values.items() if name in _SAMPLING},
        chat=chat,
        terms=terms,
        policy=values.get("policy"),
        said={name: _said(value) for name, value in values.items()},
    )


def usual_terms(endpoint: EndpointSpec, persona: str) -> Terms:
    """The terms of requests to ``endpoint`` for which no route sets others."""
    return Terms(
        persona=persona,
        escalate_on=frozenset(endpoint.escalate_on),
        max_hops=endpoint.max_hops,
        min_chars=endpoint.min_chars,
    )


def _said(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(getattr(value, "value", value))


NONE = Overrides()
