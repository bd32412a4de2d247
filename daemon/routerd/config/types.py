"""Scalar types of routes.yaml: how a field's text is read."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct

Duration = Annotated[float, "duration"]
"""Seconds. Written as a number of seconds or as ``500ms``, ``90s``, ``15m``, ``2h``, ``1d``, ``1h30m``."""

Size = Annotated[int, "size"]
"""Bytes. Written as a number of bytes or as ``512MB``, ``8GB`` (powers of 1000), ``8GiB`` (of 1024)."""

Word = Annotated[str, "word"]
"""Text that may stand unquoted even where it looks like a number or a truth value: kept as written."""


class SecretSpec(Struct, frozen=True, kw_only=True):
    """Where a secret is; one of these is given. Nothing prints the secret itself."""

    env: str = ""
    """An environment variable of the daemon."""
    file: str = ""
    """A file that holds it and nothing else; a relative one counts from routes.yaml."""
    keychain: str = ""
    """The service name of a generic password in the macOS keychain."""
    command: tuple[str, ...] = ()
    """A program and its arguments, which prints it."""
    inline: str = ""
    """The secret itself: legal, with a warning. Written as the plain value."""

    def __repr__(self) -> str:
        return f"<secret: {self}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("at", str(self))]  # what a Struct has of its own would show all fields

    def __str__(self) -> str:
        if self.command:
            return f"command {self.command[0]}"
        for kind in ("env", "file", "keychain"):
            if name := getattr(self, kind):
                return f"{kind} {name}"
        return "inline"


Secret = SecretSpec | Annotated[SecretSpec, "secret"]
"""A reference, or the secret itself."""
