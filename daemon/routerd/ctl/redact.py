"""Taking out of texts what must not leave the machine. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

HIDDEN = "********"
TEXTS = frozenset({"prompt", "answer", "messages", "text", "content", "system"})
"""Fields of log lines that hold what people and models said."""
SHORTEST = 6
"""A known secret that is shorter is in too many words."""

_SHAPES = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"\b(?:sk|pk|rk|rd|hf|gsk|xai|gh[opsu]|glpat|xox[abp])[-_][\w-]{8,}"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA|AIza|eyJ)[\w.-]{12,}"), HIDDEN),
    (re.compile(r"(://)[^/\s:@]+:[^/\s@]+@"), rf"\1{HIDDEN}@"),
    (
        re.compile(r"(?i)((?:api[-_]?key|token|secret|password|authorization)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;}*]{6,}"),
        rf"\1{HIDDEN}",
    ),
)


class Redactor:
    """Hides ``secrets`` wherever they stand, whatever looks like a key, and ``home``, the name of its owner."""

    def __init__(self, secrets: Iterable[str] = (), home: str = "") -> None:
        # The longest first: one may be the beginning of another.
        self._known = sorted({secret for secret in secrets if len(secret) >= SHORTEST}, key=len, reverse=True)
        self._home = home.rstrip("/")

    def text(self, text: str) -> str:
        for secret in self._known:
            text = text.replace(secret, HIDDEN)
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
        return text.replace(self._home, "~") if self._home else text

    def event(self, event: dict[str, Any]) -> dict[str, Any]:
        """A line of the log without prompts and answers; the rest is for `text`, once it is written out."""
        return {key: HIDDEN if key in TEXTS else value for key, value in event.items()}
