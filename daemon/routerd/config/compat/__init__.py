"""Other systems' configurations, read into ours: tree -> tree, before anything else looks at it.

Each block of theirs becomes the backends, endpoints and routes it stands for, made of nodes that keep their
places in the file, so that whatever is wrong later is told where it was written.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from routerd_client.records import ConfigError

from ..report import Report
from ..yamltree import Node
from .autobot import read_tiered_routing
from .draft import Draft, Path
from .hermes import read_model
from .tiers import fill_tiers

__all__ = ["Translated", "translate"]


class Translated(Struct, frozen=True):
    """A file in our own words. ``origins`` says of what was made, by path, what it was made from.

    ``whole`` is false where a block could not be read: the mistakes are reported, and what is left of the
    file would only be judged for what is missing.
    """

    tree: Node
    origins: dict[Path, str]
    warnings: list[ConfigError]
    whole: bool


def translate(tree: Node, environ: Mapping[str, str], report: Report, file: str) -> Translated:
    """``tree`` with the blocks of other systems worked into it; mistakes in them go to ``report``. Pure.

    Reads ``model:`` (Hermes), ``tiered_routing:`` (AutoBot) and, from ``environ``, the models of tiers that
    the file leaves out. Where two give a default, the file's own wins, then Hermes's.
    """
    notes = Report(file)
    draft = Draft(tree, report, notes)
    read_model(draft)
    read_tiered_routing(draft)
    fill_tiers(draft, environ)
    return Translated(draft.tree(), draft.origins, notes.sorted(), draft.whole)
