"""Bytes of tokens. A character may be split over several tokens, none of which is valid text on its own."""

from __future__ import annotations

import json
import re
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\u2581"


class Spelling:
    """Converts the tokens of one tokenizer to bytes."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = set(getattr(tokenizer, "added_tokens_decoder", {}))
        kinds = _decoders(tokenizer)
        self._byte_level = "ByteLevel" in kinds
        self._sentencepiece = "ByteFallback" in kinds

    def of(self, token: int) -> bytes | None:
        """Return the bytes of ``token``, None if the tokenizer's encoding is unknown."""
        piece = self._tokenizer.convert_ids_to_tokens(token)
        if not isinstance(piece, str):
            return None
        if token in self._added:
            return piece.encode(errors="replace")
        if self._byte_level:
            found = [_BYTES.get(char) for char in piece]
            return None if None in found else bytes(byte for byte in found if byte is not None)
        if self._sentencepiece:
            byte = _BYTE.fullmatch(piece)
            return bytes([int(byte[1], 16)]) if byte else piece.replace(_SPACE, " ").encode(errors="replace")
        return None


def _decoders(tokenizer: Any) -> set[str]:
    """Return the decoder types of a fast tokenizer."""
    made = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    decoder = json.loads(made.__getstate__()) if made is not None else None
    parts = [decoder, *(decoder.get("decoders") or [])] if isinstance(decoder, dict) else []
    return {str(part.get("type")) for part in parts}


def _byte_characters() -> dict[str, int]:
    """Map the characters of byte-level tokenizers to bytes: printable ones are themselves, others start at U+0100."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}


_BYTES = _byte_characters()
