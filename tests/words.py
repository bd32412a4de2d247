"""The check that names and sentences are plain: ``python -m tests.words``, or ``make words``.

It reads the source of the rooms in `PLAIN` and prints each place that breaks a rule as ``file:line: what``. Rooms are
added to the list once they are plain, and never taken off it.
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).parents[1]

PLAIN: tuple[str, ...] = ("disk.py", "tasks.py", "tiered.py")
"""Rooms of ``daemon/routerd`` that are plain, and ``client``."""

OPENINGS = frozenset({"What", "Who", "Whether", "Which", "Those", "All", "So", "How"})
"""A public docstring says what the thing does or is. One that begins with these asks, or begins in the middle."""

RETIRED = {
    "purse": "billing",
    "heard": "read, or a reading's time",
    "told": "reported, or a reading",
    "spare": "the best answer so far",
    "plainer": "template fallbacks",
    "errand": "an HTTP call",
    "reception": "an answer's stream",
    "desk": "a server",
    "seat": "a place in a limiter",
    "seats": "a concurrency limiter",
    "minds": "counts as a failure",
    "telling": "the failure to report",
    "lean": "without an import",
    "standing": "blame, or the outcome",
}
"""Words of an old dialect, and the field's word for each. Names, docstrings, comments and messages do without them."""

PAIRS = frozenset({"Cancel", "Piece"})
"""Class names that the protocol and the worker's messages share, because one mirrors the other."""


def room_of(path: Path) -> str:
    """Return the room of a source file: a folder or a file of ``daemon/routerd``, or ``client``."""
    parts = path.relative_to(TOP).parts
    return "client" if parts[0] == "client" else parts[2]


def sources() -> Iterator[Path]:
    """Yield the Python files of the daemon and the client."""
    yield from sorted((TOP / "daemon" / "routerd").rglob("*.py"))
    yield from sorted((TOP / "client" / "routerd_client").rglob("*.py"))


def faults(path: Path) -> Iterator[str]:
    """Yield what is not plain in one file, each as ``file:line: what``."""
    place = path.relative_to(TOP)
    text = path.read_text()
    for line, docstring in _docstrings(ast.parse(text)):
        first = re.split(r"[^A-Za-z]", docstring.strip(), maxsplit=1)[0]
        if first in OPENINGS:
            yield f"{place}:{line}: a docstring begins with {first!r}; say what the thing does or is"
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in (tokenize.NAME, tokenize.STRING, tokenize.COMMENT):
                for word in sorted(RETIRED.keys() & set(re.split(r"[^a-z]+", token.string.lower()))):
                    yield f"{place}:{token.start[0]}: {word!r} is retired; the word is: {RETIRED[word]}"


def doubled() -> Iterator[str]:
    """Yield each public class name that stands in two rooms, one of them plain."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sources():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name not in PAIRS:
                found[node.name].setdefault(room_of(path), path.relative_to(TOP))
    for name, rooms in sorted(found.items()):
        if len(rooms) > 1 and rooms.keys() & set(PLAIN):
            yield f"{name} is a class in {' and '.join(str(path) for path in rooms.values())}; rename one"


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each public docstring."""
    if text := ast.get_docstring(tree):
        yield 1, text
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if text := ast.get_docstring(node):
            yield node.lineno, text


def main(rooms: list[str]) -> int:
    """Print the faults of ``rooms``, or of all plain ones; return the exit code."""
    wanted = set(rooms or PLAIN)
    found = [fault for path in sources() if room_of(path) in wanted for fault in faults(path)]
    found += doubled()
    print(*found, sep="\n" if found else "")
    print(f"{len(found)} places are not plain in {len(wanted)} rooms")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
