"""Odd bytes: good messages with something wrong in them, reproducible by a seed."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any

SECONDS = float(os.environ.get("ROUTERD_FUZZ_SECONDS", "10"))
"""How long each surface is tried."""

DEEP = "[" * 5000 + "]" * 5000
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 2**31, 2**53, 2**63, 2**64, 2**70, -(2**70), 0.5, 1e308, "", "x", "\x00", "\ud800"),
    *([], {}, [[]], [None], {"a": {}}, {"type": "text"}, "x" * 100_000, "9" * 5000, [0] * 1000, "\u2028", "NaN"),
]


def seeds() -> Iterator[int]:
    """Numbers from 0 on, for as long as a surface is tried."""
    end = time.monotonic() + SECONDS
    seed = 0
    while time.monotonic() < end:
        yield seed
        seed += 1


def wrong(value: Any, chance: random.Random) -> Any:
    """``value``, a JSON value, with one part of it replaced, removed or doubled."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        name = chance.choice(list(value))
        match chance.randrange(8):
            case 0:
                return {key: part for key, part in value.items() if key != name}
            case 1:
                return {**value, chance.choice(["", "x", "\ud800", "type", "error", "usage"]): chance.choice(VALUES)}
        return {**value, name: wrong(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        if chance.random() < 0.2:
            return [*value[:at], *value[at + 1 :]]
        return [*value[:at], wrong(value[at], chance), *value[at + chance.randrange(2) :]]
    return chance.choice(VALUES)


def written(value: Any, chance: random.Random) -> bytes:
    """``value`` as JSON, now and then as what is nearly JSON."""
    text = json.dumps(value)
    match chance.randrange(20):
        case 0:
            text = text.replace('"', '"' + "\\ud800", 1)
        case 1:
            text = text.replace(":", f":{DEEP},", 1) if chance.random() < 0.5 else DEEP
        case 2:
            text = text.replace("1", chance.choice(["NaN", "-Infinity", "1e999", "1" * 5000, "0x1"]), 1)
        case 3:
            text = text[: chance.randrange(len(text) + 1)]
    return text.encode()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """``data`` with bytes changed, lost, doubled or put in, in a few places."""
    whole = bytearray(data)
    for _ in range(chance.choice([0, 1, 1, 2, 5])):
        at, size = chance.randrange(len(whole) + 1), chance.choice([1, 1, 2, 8, 100])
        match chance.randrange(4):
            case 0:
                whole[at : at + size] = b""
            case 1:
                whole[at:at] = whole[at : at + size]
            case 2:
                whole[at:at] = chance.choice([b"\r\n", b"\n\n", b"\x00", b"\xff", b":", b"data: ", b" " * 10_000])
            case 3:
                whole[at : at + size] = chance.randbytes(size)
    return bytes(whole)
