"""Other routers' files, read once and written anew as a routes.yaml. Pure: text -> text.

Unlike `compat`, whose blocks go on being what the user edits, this leaves nothing of theirs, and says line by
line what it had to leave behind.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ..report import WHOLE_FILE, ConfigFailedError, Report
from ..yamltree import Node, parse
from .draft import Draft, Note
from .hermes import read_hermes
from .litellm import read_litellm
from .llamaswap import read_llamaswap
from .ollama import read_ollama

__all__ = ["IMPORTERS", "Imported", "Note", "import_text"]


class Imported(Struct, frozen=True):
    """A routes.yaml, and what it does not carry over, in the order of the file it was made from."""

    text: str
    notes: list[Note]


def import_text(system: str, text: str, file: str, *, listen: str = "") -> Imported:
    """``text`` of a file of ``system``, one of `IMPORTERS`, as a routes.yaml. ``file`` is its name for messages.
    What it asks at ``listen``, an address and a port, is left out: the daemon itself is there.

    Raises ConfigFailedError where it cannot be read, or nothing in it can be carried over.
    """
    report = Report(file)
    draft = Draft(listen)
    if system == "ollama":
        read_ollama(draft, text)
    elif tree := parse(text, report):
        report.raise_if_any()
        _TREES[system](draft, tree)
    report.raise_if_any()
    if not draft.backends:
        said = "; ".join(f"line {note.line}: {note.what}" for note in draft.notes()[:5])
        report.add(WHOLE_FILE, f"nothing in it can be carried over as a file of {system}", said)
        raise ConfigFailedError(report.sorted())
    return Imported(draft.text(f"Made from {file} by: routerctl import {system}"), draft.notes())


_TREES: dict[str, Callable[[Draft, Node], None]] = {
    "litellm": read_litellm,
    "llama-swap": read_llamaswap,
    "hermes": read_hermes,
}

IMPORTERS = (*_TREES, "ollama")
