"""Laying a route's ``set`` on a request. Pure. What a route sets wins over what the request says."""

from __future__ import annotations

from typing import Any

import msgspec

from routerd_client.chat import ChatRequest, Sampling

from ..config.schema import OverrideSpec

_RENAMED = {"deadline": "deadline_s"}


def opinions(spec: OverrideSpec | None) -> dict[str, Any]:
    """What ``spec`` sets, by the request's field names. None and empty are no opinion; 0 and False are values."""
    if spec is None:
        return {}
    values = {name: getattr(spec, name) for name in spec.__struct_fields__}
    return {_RENAMED.get(name, name): value for name, value in values.items() if value not in (None, "", (), [])}


def lay_on(chat: ChatRequest, spec: OverrideSpec | None) -> ChatRequest:
    """``chat`` with ``spec``'s opinions; ``chat`` itself where there are none."""
    fields = opinions(spec)
    if not fields:
        return chat
    sampling = {name: fields.pop(name) for name in Sampling.__struct_fields__ if name in fields}
    if sampling:
        fields["sampling"] = msgspec.structs.replace(chat.sampling, **sampling)
    if "stop" in fields:
        fields["stop"] = list(fields["stop"])
    return msgspec.structs.replace(chat, **fields)
