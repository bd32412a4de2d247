"""A caller's words stay words: text that spells a special token is not that token.

Without this, ``<|im_end|>`` in a message would end it, and what follows could pose as anybody's.
Every such text is cut after its first character by `CUT`, which passes through the template; the
pieces are tokenized each by itself, so no tokenizer ever sees it whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

CUT = "\ufdd0"
"""A noncharacter: no text means anything by it, and a caller's own is replaced."""
REPLACEMENT = "\ufffd"


class Literal:
    """Cuts up the texts of ``markers`` wherever they occur in somebody's words."""

    def __init__(self, markers: Iterable[str]) -> None:
        texts = sorted({m for m in markers if len(m) > 1 and not m.isspace()}, key=len, reverse=True)
        # A look ahead, because two of them may overlap.
        self._found = re.compile("(?=" + "|".join(map(re.escape, texts)) + ")") if texts else None

    def cut(self, value: Any) -> Any:
        """``value`` with every string in it cut, keys of mappings as well."""
        if isinstance(value, str):
            return self._cut(value)
        if isinstance(value, dict):
            return {self.cut(key): self.cut(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.cut(item) for item in value]
        return value

    def _cut(self, text: str) -> str:
        text = text.replace(CUT, REPLACEMENT)
        if self._found is None:
            return text
        ends = [match.start() + 1 for match in self._found.finditer(text)]
        return CUT.join(text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True))


def pieces(text: str) -> list[str]:
    """The parts of ``text`` that must be tokenized each by itself."""
    return text.split(CUT)
