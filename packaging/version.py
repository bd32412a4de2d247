"""The version, in all the places that need it: ``python packaging/version.py`` prints it, with a number it sets it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMBER = r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?"
PLACES = {
    "client/routerd_client/__init__.py": rf'^__version__ = "({NUMBER})"$',
    "daemon/routerd/__init__.py": rf'^__version__ = "({NUMBER})"$',
    "pyproject.toml": rf'^  "routerd-client==({NUMBER})",$',
    "packaging/homebrew/routerd.rb": rf"/routerd-({NUMBER})\.tar\.gz\"$",
}


def versions() -> dict[str, str]:
    """What each place says. Raises ``ValueError`` for one that does not say it exactly once."""
    found = {}
    for place, pattern in PLACES.items():
        numbers = re.findall(pattern, (ROOT / place).read_text(), re.MULTILINE)
        if len(numbers) != 1:
            raise ValueError(f"{place} has {len(numbers)} versions, not one")
        found[place] = numbers[0]
    return found


def write(number: str) -> None:
    """Put ``number`` into all places."""
    for place, old in versions().items():
        file = ROOT / place
        text = file.read_text()
        match = re.search(PLACES[place], text, re.MULTILINE)
        assert match, old
        file.write_text(text[: match.start(1)] + number + text[match.end(1) :])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        if not re.fullmatch(NUMBER, sys.argv[1]):
            sys.exit(f"{sys.argv[1]} is no version such as 0.2.0 or 0.2.0rc1")
        write(sys.argv[1])
    print(*sorted(set(versions().values())))
