"""Headers for another routerd, and the proof by one on this machine that it keeps requests here."""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import secrets
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import quote

import anyio
import structlog

from routerd_client.chat import ChatRequest

log = structlog.get_logger()

CONTEXT = "x-routerd-context"
LOCAL_ONLY = "x-routerd-local-only"
PRIORITY = "x-routerd-priority"
DEADLINE = "x-routerd-deadline"
SESSION = "x-routerd-session"
CHALLENGE = "x-routerd-challenge"
"""Asks for a proof of standing on the same machine and of keeping requests with `LOCAL_ONLY` there."""
PROOF = "x-routerd-proof"

PROOF_S = 2.0
"""A server on this machine that has not answered by then is taken for none of ours."""
_LATER_S = 0.001
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MAX_CONTEXT = 6000
"""Characters of a header that a server surely reads, with its name."""


def passed_on(chat: ChatRequest) -> dict[str, str]:
    """Return the headers for another routerd: all that ``chat`` says beside its text, its deadline as what is left."""
    headers: dict[str, str] = {}
    if chat.local_only:
        headers[LOCAL_ONLY] = "true"
    if chat.context:
        headers[CONTEXT] = _context(chat.context)
    if chat.session:
        headers[SESSION] = quote(chat.session, safe="")
    if chat.priority:
        headers[PRIORITY] = chat.priority.value
    if chat.deadline_s is not None:
        left = anyio.current_effective_deadline() - anyio.current_time()
        # no sooner than here, or it would look like a failure of the peer
        headers[DEADLINE] = f"{min(max(left, 0) + _LATER_S, chat.deadline_s):.6f}"
    return headers


def _context(context: Mapping[str, str]) -> str:
    """Write ``context`` as the header has it, as many of its pairs as fit."""
    pairs: list[str] = []
    room = _MAX_CONTEXT
    for key, value in context.items():
        pair = f"{quote(key, safe='')}={quote(value, safe='')}"
        room -= len(pair) + 1
        if room < 0:
            log.warning("context.cut", kept=len(pairs), of=len(context))
            break
        pairs.append(pair)
    return ",".join(pairs)


def challenge() -> str:
    """Make a new challenge, to be sent as `CHALLENGE`."""
    return secrets.token_hex(16)


def proof(given: str) -> str:
    """Answer the challenge ``given`` as a routerd on this machine does; ``""`` where the machine cannot be named."""
    machine = _machine()
    return hmac.new(machine, given[:200].encode(), hashlib.sha256).hexdigest() if machine else ""


def proves(given: str, answer: str) -> bool:
    """Return whether ``answer`` to the challenge ``given`` comes from a routerd on this machine."""
    expected = proof(given)
    return bool(expected) and hmac.compare_digest(expected.encode(), answer.encode())


@cache
def _machine() -> bytes:
    """Return a secret of this machine since it was started, which every program on it can read; empty for none."""
    try:
        return _session() if sys.platform == "darwin" else _BOOT.read_bytes().strip()
    except (OSError, AttributeError):
        return b""


def _session() -> bytes:
    value, length = ctypes.create_string_buffer(128), ctypes.c_size_t(128)
    system = ctypes.CDLL(None, use_errno=True)
    if system.sysctlbyname(b"kern.bootsessionuuid", value, ctypes.byref(length), None, ctypes.c_size_t(0)):
        return b""
    return value.value
