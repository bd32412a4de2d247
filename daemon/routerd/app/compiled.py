"""A routes.yaml that is ready to be used: read, checked, compiled, its own tests run."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from ..config.check_files import persona_files
from ..config.load import Loaded, load, load_file
from ..routing.classify.learned import BadModelError, Classifier, decode
from ..routing.expect import run_tests
from ..routing.table import Table, compile_table

CLASSIFIER = "classifier.msgpack"
JUDGE = "judge.msgpack"
"""In the state directory: the learned scorer and the judge of cascades, which ``routerctl calibrate`` writes."""


class Compiled(Struct, frozen=True):
    """``notes`` are what a person should know that is no mistake of the file."""

    loaded: Loaded
    table: Table
    personas: dict[str, str]
    notes: list[str]


def compile_file(path: Path, state: Path) -> Compiled:
    """The file at ``path``, with what was learned in ``state``. Blocks on the disk. Raises `ConfigFailedError`."""
    return _compile(load_file(path), str(path), state)


def compile_text(text: str, file: str, state: Path) -> Compiled:
    """The same for a file's text, which messages call ``file``."""
    return _compile(load(text, file, os.environ), file, state)


def _compile(loaded: Loaded, file: str, state: Path) -> Compiled:
    notes: list[str] = []
    learned, judge = _learned(state / CLASSIFIER, notes), _learned(state / JUDGE, notes)
    # Without a learned scorer, `learned` means the rules; without a judge, a cascade's answers are taken as they are.
    table = compile_table(loaded.config, {"learned": learned.rate} if learned else {}, judge.rate if judge else None)
    run_tests(loaded, table, file)
    personas = persona_files(loaded.config, Path(file).parent)
    return Compiled(loaded, table, {name: path.read_text("utf-8", "replace") for name, path in personas.items()}, notes)


def _learned(path: Path, notes: list[str]) -> Classifier | None:
    try:
        return decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, BadModelError) as error:
        notes.append(f"{path}: {error}; it is not used until routerctl calibrate has made a new one")
        return None
